"""The one builder of Cases.

`core.case_reasons` holds what all Cases of a reason share. Callers pass what differs: owners, message and subject.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import datetime, timedelta
from typing import Any

from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.case import Case, Choice
from counterfoil.core.case_reasons import reason_row
from counterfoil.core.clock import micros
from counterfoil.core.foil import NEEDS_CASE, UNFINISHED_FOILS, Foil, Observation, Pairing
from counterfoil.core.money import INT64_MAX, Money
from counterfoil.core.terms import Legs, total_money

MAX_MESSAGE_CHARS = 4000
MAX_CAUSE_CHARS = 200
_CODE = re.compile(r": [a-z_]+: ([a-z][a-z0-9_]*): ", re.ASCII)
"""The error code in the message about a refused call: it follows the class."""
MAX_REPEATED_CHARS = MAX_MESSAGE_CHARS - 40
"""Of a message that the count follows."""
DEFAULT_NAMES = {
    "channel": "of notices",
    "object": "the document",
    "operation": "the call",
    "successor": "to the new version",
    "system": "the other system",
    "user": "its users",
}
"""Placeholders of next actions, with the words for a caller that has no name to pass."""


def next_action(reason: str, names: Mapping[str, str] | None = None) -> str:
    """Return what the owner does next. `names` fill the placeholders of the template."""
    return reason_row(reason).next_action.format_map({**DEFAULT_NAMES, **(names or {})})


def open_case(
    reason: str,
    *,
    id: str,
    message: str,
    owners: Iterable[str],
    at: datetime,
    names: Mapping[str, str] | None = None,
    choices: tuple[Choice, ...] | None = None,
    deadline: timedelta | None = None,
    run: str | None = None,
    path: str | None = None,
    receipt: int | None = None,
    event: str | None = None,
    effect: str | None = None,
    foil: str | None = None,
    observation: str | None = None,
    exposure: tuple[Money, ...] = (),
    count: int = 1,
    rule: str = "",
) -> Case:
    """Build an open Case for the first of `owners`. Its id derives from its subject, so a repeat opens no second one.

    `rule` is the reconciliation that its cause is about.
    """
    row = reason_row(reason)
    return Case(
        id=id,
        reason=reason,
        message=message[:MAX_MESSAGE_CHARS],
        owner=next(iter(owners), ""),
        deadline=at + (row.deadline if deadline is None else deadline),
        next_action=next_action(reason, names),
        choices=row.choices if choices is None else choices,
        run=run,
        path=path,
        receipt=receipt,
        event=event,
        effect=effect,
        foil=foil,
        observation=observation,
        exposure=exposure,
        count=count,
        created_at=at,
        cause=cause_key(reason, rule or _place(names), message),
    )


def cause_key(reason: str, place: str, message: str) -> str:
    """Return the key that Cases of one cause share: `refused/erp.credit_memo.post/unknown_account`.

    Parts are the reason, the operation, rule or system that it depends on, and the error code of a refused call.
    """
    code = _CODE.search(message)
    parts = (reason, place, "" if code is None else code[1])
    return "/".join(part for part in parts if part)[:MAX_CAUSE_CHARS]


def _place(names: Mapping[str, str] | None) -> str:
    """Return the operation or the system among the names of a next action."""
    return (names or {}).get("operation") or (names or {}).get("system") or ""


def with_occurrences(case: Case, more: Case) -> Case:
    """Return an open Case with further occurrences of its cause, with the latest message."""
    count = case.count + more.count
    message = f"{more.message[:MAX_REPEATED_CHARS]} ({count} in all)" if count > 1 else more.message
    return replace(case, count=count, message=message, exposure=exposure_with(case, more))


def held_repeat(former: Case, case: Case) -> Case | None:
    """Return the occurrence that the Case of a held delivery adds to the open one; None if it says nothing new.

    The same delivery that is held again is no further occurrence. Its message may be another one.
    """
    if (former.receipt, former.event) != (case.receipt, case.event):
        return case
    return None if former.message == case.message or former.count > 1 else replace(case, count=0)


def holds_run(case: Case) -> bool:
    """Report whether a step of a Run waits for the decision on a Case."""
    return case.path is not None and Choice.RETRY in case.choices


def unsettled_foil(foils: Iterable[Foil]) -> Foil | None:
    """Return the foil of a Run that a Case about it is about: one that is not settled, a broken one first."""
    unsettled = (f for f in foils if f.state in UNFINISHED_FOILS | NEEDS_CASE)
    return min(unsettled, key=lambda f: (f.state not in NEEDS_CASE, f.due, f.id), default=None)


def joined_note(case: Case) -> str:
    """Return why the Case of a counterfoil ends when a step of its Run waits for the same cause."""
    return f"one cause with {case.id}"


def case_topic(case: str) -> str:
    """Return the topic on which further deliveries wait that the Case counts: they follow its decision."""
    return f"case:{case}"


def exposure_with(case: Case, more: Case) -> tuple[Money, ...]:
    """Return the money at stake with further occurrences.

    Occurrences about one document name the same money again; those about many documents add theirs.
    """
    if case.receipt is not None or case.event is not None:
        return case.exposure or more.exposure
    return totals((*case.exposure, *more.exposure)) if more.exposure else case.exposure


def repeat_body(case: Case) -> bytes:
    """Return the body of the leaf that records further occurrences."""
    return wire.dumps({"count": case.count, "message": case.message})


def id_after(case: str) -> str:
    """Return the id of the Case that follows a resolved one, if its cause occurs again."""
    return ids.derive("case", case, "again")


def largest_amounts(value: Any) -> tuple[Money, ...]:
    """Return the largest amount of each currency in a decoded value, without its sign, in order of currency.

    A document names the same money several times: as total, net, tax and lines. The largest one is at stake.
    """
    largest: dict[str, int] = {}
    parts = [value]
    while parts:
        part = parts.pop()
        if isinstance(part, Money):
            largest[part.currency] = max(largest.get(part.currency, 0), min(abs(part.minor), INT64_MAX))
        elif isinstance(part, Mapping):
            parts.extend(part.values())
        elif isinstance(part, list | tuple):
            parts.extend(part)
    return tuple(Money(minor, currency) for currency, minor in sorted(largest.items()) if minor)


def totals(amounts: Iterable[Money]) -> tuple[Money, ...]:
    """Return the sum of each currency, in order of currency. A sum that does not fit counts as the largest amount."""
    sums: dict[str, int] = {}
    for money in amounts:
        sums[money.currency] = min(sums.get(money.currency, 0) + abs(money.minor), INT64_MAX)
    return tuple(Money(minor, currency) for currency, minor in sorted(sums.items()))


def case_of_break(foil: Foil, at: datetime) -> Case:
    """Build the Case of a counterfoil that breaks or shows too much. It opens in the same transaction.

    Money at stake is the difference, not the document, and what other documents use beyond its total. Where no amount
    differs, the document as a whole is in question.
    """
    return open_case(
        f"foil_{foil.state}",
        id=ids.derive("case", "foil", foil.id, str(foil.state), foil.reason, micros(at)),
        message=f"{foil.left} shows {foil.object} {foil.number} ({_amounts(foil.legs)}); {foil.right}: {foil.reason}",
        owners=(foil.owner,),
        at=at,
        names={"object": f"{foil.object} {foil.number}", "system": foil.right},
        run=foil.run,
        foil=foil.id,
        exposure=totals((*foil.difference, *foil.excess_money)) or totals(total_money(foil.terms, foil.legs)),
        rule=foil.rule,
    )


def case_of_unmatched(item: Observation, at: datetime) -> Case:
    """Build the Case of a document that one system shows and that no assertion accounts for."""
    return open_case(
        "unmatched",
        id=ids.derive("case", "unmatched", item.id, item.version),
        message=f"{item.ledger} shows {item.number} ({_amounts(item.legs)}); no assertion accounts for it",
        owners=(item.owner,),
        at=at,
        names={"object": item.number, "system": item.ledger},
        observation=item.id,
        exposure=tuple(abs(money) for money in item.money),
        rule=item.rule,
    )


def case_of_pairing(pairing: Pairing, foil: Foil, item: Observation, at: datetime) -> Case:
    """Build the Case of a person's pair that ended because a document has other legs now."""
    return open_case(
        "pairing_ended",
        id=ids.derive("case", "pairing", pairing.id),
        message=f"The pair of {foil.number} and {item.number} ended: {foil.left} shows {_amounts(foil.legs)}, "
        f"{item.ledger} shows {_amounts(item.legs)}",
        owners=(foil.owner,),
        at=at,
        names={"object": f"{foil.object} {foil.number}", "system": foil.right},
        foil=None,
        exposure=tuple(abs(money) for money in foil.open_money),
        rule=foil.rule,
    )


def _amounts(legs: Legs) -> str:
    return ", ".join(f"{leg} {value}" for leg, value in sorted(legs.items()))
