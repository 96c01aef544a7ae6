"""Encoder bundles and the runtimes that serve them."""
