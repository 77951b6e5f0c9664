"""Companies under test: governance texts, which share one base, and the modules that run them."""
