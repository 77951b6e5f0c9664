"""Declarations that this version of Counterfoil reads and does not execute.

The tables say what nothing executes. A test compares them with what the code reads of each kind.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model
from counterfoil.model.source import Path

KINDS = {
    "alert": "no condition is watched, and no message is sent",
    "state_map": "no state is translated; write the states into a mapping or a table",
}
"""Kind -> consequence."""
KEYS: dict[tuple[type[kinds.Part], str], tuple[str, str]] = {
    (kinds.Policy, "degradation"): (
        "the policy `degradation`",
        "a system that is down is treated by the failure policies only",
    ),
    (kinds.Policy, "retention"): ("the policy `retention`", "nothing is deleted"),
    (kinds.Fetch, "pages"): (
        "`pages` of a `fetch`",
        "the answer of the call is used as it is; the connector must read every page",
    ),
    (kinds.MappingFrom, "api_version"): (
        "`api_version` of a mapping",
        "deliveries of every version are mapped; tell versions apart by `when`",
    ),
    (kinds.Calendar, "dates"): (
        "`dates` of a calendar",
        "nothing happens on these days; write days that hold up changes into `changes`",
    ),
}
"""Part and key -> name and consequence."""
_BY_RATES = "amounts are converted by the `rates` of the approval"
VALUES: dict[tuple[type[kinds.Part], str], tuple[Any, str, str]] = {
    (kinds.Limit, "counts"): (
        {"reserved", "consumed"},
        "`counts` of a limit",
        "reserved and consumed amounts both count",
    ),
    (kinds.LimitCurrency, "rate"): ("spot", "`rate` of a limit", _BY_RATES),
    (kinds.LimitCurrency, "at"): ("request_date", "`at` of a limit", _BY_RATES),
}
"""Part and key -> the only value that is executed, name and consequence. Lists are compared as sets."""
_DECLARED: dict[type[kinds.Part], list[str]] = {}
for _part, _key in (*KEYS, *VALUES):
    _DECLARED.setdefault(_part, []).append(_key)


@rule("not-executed")
def not_executed(model: Model) -> Iterator[Finding]:
    """Every declaration has an effect. The kinds `alert` and `state_map`, the policies `degradation` and `retention`,
    `pages` of a `fetch`, `api_version` of a mapping, `dates` of a calendar, and other values of a limit's `counts`, `rate` and
    `at` than the defaults are not executed by this version. A warning."""
    for document in model.documents:
        for path, what, instead in _without_effect(document.value):
            message = f"{what} is not executed by this version: {instead}"
            yield document.finding("not-executed", message, path, at_key=True, severity="warning")


def _without_effect(value: kinds.Kind) -> Iterator[tuple[Path, str, str]]:
    """Yield the place, the name and the consequence of each declaration that does nothing."""
    if value.kind in KINDS:
        yield ("kind",), f"the kind `{value.kind}`", KINDS[value.kind]
        return
    for path, part in _parts(value, ()):
        for key in _DECLARED.get(type(part), ()):
            if key not in part.model_fields_set or getattr(part, key) is None:
                continue
            if (type(part), key) in KEYS:
                yield (*path, key), *KEYS[type(part), key]
            else:
                executed, what, instead = VALUES[type(part), key]
                declared = getattr(part, key)
                if (set(declared) if isinstance(declared, list) else declared) != executed:
                    yield (*path, key), what, instead


_WITH_PARTS = (kinds.Part, dict, list)


def _parts(value: Any, path: Path) -> Iterator[tuple[Path, kinds.Part]]:
    """Yield every part of a document with its place in the file, from the outside in."""
    if isinstance(value, kinds.Part):
        yield path, value
        fields = vars(value)
        for key, alias in _aliases(type(value)):
            inner = fields[key]
            if isinstance(inner, _WITH_PARTS):
                yield from _parts(inner, (*path, alias))
    elif isinstance(value, dict):
        for name, part in value.items():
            if isinstance(part, _WITH_PARTS):
                yield from _parts(part, (*path, name))
    elif isinstance(value, list):
        for number, part in enumerate(value):
            if isinstance(part, _WITH_PARTS):
                yield from _parts(part, (*path, number))


@cache
def _aliases(part: type[kinds.Part]) -> list[tuple[str, str]]:
    """Return the fields of a part, each with its key in the file."""
    return [(key, field.alias or key) for key, field in part.model_fields.items()]
