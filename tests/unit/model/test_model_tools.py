"""Tools for authors of governance: editor schema, layout, starter folder, trying an expression."""

from __future__ import annotations

import json
import re
from decimal import Decimal
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from counterfoil.core.errors import Misconfigured
from counterfoil.core.money import Money
from counterfoil.model import read
from counterfoil.model.editor import json_schema
from counterfoil.model.explain import explain
from counterfoil.model.format import format_text
from counterfoil.model.kinds import KINDS
from counterfoil.model.read import write_new
from counterfoil.model.scaffold import init, starter, with_schema
from counterfoil.model.source import parse
from tests.companies.clean import COMPANY

LANGUAGE = sorted((Path(__file__).parent / "language").glob("*.yaml"))
TEXTS = [COMPANY, *(path.read_text(encoding="utf-8") for path in LANGUAGE)]

# ------------------------------------------------------------------ editors


@pytest.mark.parametrize("text", TEXTS)
def test_the_editor_schema_takes_every_good_document(text: str) -> None:
    validator = jsonschema_rs.Draft202012Validator(json_schema())
    for source in parse(text, "a.yaml")[0]:
        assert [error.message for error in validator.iter_errors(source.data)] == []


@pytest.mark.parametrize(
    "document",
    [
        {"kind": "role"},
        {"name": "x"},
        {"kind": "rule", "name": "x"},
        {"kind": "role", "name": "X"},
        {"kind": "role", "pattern": {"name": "y"}},
        {"kind": "role", "name": "x", "rights": []},
        {"kind": "object", "name": "x", "system": "y", "fields": {"a": "text"}},
        {
            "kind": "workflow",
            "name": "x",
            "failure": "y",
            "start": {"event": "z", "key": "k"},
            "steps": [{"go": 1}],
        },
    ],
)
def test_the_editor_schema_refuses_the_same_documents_as_reading(document: dict[str, object]) -> None:
    assert not jsonschema_rs.Draft202012Validator(json_schema()).is_valid(document)


def test_the_editor_schema_lets_a_pattern_stand_for_steps() -> None:
    steps = {"kind": "workflow", "name": "x", "failure": "y", "start": {"event": "z", "key": "k"}}
    validator = jsonschema_rs.Draft202012Validator(json_schema())
    assert validator.is_valid({**steps, "steps": [{"pattern": "pay", "with": {"amount": 1}}]})
    assert not validator.is_valid({**steps, "steps": [{"pattern": "pay", "when": "x"}]})


def test_the_editor_schema_knows_every_kind() -> None:
    assert json_schema()["properties"]["kind"]["enum"] == list(KINDS)


# ------------------------------------------------------------------ layout


@pytest.mark.parametrize("text", TEXTS)
def test_formatting_keeps_the_values_and_is_done_once(text: str) -> None:
    formatted = format_text(text)
    assert [s.data for s in parse(formatted, "")[0]] == [s.data for s in parse(text, "")[0]]
    assert format_text(formatted) == formatted


def test_formatting_keeps_comments_order_quotes_and_spelling() -> None:
    text = "# top\nz:   1.50   # the rate\nb:\n- x\n-   y: 0x1f\n    d: 2026-01-01\nq: 'yes'\n# end\n"
    assert format_text(text) == (
        "# top\nz: 1.50     # the rate\nb:\n  - x\n  - y: 0x1f\n    d: 2026-01-01\nq: 'yes'\n# end\n"
    )


def test_text_with_findings_is_left_alone() -> None:
    for text in ("a: [1\n", "a: *b\n", "a:\n", "a:   1\na:  2\n"):
        assert format_text(text) == text


# ------------------------------------------------------------------ the starter


def test_the_starter_folder_is_clean_compiles_and_is_formatted(tmp_path: Path) -> None:
    written = init(tmp_path / "new")
    model, findings = read(tmp_path / "new")
    assert [str(finding) for finding in findings] == []
    assert model.workflow("support-credit").foils
    texts = {path.name: path.read_text(encoding="utf-8") for path in written if path.suffix == ".yaml"}
    assert texts == {name: with_schema(text) for name, text in starter().items() if name.endswith(".yaml")}
    assert {name: format_text(text) for name, text in texts.items()} == texts


def test_every_document_of_the_starter_names_a_schema_that_is_there_and_fits(tmp_path: Path) -> None:
    for path in init(tmp_path / "new"):
        documents = re.split(r"^---\n", path.read_text(encoding="utf-8"), flags=re.MULTILINE)
        if path.suffix != ".yaml":
            continue
        for text in documents:
            line = re.match(r"# yaml-language-server: \$schema=(\S+)\n", text)
            assert line is not None
            schema = json.loads((path.parent / line[1]).read_text(encoding="utf-8"))
            (source,), _ = parse(text, path.name)
            assert list(jsonschema_rs.Draft202012Validator(schema).iter_errors(source.data)) == []


def test_the_line_of_the_schema_changes_no_digest(tmp_path: Path) -> None:
    init(tmp_path / "with")
    write_new(tmp_path / "without", starter())
    assert read(tmp_path / "with")[0].digest == read(tmp_path / "without")[0].digest


def test_the_starter_overwrites_nothing(tmp_path: Path) -> None:
    (tmp_path / "5-credit.yaml").write_text("mine")
    with pytest.raises(Misconfigured, match="exists already"):
        init(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["5-credit.yaml"]


# ------------------------------------------------------------------ trying an expression

SAMPLE = {"event": {"data": {"amount": {"minor": 1250, "currency": "USD"}, "rate": Decimal("0.2")}}}


def test_an_expression_is_run_on_a_sample() -> None:
    explanation = explain("=event.data.amount + event.data.amount", SAMPLE)
    assert explanation.value == Money(2500, "USD")
    assert explanation.reads == {"event.data.amount": Money(1250, "USD")}
    assert explanation.problem == ""
    assert explain("event.data.amount.minor * 2", SAMPLE).reads == {"event.data.amount.minor": 1250}


def test_an_explanation_without_value_has_a_reason() -> None:
    assert explain("event.data.missing + 1", SAMPLE).problem != ""
    assert explain("event.data.missing + 1", SAMPLE).reads == {"event.data.missing": None}


def test_a_look_up_is_named_not_answered() -> None:
    explanation = explain("table('gl', event.data.amount.currency)", SAMPLE)
    assert explanation.lookups == ("table",)
    assert explanation.problem == "the result needs the look-up table('gl', 'USD')"


def test_faulty_text_gives_its_findings() -> None:
    explanation = explain("a +")
    assert explanation.findings
    assert explanation.value is None


def test_without_a_sample_the_text_alone_is_explained() -> None:
    explanation = explain("size(a.b) > 1")
    assert (explanation.type, dict(explanation.reads)) == ("bool", {"a.b": None})


@pytest.mark.parametrize(("text", "value"), [("1 + 2", 3), ("'a' + 'b'", "ab"), ("size([1, 2]) > 1", True)])
def test_a_constant_needs_no_sample(text: str, value: object) -> None:
    assert explain(text).value == value


@pytest.mark.parametrize(
    ("text", "sample"), [("1 + ", None), ("1 / 0", None), ("a.b + 1", {"a": {}}), ("foo(1)", None)]
)
def test_a_fault_shows_column_and_text(text: str, sample: dict[str, Any] | None) -> None:
    problem = explain(text, sample).problem
    assert "(line 1, column " in problem
    assert text.strip() in problem
    assert "^" in problem
