"""The demonstration company: real ERP and help desk, billing twin, people, and a story that plays through them."""
