"""Trains the small dual encoder that ships with the scenes; needs torch and is imported by nothing else."""
