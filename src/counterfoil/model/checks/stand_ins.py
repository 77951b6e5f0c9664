"""Systems that stand for others in Runs of their legal entity."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model


@rule("stand-in")
def stand_in(model: Model) -> Iterator[Finding]:
    """A system stands for another one of the same role and connector, in Runs of its own legal entity, and no second
    system does so for that entity. The other system stands for none."""
    holders: dict[tuple[str, str], str] = {}
    for document, system in model.documents_of(kinds.System):
        if system.stands_for is None:
            continue
        path = ("stands_for",)
        other = model.systems.get(system.stands_for)
        if other is None or other.name == system.name:
            names = [name for name in model.systems if name != system.name]
            fix = did_you_mean(system.stands_for, names, f"one of {', '.join(names)}")
            yield document.finding(
                "stand-in", f"there is no other system `{system.stands_for}`", path, fix=fix
            )
            continue
        for fault, fix in _faults(system, other):
            yield document.finding("stand-in", fault, path, fix=fix)
        if system.legal_entity is not None:
            first = holders.setdefault((system.stands_for, system.legal_entity), system.name)
            if first != system.name:
                message = f"`{first}` stands for {system.stands_for} in Runs of {system.legal_entity} already"
                yield document.finding("stand-in", message, path, fix="remove one of the two")


def _faults(system: kinds.System, other: kinds.System) -> Iterator[tuple[str, str]]:
    if system.legal_entity is None:
        yield "no legal entity says in which Runs it stands for the other system", "add `legal_entity:`"
    elif system.legal_entity == other.legal_entity:
        fix = "give the two systems different legal entities"
        yield f"both systems belong to {system.legal_entity}", fix
    if other.stands_for is not None:
        yield f"`{other.name}` stands for {other.stands_for} itself", f"name {other.stands_for} instead"
    for key in ("role", "connector"):
        if getattr(system, key) != getattr(other, key):
            message = f"its {key} is {getattr(system, key)}, and that of `{other.name}` {getattr(other, key)}"
            yield message, f"use the same {key}, because the same mappings and operations are used"
