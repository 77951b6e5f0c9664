"""The HTTP foundation of all routes: server, limits, identity, permissions, problems and static files."""
