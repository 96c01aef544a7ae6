"""The control plane: runs submitted over HTTP, queued, trained one at a time by torchrun, followed."""
