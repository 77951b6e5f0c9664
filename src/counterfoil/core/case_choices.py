"""Choices that Cases offer, and their labels on pages."""

from __future__ import annotations

from collections.abc import Sequence

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
_LATER = " A later call that needs its record opens a Case of its own."
_EFFECTS: dict[Choice, tuple[str, str]] = {
    Choice.RETRY: ("Counterfoil tries it again; {money} is at stake.", "Counterfoil tries it again."),
    Choice.CONTINUE: (
        "Nothing is sent again, and the step counts as done. If the other system does not show it, {money} stays open."
        + _LATER,
        "Nothing is sent again, and the step counts as done. What the other system does not show stays missing there."
        + _LATER,
    ),
    Choice.UNDO: (
        "Counterfoil takes back in every system what was confirmed: {money}.",
        "Nothing was confirmed in any system, so nothing is taken back. The Run ends.",
    ),
    Choice.CLOSE: (
        "The Run ends here, and nothing more is sent. {money} stays open between the systems.",
        "The Run ends here, and nothing more is sent. What one system shows and the other does not stays so.",
    ),
    Choice.WAIVE: (
        "The difference of {money} is accepted. No one has to post it any more.",
        "The difference is accepted. No one has to post it any more.",
    ),
    Choice.DISMISS: (
        "The Case closes and nothing is changed: {money}.",
        "The Case closes and nothing is changed.",
    ),
}
"""Sentence for each choice with the money that it decides on, and without."""


def choice_effect(choice: Choice, money: str, confirmed: Sequence[str] = ()) -> str:
    """Return what a choice does. `money` is that of the Case, empty if not known; `confirmed` are the calls of its Run."""
    with_money, without = _EFFECTS[choice]
    named = ", ".join(confirmed) if choice is Choice.UNDO else money
    return with_money.format(money=named) if named else without


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
