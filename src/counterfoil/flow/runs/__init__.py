"""One Run's turns, effects and outcomes, and the decisions of persons on it."""
