"""A plan of every kind of change to Acme ends with its effect on recorded traffic, whatever the replay must assume.

The suite changes some documents of each kind; `CHANGED_DOCUMENTS=0`, as in `make campaign`, changes all of them.
"""

from __future__ import annotations

import asyncio
import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import pytest

from bench.impact import record_traffic
from counterfoil.core.errors import CounterfoilError
from counterfoil.core.money import Money
from counterfoil.model import Model
from counterfoil.model.checks import check
from counterfoil.model.definition import OperationDefinition
from counterfoil.replay.assumed_results import NOTHING, assumed_result
from counterfoil.replay.impact import impact
from counterfoil.store.port.recorded import RecordedDelivery
from tests.companies.recorded import acme

CUSTOMERS = 25
CHANGED_DOCUMENTS = int(os.environ.get("CHANGED_DOCUMENTS", "5"))
"""Documents of each kind, spread over all of it; 0 for all."""
KINDS = {"mapping", "operation", "policy", "reconciliation", "role", "system", "table", "workflow"}


@pytest.fixture(scope="module")
def traffic() -> Sequence[RecordedDelivery]:
    return asyncio.run(record_traffic(CUSTOMERS))


def with_other_numbers(value: Any) -> Any:
    """Return a part of a document in which each whole number above one is doubled, also in texts such as 4000 and 30s."""
    match value:
        case dict():
            return {k: v if k == "version" else with_other_numbers(v) for k, v in value.items()}
        case list() | tuple():
            return [with_other_numbers(part) for part in value]
        case int() if not isinstance(value, bool) and value > 1:
            return 2 * value
        case str() if (number := re.fullmatch(r"(\+?)([2-9]|[1-9]\d+)([smhd]?)", value)) is not None:
            return f"{number[1]}{2 * int(number[2])}{number[3]}"
    return value


def changed(documents: Sequence[dict[str, Any]]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the documents that are changed, with their places."""
    kinds = defaultdict(list)
    for n, document in enumerate(documents):
        kinds[document["kind"]].append((n, document))
    for rows in kinds.values():
        yield from rows[:: max(1, len(rows) // CHANGED_DOCUMENTS) if CHANGED_DOCUMENTS else 1]


def models() -> Iterator[tuple[str, Model]]:
    """Yield every model in which one document is changed or removed, as far as it passes check."""
    documents = list(acme().plain())
    for n, document in changed(documents):
        name = f"{document['kind']}/{document['name']}"
        without = documents[:n] + documents[n + 1 :]
        for what, rest in (("removed", without), ("changed", [*without, with_other_numbers(document)])):
            if len(rest) < len(documents) or rest[-1] != document:
                try:
                    model = Model.from_documents(rest)
                    findings = check(model)
                except CounterfoilError:
                    continue
                if all(finding.severity != "error" for finding in findings):
                    yield f"{name} {what}", model


@pytest.mark.timeout(1800)
def test_every_change_and_its_reverse_end_with_a_difference(traffic: Sequence[RecordedDelivery]) -> None:
    seen: Counter[str] = Counter()
    moved = 0
    for name, other in models():
        try:
            # The reverse of a removal is an addition.
            for old, new in ((acme(), other), (other, acme())):
                moved += bool(impact(old, new, traffic).counts.changed)
        except Exception as error:
            raise AssertionError(f"{name}: {error!r}") from error
        seen[name.partition("/")[0]] += 1
    assert seen.keys() >= KINDS, seen
    assert moved


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ({"amount": Money(5, "EUR"), "of": {"net": Money(3, "EUR")}}, Money(5, "EUR")),
        ({"lines": [{"net": Money(3, "JPY")}]}, Money(3, "JPY")),
        ({"customer": "C-1"}, NOTHING),
    ],
)
def test_an_assumed_amount_is_one_of_the_call_or_nothing(inputs: dict[str, Any], expected: Money) -> None:
    schema = {"required": ["booked"], "properties": {"booked": {"x-type": "money"}}}
    operation = cast("OperationDefinition", SimpleNamespace(name="erp.entry.post", output_schema=schema))
    assert assumed_result(operation, None, inputs, None, cast("Any", None)) == {"booked": expected}
