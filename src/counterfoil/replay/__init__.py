"""Recorded traffic once more, through a model: deliveries to events, events to Runs, Runs to what they would do."""
