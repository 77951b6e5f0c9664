"""Behavioural doubles of vendor APIs; each runs as a process of its own and imports nothing of the server."""
