"""Values of tests: formulas, and money as text, become what systems send and what records are compared with."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from functools import lru_cache
from typing import Any

from counterfoil.core import ids
from counterfoil.core.money import Money
from counterfoil.expr import Expression, compile
from counterfoil.flow.context.lookups import Lookups
from counterfoil.model import Model
from counterfoil.model.kinds.test import MONEY_TEXT
from counterfoil.rules.json_values import plain
from counterfoil.rules.lookup import account_of, lookup_in
from counterfoil.store.port.store import Store

NAMES = ("now", "today")
"""Names that formulas of tests read."""


@lru_cache(maxsize=4096)
def formula(text: str) -> Expression:
    """Return the compiled formula of a text that starts with `=`. Raises ExpressionError."""
    return compile(text[1:])


class TestValues:
    """Values of one test at one moment. Formulas may look up Links, heads and tables of the store."""

    __test__ = False

    def __init__(self, model: Model, store: Store, now: datetime) -> None:
        self._model, self._now = model, now
        self._lookups = Lookups(store, model, now)
        self._names = {"now": now, "today": now.date()}

    async def filled(self, value: Any) -> Any:
        """Return a value with its formulas evaluated, as plain JSON. Raises what a formula raises."""
        return await self._filled(value) if _has_formula(value) else value

    async def _filled(self, value: Any) -> Any:
        if isinstance(value, str) and value.startswith("="):
            expression = formula(value)
            value = await self._lookups.complete(lambda: expression(self._names, self._lookup))
            return str(value) if isinstance(value, Money) else plain(value)
        if isinstance(value, dict):
            return {key: await self._filled(part) for key, part in value.items()}
        return [await self._filled(part) for part in value] if isinstance(value, list) else value

    def _lookup(self, name: str, args: tuple[Any, ...]) -> Any:
        """Answer a look-up. `canon` without a system means the system of record, which gives every id."""
        if name == "canon" and args[0] in self._model.objects:
            system = args[2] if len(args) > 2 else self._model.objects[args[0]].system
            return ids.canonical_id(str(args[0]), system, account_of(self._model, system), str(args[1]))
        return lookup_in(self._lookups.answers)(name, args)


def _has_formula(value: Any) -> bool:
    if isinstance(value, str):
        return value.startswith("=")
    if isinstance(value, dict):
        return any(map(_has_formula, value.values()))
    return isinstance(value, list) and any(map(_has_formula, value))


def with_money(value: Any, schema: Mapping[str, Any]) -> Any:
    """Return JSON with the text of money as `{amount, currency}`, where the schema wants money."""
    if schema.get("x-type") == "money":
        match = MONEY_TEXT.fullmatch(value) if isinstance(value, str) else None
        return {"amount": match[1].replace(",", ""), "currency": match[2]} if match else value
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        return {key: with_money(part, properties.get(key, {})) for key, part in value.items()}
    if isinstance(value, list):
        items = schema.get("items", {})
        return [with_money(part, items if isinstance(items, dict) else {}) for part in value]
    return value
