"""The port of the store: transitions, reads and the records they hold; no SQL."""
