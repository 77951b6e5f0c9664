"""The worker process: its loops, housekeeping, the stall scan, hot reload of Releases and audit checkpoints."""
