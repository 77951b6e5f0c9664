"""Choices that Cases offer, and their labels on pages."""

from __future__ import annotations

from counterfoil.core.case import Choice

LABELS: dict[Choice, str] = {
    Choice.RETRY: "Try the step or the delivery again",
    Choice.CONTINUE: "Count the step as done and go on",
    Choice.UNDO: "Take back what was confirmed",
    Choice.CLOSE: "End the Run here",
    Choice.WAIVE: "Accept the difference",
    Choice.DISMISS: "Dismiss (no action needed)",
}
"""Label of each choice, for pages."""
STEP_CHOICES = (Choice.RETRY, Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)
FACT_CHOICES = (Choice.RETRY, Choice.UNDO, Choice.CLOSE)
"""A Run cannot continue without its facts."""
UNKNOWN_CHOICES = (Choice.RETRY, Choice.CONTINUE)
"""A person says only whether the call was done: `continue` if it was, `retry` if it was not."""
RUN_CHOICES = (Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)
UNDO_CHOICES = (Choice.RETRY, Choice.CONTINUE, Choice.CLOSE)
DELIVERY_CHOICES = (Choice.RETRY, Choice.DISMISS)
