"""Outward calls in order: concurrency limits, queues per system, circuit breakers and request batches."""
