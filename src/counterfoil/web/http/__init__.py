"""What every route stands on: server, limits, identity, permissions, problems and static files."""
