"""The typed HTTP client and the wire models it shares with the API."""
