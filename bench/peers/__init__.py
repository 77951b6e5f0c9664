"""The peers of the benchmarks: other systems that do the same work beside ours, in processes of their own.

Each has a lock with hashes in this folder and gets an environment of its own, made when a row asks for it: what a
benchmark compares with is no dependency of the project. What cannot be had here skips its rows, with the reason.
"""

from pathlib import Path

PROGRAMS = Path(__file__).with_name("programs")
"""Programs that run in the environments of the peers; they import nothing from here."""
