"""HTTP servers for untrusted clients, for both services: connections, turns, hosts, problems."""
