"""Training data: batches of the platform, tokenised texts, augmented images."""
