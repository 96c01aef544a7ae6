"""What the model is trained on: batches of the platform, texts as tokens, augmented pictures."""
