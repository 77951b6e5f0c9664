"""Declarations that this version of Counterfoil reads and does not execute."""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.core.finding import Finding
from counterfoil.model import kinds
from counterfoil.model.checks.registry import rule
from counterfoil.model.model import Model
from counterfoil.model.source import Path

_KINDS = {
    "alert": "no condition is watched, and no message is sent",
    "state_map": "no state is translated; write the states into a mapping or a table",
}
_POLICIES = {
    "degradation": "a system that is down is treated by the failure policies only",
    "retention": "nothing is deleted",
}


@rule("not-executed")
def not_executed(model: Model) -> Iterator[Finding]:
    """Every declaration has an effect. The kinds `alert` and `state_map`, the policies `degradation` and `retention`, and other
    values of a limit's `counts`, `rate` and `at` than the defaults are not executed by this version. A warning."""
    for document in model.documents:
        for path, what, instead in _without_effect(document.value):
            message = f"{what} is not executed by this version: {instead}"
            yield document.finding("not-executed", message, path, at_key=True, severity="warning")


def _without_effect(value: kinds.Kind) -> Iterator[tuple[Path, str, str]]:
    """Yield the place, the name and the consequence of each declaration that does nothing."""
    if value.kind in _KINDS:
        yield ("kind",), f"the kind `{value.kind}`", _KINDS[value.kind]
    if not isinstance(value, kinds.Policy):
        return
    for sort, consequence in _POLICIES.items():
        if getattr(value, sort) is not None:
            yield (sort,), f"the policy `{sort}`", consequence
    limit = value.limit
    if limit is None:
        return
    if "counts" in limit.model_fields_set and set(limit.counts) != {"reserved", "consumed"}:
        yield ("limit", "counts"), "`counts` of a limit", "reserved and consumed amounts both count"
    if isinstance(limit.currency, kinds.LimitCurrency):
        for key, default in (("rate", "spot"), ("at", "request_date")):
            if getattr(limit.currency, key) != default:
                consequence = "amounts are converted by the `rates` of the approval"
                yield ("limit", "currency", key), f"`{key}` of a limit", consequence
