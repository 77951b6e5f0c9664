"""Demonstration company: a real ERP and help desk, a billing twin, its people, and a story that is played on them."""
