"""Tests of a governance folder: the engine in process, between systems that are played, on a clock that is given."""
