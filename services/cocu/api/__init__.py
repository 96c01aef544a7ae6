"""The REST API: a router per resource, thin."""
