"""The store: one port, one SQL implementation for SQLite and PostgreSQL, and an in-memory executable specification."""
