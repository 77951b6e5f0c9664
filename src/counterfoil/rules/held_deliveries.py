"""Held deliveries: the fact that a delivery is about, and the money in it, as far as both can be read.

Pure. A mapping that failed as a whole still tells the key, the version and single amounts. Two deliveries of one fact
share a Case: a callback and the sweep that finds the same revision.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from counterfoil.core.canonical import CanonicalEvent, Receipt
from counterfoil.core.cases import largest_amounts
from counterfoil.core.event import parse
from counterfoil.core.money import Money
from counterfoil.core.money_json import read_money
from counterfoil.core.wire import WireRefused
from counterfoil.expr import LookupNeeded
from counterfoil.model import Model
from counterfoil.model.definition import EmitDefinition, InboundMapping
from counterfoil.rules.json_values import typed
from counterfoil.rules.lookup import Answers, lookup_in
from counterfoil.rules.mapping import FAILURES
from counterfoil.rules.templates import fill, truth
from counterfoil.rules.templates import key as key_of


class DeliverySubject(NamedTuple):
    """The fact that a held delivery is about."""

    id: str
    """Equal for deliveries of one fact."""
    amounts: tuple[Money, ...]
    """Its largest amount in each currency."""


def subject_of_events(events: Iterable[CanonicalEvent]) -> DeliverySubject:
    """Return the subject of a delivery whose events are known."""
    events = list(events)
    ids = sorted({event.id for event in events})
    return DeliverySubject("/".join(ids), largest_amounts([event.data for event in events]))


def subject_of_cloud_event(model: Model, receipt: Receipt) -> DeliverySubject:
    """Return the subject of a CloudEvent. One id is one fact."""
    try:
        (event,) = parse(receipt.body, "application/cloudevents+json")
    except WireRefused:
        return DeliverySubject(receipt.ext_id, ())
    declared = event.type in model.events
    data = typed(event.data, model.schema_of_event(event.type)) if declared else event.data
    return DeliverySubject(receipt.ext_id, largest_amounts(_with_money(data)))


def subject_of_delivery(
    receipt: Receipt,
    body: Any,
    mappings: Iterable[InboundMapping],
    fetched: Mapping[str, Any],
    answers: Answers,
) -> DeliverySubject:
    """Return the subject of a webhook's or feed's delivery by the mappings that accept it.

    `fetched` has what was read for a mapping, by its name. Without a version, each delivery is a fact of its own.
    """
    subject, amounts = "", []
    for mapping in mappings:
        names: dict[str, Any] = {
            "body": body,
            "fetched": fetched.get(mapping.name),
            "received": receipt.received_at,
        }
        ask = lookup_in(answers, mapping.system)
        for name, expression in mapping.let:
            value = _attempt(expression, names, ask)
            if value is not None:
                names[name] = value
        for emit in mapping.emits:
            if _attempt(truth, emit.when, names, ask) is False:
                continue
            subject = subject or _subject(mapping, emit, names, ask)
            amounts += [_attempt(fill, part, names, ask) for part in emit.data.fields.values()]
    return DeliverySubject(subject or receipt.ext_id, largest_amounts(amounts or _with_money(body)))


def _subject(mapping: InboundMapping, emit: EmitDefinition, names: dict[str, Any], ask: Any) -> str:
    """Return the event's type, key and version, as text; empty if one of them cannot be read."""
    if emit.version is None:
        return ""
    parts = (
        _attempt(fill, emit.type, names, ask),
        _attempt(key_of, emit.key, names, ask),
        _attempt(emit.version, names, ask),
    )
    return "" if None in parts else "/".join([mapping.system, *map(str, parts)])


def _attempt(work: Callable[..., Any], *args: Any) -> Any:
    """Return a value, or None if its formula fails or needs an answer that is missing."""
    try:
        return work(*args)
    except (LookupNeeded, *FAILURES):
        return None


def _with_money(value: Any) -> Any:
    """Return a JSON value in which each object that has a form of money is Money."""
    money = read_money(value)
    if money is not None:
        return money
    if isinstance(value, dict):
        return [_with_money(part) for part in value.values()]
    return [_with_money(part) for part in value] if isinstance(value, list) else value
