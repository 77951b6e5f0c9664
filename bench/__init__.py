"""Benchmarks: each row is a ratio taken in one run, against a limit of this machine or a peer beside it."""
