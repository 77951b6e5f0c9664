"""How long tests wait for a condition before they give up. It bounds a failure and says nothing about speed."""

PATIENCE_SECONDS = 240.0
"""Shorter than the time limit of every test that waits, so that the wait says what was missing."""
