"""Benchmarks: each row is a ratio, measured in one run against a limit of this machine or a peer on it."""
