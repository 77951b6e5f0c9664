"""Merge of a fact into an object's head: each field holds the newest value that its system asserted."""

from __future__ import annotations

import msgspec

from counterfoil.core.canonical import Head


def merged(head: Head | None, fact: Head) -> tuple[Head | None, bool]:
    """Return the head after a fact (None: unchanged), and whether the fact moved it.

    A fact moves the head unless the head has a newer version of the same system. An older fact fills in the fields of
    which no newer one spoke.
    """
    system, version = fact.system, fact.version
    if head is None:
        return msgspec.structs.replace(fact, versions={system: version}), True
    newest = head.versions.get(system)
    if newest is None or newest <= version:
        behind = {} if newest is None else _behind(head, fact, newest)
        spoken = {_of(system, field) for field in fact.state}
        versions = {key: n for key, n in head.versions.items() if key not in spoken}
        state = {**head.state, **fact.state}
        return msgspec.structs.replace(
            fact, state=state, versions={**behind, **versions, system: version}
        ), True
    filled = {
        field: value
        for field, value in fact.state.items()
        if field not in head.state or head.versions.get(_of(system, field), newest) <= version
    }
    if not filled:
        return None, False
    versions = {**head.versions, **{_of(system, field): version for field in filled}}
    state = {**head.state, **filled}
    return msgspec.structs.replace(head, state=state, versions=versions, recorded_at=fact.recorded_at), False


def _behind(head: Head, fact: Head, newest: int) -> dict[str, int]:
    """Return the version of each field that the newer fact of its system does not name."""
    if newest == fact.version:
        return {}
    return {_of(fact.system, field): newest for field in head.state if field not in fact.state}


def _of(system: str, field: str) -> str:
    return f"{system}/{field}"
