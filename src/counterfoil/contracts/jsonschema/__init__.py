"""JSON Schema by meaning: inclusion of one schema in another, and the changes that break."""
