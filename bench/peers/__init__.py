"""Peers of the benchmarks: other systems that do the same work, in separate processes.

Each has a lock file with hashes in this folder and its own environment, created for the first row that needs it. So a
peer is no dependency of the project. The rows of an unavailable peer are skipped, with the reason.
"""

from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")
"""Programs that run in the environments of the peers; they import nothing of this project."""
