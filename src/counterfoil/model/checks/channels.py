"""Channels name roles and legal entities that exist."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model


@rule("channel")
def channel(model: Model) -> Iterator[Finding]:
    """The roles and legal entities of a channel exist: its notices would reach no one otherwise."""
    for document, value in model.documents_of(kinds.NoticeChannel):
        for key, names, of in (
            ("roles", value.roles, model.roles),
            ("entities", value.entities or [], model.legal_entities),
        ):
            for place, name in enumerate(names):
                if name not in of and not model.has_broken("role", "legal_entity"):
                    fix = did_you_mean(name, of, "declare it")
                    yield document.finding("channel", f"`{name}` does not exist", (key, place), fix=fix)
