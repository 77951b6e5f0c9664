"""Every key of a governance document is read by the code that executes it, or `check` says that nothing executes it."""

from __future__ import annotations

import ast
import inspect
import json
import subprocess
import sys
import typing
from pathlib import Path

import pytest
from pydantic import BaseModel

from counterfoil.model import kinds
from counterfoil.model.checks import execution
from counterfoil.model.compile.policy import FAILURE_OUTCOMES
from counterfoil.model.descriptions import description_of, parts
from tests.source import ROOT

pytestmark = pytest.mark.xdist_group("every-key")  # one worker analyses the source once
ENGINE = ROOT / "src" / "counterfoil"
MODEL = ENGINE / "model"
CHECKS = MODEL / "checks"
NO_EXECUTION = (MODEL / "weakening.py", CHECKS)
"""Places that compare and check declarations, and execute none."""
CHECKED = {
    "System.stamps": "tells `check` which versions have no order",
    "Control.enforced_by": "`check` compares it with the documents",
    "Enforced.workflow": "`check` compares it with the documents",
    "Enforced.step": "`check` compares it with the documents",
    "Enforced.policy": "`check` compares it with the documents",
    "Enforced.reconciliation": "`check` compares it with the documents",
    "Enforced.operation": "`check` compares it with the documents",
    "Enforced.check": "`check` compares it with its rules",
    "Test.covers": "`check` compares it with the documents",
    "Mapping.loses": "`check` compares it with the fields that a cast drops",
}
"""Keys whose only effect is a check."""
SHORT_FORMS: dict[type[BaseModel], type[BaseModel]] = {
    kinds.FoilRule: kinds.AssertRule,
    kinds.ObserveRule: kinds.DocumentRule,
}
"""Parts that become another part with the same keys as a whole."""
EXPECTED = [part for part in parts() if part.__name__.startswith("Expected")]
READ_BY_NAME = (
    {f"Failure.{outcome}" for outcome in FAILURE_OUTCOMES}
    | {f"{part.__name__}.{key}" for part in EXPECTED for key in part.model_fields}
    | {f"{kind.__name__}.extends" for kind in (kinds.Object, kinds.Event, kinds.Operation)}
)
"""Keys that code reads by their names: the compiler, the comparison of a test with its records, and the merge of a document
with the canonical library."""


def defined(part: type[BaseModel], key: str) -> str:
    """Return `Class.key` of the class that defines a key."""
    owner = next(base for base in part.__mro__ if key in inspect.get_annotations(base))
    return f"{owner.__name__}.{key}"


KEYS = sorted(
    {defined(part, key) for part in parts() for key in part.model_fields if part not in SHORT_FORMS}
)


class Properties:
    """Functions of the classes of the kinds. A read in a property counts if the property itself is read."""

    def __init__(self) -> None:
        self._functions: dict[str, list[tuple[range, str]]] = {}
        for path in sorted((MODEL / "kinds").glob("*.py")):
            for node in ast.walk(ast.parse(path.read_text("utf-8"))):
                for function in node.body if isinstance(node, ast.ClassDef) else ():
                    if isinstance(function, ast.FunctionDef):
                        lines = range(function.lineno, (function.end_lineno or 0) + 1)
                        self._functions.setdefault(str(path), []).append(
                            (lines, f"{node.name}.{function.name}")
                        )

    def around(self, path: str, line: int) -> str | None:
        return next((name for lines, name in self._functions.get(path, ()) if line in lines), None)


@pytest.fixture(scope="module")
def executed() -> set[str]:
    """Return the keys that something other than a check reads."""
    output = subprocess.run(
        [sys.executable, "-m", "tests.key_reads"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    reads: dict[str, list[tuple[str, int]]] = json.loads(output)
    properties, own = Properties(), str(MODEL / "kinds")

    def is_read(key: str, seen: frozenset[str] = frozenset()) -> bool:
        for path, line in reads.get(key, ()):
            if any(Path(path).is_relative_to(place) for place in NO_EXECUTION):
                continue
            if not path.startswith(own):
                return True
            reader = properties.around(path, line)
            if reader is not None and reader not in seen and is_read(reader, seen | {key}):
                return True
        return False

    return {key for key in KEYS if is_read(key)} | READ_BY_NAME


def not_executed() -> set[str]:
    """Return the keys of which `check` says that nothing executes them, with all keys below them."""
    keys = {f"{part.__name__}.{key}" for part, key in (*execution.KEYS, *execution.VALUES)}
    below = [kinds.KINDS[kind] for kind in execution.KINDS]
    for part, key in execution.KEYS:
        below += [t for t in typing.get_args(part.model_fields[key].annotation) if isinstance(t, type)]
    for model in below:
        if issubclass(model, kinds.Part):
            keys |= {defined(model, key) for key in model.model_fields if key not in kinds.Kind.model_fields}
    return keys


def has_one_value(key: str) -> bool:
    """Report whether a key can only say what happens without it, as `kind` and `hold: effects`."""
    part = next(part for part in parts() if part.__name__ == key.partition(".")[0])
    annotation = part.model_fields[key.partition(".")[2]].annotation
    return typing.get_origin(annotation) is typing.Literal and len(typing.get_args(annotation)) == 1


def is_for_readers(key: str) -> bool:
    name, _, field = key.partition(".")
    part = next(part for part in (*parts(), kinds.Kind) if part.__name__ == name)
    return description_of(part, field).endswith("for readers; it changes nothing.")


def test_every_key_has_an_effect_or_a_warning(executed: set[str]) -> None:
    unread = {key for key in KEYS if key not in executed and not is_for_readers(key)}
    unread = {key for key in unread if key.split(".")[0] == "Kind" or not has_one_value(key)}
    assert unread - not_executed() - set(CHECKED) - {"Kind.kind"} == set()


def test_no_warning_is_about_a_key_that_is_executed(executed: set[str]) -> None:
    named = {f"{part.__name__}.{key}" for part, key in (*execution.KEYS, *execution.VALUES)}
    assert named <= set(KEYS)
    assert named & executed == set()
    assert set(CHECKED) & executed == set()
    assert set(CHECKED) <= set(KEYS)


def test_the_keys_of_a_short_form_are_those_of_the_long_one(executed: set[str]) -> None:
    for short, long in SHORT_FORMS.items():
        keys = {defined(long, key) for key in short.model_fields}
        assert keys <= executed


def test_the_analysis_tells_keys_of_one_name_apart(executed: set[str]) -> None:
    """`Retention.receipts` is no key that is read, although other classes have `receipts` that are."""
    assert "Retention.receipts" not in executed
    assert {"Metered.past", "Deprecated.since", "Check.check", "Start.key"} <= executed
