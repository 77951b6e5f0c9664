"""Merging of facts into heads: the order of facts, ties of one version, and what settles them. Pure."""

from __future__ import annotations

from datetime import datetime

import msgspec
from msgspec.structs import replace

from counterfoil.core.canonical import Head, is_ordered, rank_key, read_at
from counterfoil.core.clock import micros


class HeadMerge(msgspec.Struct, frozen=True):
    """Result of a fact on a head."""

    head: Head | None
    """The head after the fact; None: unchanged."""
    moves: bool
    """The fact is the newest of its system."""
    tie: bool = False
    """It contradicts a fact of the same version, and nothing tells which of the two is newer."""
    settled: frozenset[int] = frozenset()
    """Versions whose ties are settled by this fact."""


def merge_head(head: Head | None, fact: Head) -> HeadMerge:
    """Return the head after a fact.

    Facts of one system are ordered by version, and those of one version by rank (core.canonical). Each field has the
    value of the last fact in this order that asserts it, whatever the order of arrival.
    """
    system, order = fact.system, (fact.version, fact.versions.get(rank_key(fact.system), 0))
    if head is None:
        return HeadMerge(replace(fact, versions=_entry(system, order)), moves=True)
    newest = _order_of(head, system)
    contested = frozenset(field for field in fact.state if _is_contested(head, fact, field, order))
    moves = newest is None or newest <= order
    won = {f: v for f, v in fact.state.items() if moves or _is_due(head, system, f, order)}
    before = _ties(head, system)
    unsettled = {f: n for f, n in before.items() if f not in won or not _settles(head, system, f, order)}
    after = unsettled | dict.fromkeys(contested, fact.version)
    if not won and not moves and before == after:
        return HeadMerge(None, moves=False)
    versions = dict(head.versions)
    if moves and newest is not None and newest != order:
        for field in head.state.keys() - fact.state.keys():
            if _of(system, field) not in versions:
                versions |= _entry(_of(system, field), newest)
    for key in [_of(system, field) for field in won] + ([system] if moves else []):
        versions.pop(key, None)
        versions.pop(rank_key(key), None)
    if moves:
        versions |= _entry(system, order)
    else:
        for field in won:
            versions |= _entry(_of(system, field), order)
    for field in before:
        versions.pop(_tie_key(system, field), None)
    versions |= {_tie_key(system, field): version for field, version in after.items()}
    merged = replace(
        fact if moves else head,
        state={**head.state, **won},
        versions=versions,
        recorded_at=fact.recorded_at,
        entity=(moves and fact.entity) or head.entity or fact.entity,
    )
    settled = frozenset(before.values()) - frozenset(after.values())
    return HeadMerge(merged, moves, tie=bool(contested), settled=settled)


def is_overtaken(head: Head | None, fact: Head, read_from: datetime) -> bool:
    """Return True if another admission read the object after `read_from`, with the same version and other content.

    The two fetches overlap, so neither is known to be the later one.
    """
    if head is None:
        return False
    rank, began = fact.versions.get(rank_key(fact.system), 0), micros(read_from)
    for field, value in fact.state.items():
        other = _order_of(head, fact.system, field)
        if other is None or other[0] != fact.version or head.state.get(field) == value:
            continue
        if is_ordered(rank, other[1]) and read_at(other[1]) > began:
            return True
    return False


def _is_due(head: Head, system: str, field: str, order: tuple[int, int]) -> bool:
    """Return True if no newer fact of the system spoke of the field."""
    other = _order_of(head, system, field)
    return field not in head.state or other is None or other <= order


def _settles(head: Head, system: str, field: str, order: tuple[int, int]) -> bool:
    """Return True if a fact of this order is known to be newer than the one that set the field."""
    other = _order_of(head, system, field)
    return other is None or order[0] > other[0] or is_ordered(order[1], other[1])


def _is_contested(head: Head, fact: Head, field: str, order: tuple[int, int]) -> bool:
    """Return True if the fact contradicts a field of its own version, and their ranks are no evidence of an order."""
    if field not in head.state or head.state[field] == fact.state[field]:
        return False
    other = _order_of(head, fact.system, field)
    return other is not None and other[0] == order[0] and not is_ordered(order[1], other[1])


def _order_of(head: Head, system: str, field: str | None = None) -> tuple[int, int] | None:
    """Return version and rank of the system's newest fact, or of its fact that set a field; None without such a fact."""
    versions = head.versions
    key = system if field is None else _of(system, field)
    if key not in versions:
        key = system
    return (versions[key], versions.get(rank_key(key), 0)) if key in versions else None


def _ties(head: Head, system: str) -> dict[str, int]:
    """Return the versions in which fields of the system are contested."""
    begin = f"{system}/"
    return {
        key[len(begin) : -1]: version
        for key, version in head.versions.items()
        if key.endswith("?") and key.startswith(begin)
    }


def _entry(key: str, order: tuple[int, int]) -> dict[str, int]:
    version, rank = order
    return {key: version, rank_key(key): rank} if rank else {key: version}


def _of(system: str, field: str) -> str:
    return f"{system}/{field}"


def _tie_key(system: str, field: str) -> str:
    return f"{_of(system, field)}?"
