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
_EFFECTS: dict[Choice, str] = {
    Choice.RETRY: "Counterfoil tries it again: {money}.",
    Choice.CONTINUE: "Nothing is sent again, and the step counts as done. If the other system does not show {money}, it stays missing there.",
    Choice.UNDO: "Counterfoil takes back in every system what was confirmed: {money}.",
    Choice.CLOSE: "The Run ends here, and nothing more is sent. If one system shows {money} and the other does not, that stays so.",
    Choice.WAIVE: "The difference of {money} is accepted. No one has to post it any more.",
    Choice.DISMISS: "The Case closes and nothing is changed: {money}.",
}
UNKNOWN_MONEY = "an amount that is not known"
"""Words for the money of a Case without an amount."""


def choice_effect(choice: Choice, money: str) -> str:
    """Return what a choice does, with the money that it decides on."""
    return _EFFECTS[choice].format(money=money or UNKNOWN_MONEY)


def asks_again(choice: Choice, has_money: bool) -> bool:
    """Return whether a page asks again before it acts: the choice may give money away, or takes something back."""
    return choice is not Choice.RETRY and (has_money or choice is not Choice.DISMISS)


STEP_CHOICES = (Choice.RETRY, Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)
FACT_CHOICES = (Choice.RETRY, Choice.UNDO, Choice.CLOSE)
"""A Run cannot continue without its facts."""
UNKNOWN_CHOICES = (Choice.RETRY, Choice.CONTINUE)
"""A person says only whether the call was done: `continue` if it was, `retry` if it was not."""
RUN_CHOICES = (Choice.CONTINUE, Choice.UNDO, Choice.CLOSE)
UNDO_CHOICES = (Choice.RETRY, Choice.CONTINUE, Choice.CLOSE)
DELIVERY_CHOICES = (Choice.RETRY, Choice.DISMISS)
