"""The GPU training service: knows the platform only through `cocu.client`."""
