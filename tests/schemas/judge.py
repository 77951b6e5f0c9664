"""Brute force: verdicts on a pair of schemas, held against every instance of a bounded set.

The validator and the instances come from outside the comparison. A report that breaks needs a witness: its example, or
an instance of the set. A report that decides for compatible must have none.
"""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, Literal, NamedTuple

import jsonschema_rs
import msgspec

from counterfoil.contracts import compare_json_schema
from counterfoil.contracts.report import Report
from tests.schemas.draws import NAMES, SchemaCase, places

VALIDATORS: dict[str, Any] = {
    "4": jsonschema_rs.Draft4Validator,
    "6": jsonschema_rs.Draft6Validator,
    "7": jsonschema_rs.Draft7Validator,
    "2019-09": jsonschema_rs.Draft201909Validator,
    "2020-12": jsonschema_rs.Draft202012Validator,
}
SCALARS: tuple[Any, ...] = (
    None, True, False, -2, -1, 0, 0.5, 1, 1.5, 2, 2.5, 3, 4, 6, "", "a", "b", "ab", "ba", "aa", "abc", "abab", "1", "x1", "A",
    "2024-02-29", "a@b.de", "urn:a", "1.2.3.4", "P1D", "/a", "(", "01234567-89ab-cdef-0123-456789abcdef", "no wrong: %\\",
)  # fmt: skip
ITEMS: tuple[Any, ...] = (0, 1, "a", None, {}, [0])
PARTS: tuple[Any, ...] = (0, "a", 1.5, {"a": 0}, [0])
MAX_LENGTH = 3
MAX_DRAWN = 60
Kind = Literal["breaking", "compatible", "undecided"]


def bounded_instances() -> list[Any]:
    """Return scalars, lists of up to three items, objects of up to three properties, and some of these nested."""
    instances: list[Any] = list(SCALARS)
    for length in range(MAX_LENGTH + 1):
        instances += [list(items) for items in itertools.product(ITEMS, repeat=length)]
    absent = object()
    for values in itertools.product((absent, *PARTS), repeat=len(NAMES)):
        instances.append({name: v for name, v in zip(NAMES, values, strict=True) if v is not absent})
    instances += [{"a": {"a": value, "b": other}} for value in PARTS for other in PARTS]
    instances += [[{"a": value}, {"b": other}] for value in PARTS for other in PARTS]
    instances += [{"c": value} for value in SCALARS]
    instances += [{"a": value} for value in SCALARS] + [[value] for value in SCALARS]
    return instances


INSTANCES = bounded_instances()


class Judgement(NamedTuple):
    """The verdict of the comparison, and the faults that brute force has with it."""

    verdict: Kind
    faults: list[str]
    has_witness: bool
    unproven: bool = False
    """True if it breaks without an example and the bounded set has no witness: neither right nor wrong by brute force."""


def judge(
    case: SchemaCase, *, seed: int = 0, compare: Callable[..., Report] = compare_json_schema
) -> Judgement | None:
    """Compare a pair and judge the report by brute force; None if the validator refuses one of the schemas."""
    try:
        old, new = (VALIDATORS[case.draft](schema, validate_formats=True) for schema in (case.old, case.new))
    except ValueError:
        return None

    def is_witness(value: Any) -> bool:
        was, is_now = old.is_valid(value), new.is_valid(value)
        return (was and not is_now and case.direction != "forward") or (
            is_now and not was and case.direction != "backward"
        )

    direction: Any = case.direction
    report = compare(case.old, case.new, direction)
    faults = [
        f"{change.rule} at {change.where}: the example {change.example!r} shows nothing"
        for change in report.changes
        if change.example is not msgspec.UNSET and not (change.breaking and is_witness(change.example))
    ]
    instances = itertools.chain(INSTANCES, drawn_instances(case, random.Random(seed)))
    witness = next((value for value in instances if is_witness(value)), msgspec.UNSET)
    has_witness = witness is not msgspec.UNSET
    if report.breaking:
        proved = has_witness or any(c.example is not msgspec.UNSET for c in report.changes if c.breaking)
        return Judgement("breaking", faults, has_witness, not proved)
    if report.undecided:
        return Judgement("undecided", faults, has_witness)
    if has_witness:
        faults.append(f"compatible, but {witness!r} is valid on one side only")
    return Judgement("compatible", faults, has_witness)


def drawn_instances(case: SchemaCase, chance: random.Random) -> Iterator[Any]:
    """Yield random instances near the values, bounds and names that the two schemas mention."""
    near: list[Any] = [0, 1, "a", "ab", None, {}, []]
    for node, _ in [*places(case.old), *places(case.new)]:
        for value in node.get("enum", ()):
            near.append(value)
        if "const" in node:
            near.append(node["const"])
        for word in ("minimum", "maximum", "multipleOf", "exclusiveMinimum", "exclusiveMaximum"):
            bound = node.get(word)
            if isinstance(bound, int | float) and not isinstance(bound, bool):
                near += [bound, bound + 1, bound - 1, bound + 0.5]
        near += ["a" * node[word] for word in ("minLength", "maxLength") if word in node]
    for _ in range(MAX_DRAWN):
        yield _instance(chance, near, 0)


def _instance(chance: random.Random, near: list[Any], depth: int) -> Any:
    kind = chance.random()
    if depth < 3 and kind < 0.35:
        names = chance.sample((*NAMES, "c", "b1"), chance.randint(0, 4))
        return {name: _instance(chance, near, depth + 1) for name in names}
    if depth < 3 and kind < 0.6:
        return [_instance(chance, near, depth + 1) for _ in range(chance.randint(0, 4))]
    return chance.choice(near)
