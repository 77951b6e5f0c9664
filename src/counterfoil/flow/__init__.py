"""The path of an event: from a raw delivery through admission, Runs and outward calls to a matched counterfoil."""
