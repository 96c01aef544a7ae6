"""Nearest neighbours in bulk."""
