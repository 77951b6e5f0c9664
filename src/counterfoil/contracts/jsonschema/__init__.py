"""JSON Schema by meaning: whether every instance of one schema is an instance of another, and what a change breaks."""
