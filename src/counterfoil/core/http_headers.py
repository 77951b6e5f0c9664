"""Headers of a received HTTP message as plain values."""

from __future__ import annotations

SEVERAL_VALUES = "\n"
"""Between different values of one HTTP header. No single value can contain a line feed."""
