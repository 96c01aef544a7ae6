"""The workflow: its stages, what plans and submits them, and the workers that run them."""
