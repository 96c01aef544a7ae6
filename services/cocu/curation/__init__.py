"""The algorithm: arrays in, arrays out. Imports numpy and numba and nothing of ours."""
