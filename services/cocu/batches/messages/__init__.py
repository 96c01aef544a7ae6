"""The messages of `proto/cocu/v1`, as generated."""
