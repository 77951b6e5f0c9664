"""Slow oracle of the matching rules, the histories that it judges, and its own tests."""
