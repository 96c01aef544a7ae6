"""The algorithm: arrays in, arrays out. It imports numpy and numba, and no other room."""
