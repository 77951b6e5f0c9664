"""What a fact makes of an object's head: each field holds the newest value that its system asserted of it."""

from __future__ import annotations

import msgspec

from counterfoil.core.canonical import Head


def merged(held: Head | None, fact: Head) -> tuple[Head | None, bool]:
    """The head after a fact, None where it stays as it is; and whether the fact moved it, being no older than what is
    held of the same system. An older one fills in what no newer one spoke of."""
    system, version = fact.system, fact.version
    if held is None:
        return msgspec.structs.replace(fact, versions={system: version}), True
    newest = held.versions.get(system)
    if newest is None or newest <= version:
        behind = {} if newest is None else _behind(held, fact, newest)
        spoken = {_of(system, field) for field in fact.state}
        versions = {key: n for key, n in held.versions.items() if key not in spoken}
        state = {**held.state, **fact.state}
        return msgspec.structs.replace(
            fact, state=state, versions={**behind, **versions, system: version}
        ), True
    filled = {
        field: value
        for field, value in fact.state.items()
        if field not in held.state or held.versions.get(_of(system, field), newest) <= version
    }
    if not filled:
        return None, False
    versions = {**held.versions, **{_of(system, field): version for field in filled}}
    state = {**held.state, **filled}
    return msgspec.structs.replace(held, state=state, versions=versions, recorded_at=fact.recorded_at), False


def _behind(held: Head, fact: Head, newest: int) -> dict[str, int]:
    """The version up to now of each field that a newer fact of its system says nothing of."""
    if newest == fact.version:
        return {}
    return {_of(fact.system, field): newest for field in held.state if field not in fact.state}


def _of(system: str, field: str) -> str:
    return f"{system}/{field}"
