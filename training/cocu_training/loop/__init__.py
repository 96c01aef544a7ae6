"""The loop: objective, optimiser, schedule, checkpoints, records, and what drives them."""
