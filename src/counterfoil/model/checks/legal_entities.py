"""Legal entities: their default, the rows of tables that are about one of them, and caps in their currencies."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from counterfoil.core.finding import Finding, did_you_mean
from counterfoil.core.money import EXPONENTS
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.document import Document
from counterfoil.model.model import Model
from counterfoil.model.source import Path

COLUMNS = ("legal_entity", "entity")
"""Names of key columns whose values are legal entities."""


@rule("default-entity")
def default_entity(model: Model) -> Iterator[Finding]:
    """Of several legal entities exactly one is the default. A single one always is."""
    entities = list(model.documents_of(kinds.LegalEntity))
    defaults = [document for document, entity in entities if entity.default]
    if len(entities) > 1 and not defaults and not model.has_broken("legal_entity"):
        message = f"none of the {len(entities)} legal entities is the default"
        fix = "add `default: true` to the entity of facts that name none"
        yield entities[0][0].finding("default-entity", message, ("name",), fix=fix)
    for document in defaults[1:]:
        message = f"the legal entity `{defaults[0].name}` is the default already"
        yield document.finding(
            "default-entity", message, ("default",), fix="remove `default` from one of them"
        )


@rule("unknown-entity")
def unknown_entity(model: Model) -> Iterator[Finding]:
    """In a folder that declares legal entities, a row of a table with a key column `legal_entity` or `entity` is about one
    of them, also a row that a test gives."""
    if not model.legal_entities:
        return
    tables = model.of_kind(kinds.Table)
    for document, table in model.documents_of(kinds.Table):
        yield from _rows(model, document, table, table.rows or [], ("rows",))
    for document, test in model.documents_of(kinds.Test):
        for name, rows in test.tables.items():
            if name in tables:
                yield from _rows(model, document, tables[name], rows, ("tables", name))


def _rows(
    model: Model, document: Document, table: kinds.Table, rows: Sequence[Mapping[str, Any]], path: Path
) -> Iterator[Finding]:
    for column in COLUMNS:
        if column not in table.key:
            continue
        first: dict[str, int] = {}
        for position, row in enumerate(rows):
            if column in row:
                first.setdefault(str(row[column]), position)
        for name, position in first.items():
            if not model.has("legal_entity", name):
                message = f"row {position + 1}: there is no legal entity `{name}`"
                otherwise = f"add a document of kind legal_entity named {name}"
                fix = did_you_mean(name, model.legal_entities, otherwise)
                yield document.finding("unknown-entity", message, (*path, position, column), fix=fix)


@rule("cap-currency")
def cap_currency(model: Model) -> Iterator[Finding]:
    """A reconciliation with a `cap` has one for the currency of each legal entity. In any other currency a waiver has no
    limit. Each currency of a cap exists."""
    for document, reconciliation in model.documents_of(kinds.Reconciliation):
        entities: dict[str, list[str]] = {}
        for entity in model.legal_entities.values():
            entities.setdefault(entity.currency, []).append(entity.name)
        for currency in reconciliation.cap:
            if currency not in EXPONENTS:
                message = f"`{currency}` is not a currency code of ISO 4217"
                fix = did_you_mean(currency, entities)
                yield document.finding("cap-currency", message, ("cap", currency), at_key=True, fix=fix)
        for currency, names in sorted(entities.items() if reconciliation.cap else ()):
            if currency not in reconciliation.cap:
                message = (
                    f"there is no cap in {currency}, so waivers of {', '.join(sorted(names))} have no limit"
                )
                fix = f"add {currency}, in minor units per entity and month"
                yield document.finding("cap-currency", message, ("cap",), at_key=True, fix=fix)
