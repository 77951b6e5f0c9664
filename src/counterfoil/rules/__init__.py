"""Pure decisions: no I/O, no clock, no randomness; everything they read is passed in."""

from counterfoil.rules.workflow.decide import decide

__all__ = ["decide"]
