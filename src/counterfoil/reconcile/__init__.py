"""Comparison of whole books: what two systems show, read as a set and not event by event."""
