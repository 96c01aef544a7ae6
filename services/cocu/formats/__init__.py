"""Readers and writers of the dataset formats people have."""
