"""The legal entities of a folder as formulas read them: the map `entity`, and the formula that chooses it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from counterfoil.model import kinds
from counterfoil.model.documents import Documents
from counterfoil.model.fields import STRING, Schema, closed_object

_OPTIONAL: Schema = {"type": ["string", "null"]}
ENTITY = closed_object(
    {
        **dict.fromkeys(("id", "title", "country", "currency", "zone"), STRING),
        **dict.fromkeys(("region", "tax_id"), _OPTIONAL),
    }
)
"""Type of the map. `region` and `tax_id` are null where the document states none."""


_READ = re.compile(r"(?<![\w.'])entity\b(?!')")
_REGION = re.compile(r"(?<!\bdata)\.region\b")


def reads_entity(value: Any) -> bool:
    """Return True if a text below a value may be a formula that reads `entity`."""
    return any(_READ.search(text) for text in _texts(value))


def reads_region(value: Any) -> bool:
    """Return True if a text below a value may be a formula that reads the region of an event."""
    return any(_REGION.search(text) for text in _texts(value))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict):
        for key, inner in value.items():
            if key != "doc":
                yield from _texts(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from _texts(inner)


def names_of(entity: kinds.LegalEntity) -> dict[str, str | None]:
    """Return the map `entity` of a legal entity."""
    return {
        "id": entity.name,
        "title": entity.title,
        "country": entity.country,
        "currency": entity.currency,
        "zone": entity.zone,
        "region": entity.region,
        "tax_id": entity.tax_id,
    }


def entity_formula(documents: Documents, text: str, otherwise: str) -> str:
    """Return the formula for the map `entity` of the legal entity that another formula names.

    Null and the empty text mean the entity `otherwise`. The formula has no value for an entity that is not declared.
    The folder must declare entities. Its documents are constants of the formula: it looks nothing up.
    """
    entities = documents.legal_entities
    by_name = {name: _written(names_of(entity)) for name, entity in sorted(entities.items())}
    by_name[""] = by_name[otherwise if otherwise in entities else documents.default_entity]
    pairs = ", ".join(f"{_text(name)}: {names}" for name, names in by_name.items())
    return f"{{{pairs}}}[first({text}, '')]"


def _written(names: Mapping[str, str | None]) -> str:
    pairs = (f"{_text(key)}: {'null' if value is None else _text(value)}" for key, value in names.items())
    return f"{{{', '.join(pairs)}}}"


def _text(value: str) -> str:
    """Return a text as a constant of a formula: its escapes are those of JSON."""
    return json.dumps(value, ensure_ascii=False)
