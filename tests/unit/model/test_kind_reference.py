"""Every key of a governance file is described, its page is generated, and the schemas say what `check` says."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from counterfoil.change.connector_checks import ConnectorChecks
from counterfoil.core.finding import errors
from counterfoil.model import read
from counterfoil.model.descriptions import description_of, parts
from counterfoil.model.document import build
from counterfoil.model.editor import ALL_KINDS_FILE, schema_files
from counterfoil.model.extends import extend
from counterfoil.model.kinds import KINDS
from counterfoil.model.source import Source, parse
from counterfoil.prove import proven
from tests.kind_pages import EXAMPLES, PAGES, main
from tests.source import ROOT

SCHEMAS = {name: json.loads(text) for name, text in schema_files().items()}
VALIDATORS = {name: jsonschema_rs.Draft202012Validator(schema) for name, schema in SCHEMAS.items()}
FILES = [
    *sorted((ROOT / "examples" / "acme").rglob("*.yaml")),
    *sorted(EXAMPLES.glob("*.yaml")),
    *sorted((ROOT / "src" / "counterfoil" / "model" / "starter").glob("*.yaml")),
]

# ------------------------------------------------------------------ descriptions and pages


@pytest.mark.parametrize("part", parts(), ids=lambda part: part.__name__)
def test_every_key_has_a_description(part: Any) -> None:
    described = {field: description_of(part, field) for field in part.model_fields}
    assert [field for field, text in described.items() if not text.endswith((".", "`"))] == []
    assert part.__doc__


def test_the_committed_pages_are_what_the_generator_writes(tmp_path: Path) -> None:
    main(tmp_path)
    written = {path.name: path.read_text("utf-8") for path in tmp_path.iterdir()}
    assert {path.name: path.read_text("utf-8") for path in PAGES.iterdir()} == written


def test_the_page_of_a_kind_has_every_key_of_its_documents() -> None:
    for kind, model in KINDS.items():
        text = (PAGES / f"{kind}.md").read_text("utf-8")
        for field, info in model.model_fields.items():
            assert f"| `{info.alias or field}` |" in text


def test_the_examples_pass_check_and_are_proven() -> None:
    model, findings = read(EXAMPLES, also=ConnectorChecks(EXAMPLES))
    assert [f for f in findings if f.rule != "not-executed"] == []
    assert errors(list(proven(model, 1))) == []


def test_the_examples_show_every_kind_and_every_policy() -> None:
    model, _ = read(EXAMPLES)
    assert {document.kind for document in model.documents} >= set(KINDS) - {"pattern", "overlay"}
    sorts = set(KINDS["policy"].model_fields) - set(KINDS["role"].model_fields)
    assert {sort for policy in model.policies.values() for sort in sorts if getattr(policy, sort)} == sorts


# ------------------------------------------------------------------ schemas


def documents() -> Iterator[tuple[str, Source]]:
    for path in FILES:
        for source in parse(path.read_text("utf-8"), path.name)[0]:
            yield path.name, source


def form_rules(data: Any) -> set[str]:
    """Return the rules of form that a document breaks, with what the canonical library gives it."""
    source = Source("wrong", copy.deepcopy(data))
    findings = extend([source])
    return {finding.rule for finding in ([] if source.lost else build(source)[1]) + findings}


def test_the_schemas_are_valid_ones() -> None:
    assert set(SCHEMAS) == {ALL_KINDS_FILE, *(f"{kind}.schema.json" for kind in KINDS)}
    for schema in SCHEMAS.values():
        jsonschema_rs.meta.validate(schema)


@pytest.mark.parametrize("path", FILES, ids=lambda path: f"{path.parent.name}/{path.name}")
def test_the_schemas_accept_every_good_file(path: Path) -> None:
    sources, _ = parse(path.read_text("utf-8"), path.name)
    assert sources
    for source in sources:
        for name in (ALL_KINDS_FILE, f"{source.data['kind']}.schema.json"):
            assert [error.message for error in VALIDATORS[name].iter_errors(source.data)] == []


def mappings(value: Any) -> Iterator[dict[str, Any]]:
    """Yield every mapping of a document, from the outside in."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from mappings(part)


def is_refused(kind: str, data: Any) -> bool:
    verdicts = {VALIDATORS[name].is_valid(data) for name in (ALL_KINDS_FILE, f"{kind}.schema.json")}
    assert len(verdicts) == 1
    return verdicts == {False}


def test_a_misspelt_key_and_a_missing_key_are_refused_wherever_check_refuses_them() -> None:
    """Rename and remove each key of each mapping of the examples. The schemas refuse what reading reports as such."""
    judged = 0
    for _, source in documents():
        kind = source.data["kind"]
        if kind == "pattern" or "pattern" in source.data:
            continue
        for place, mapping in enumerate(mappings(source.data)):
            for key in mapping:
                for new in (f"{key}x" if isinstance(key, str) else None, None):
                    wrong = copy.deepcopy(source.data)
                    inner = list(mappings(wrong))[place]
                    value = inner.pop(key)
                    if new is not None:
                        inner[new] = value
                    rules = form_rules(wrong)
                    if rules & {"unknown-key", "missing-key", "unknown-kind", "failure-incomplete"}:
                        judged += 1
                        assert is_refused(kind, wrong), (source.data["name"], key, new, rules)
                    if rules == {"unknown-key"}:
                        said = [
                            error.message for error in VALIDATORS[f"{kind}.schema.json"].iter_errors(wrong)
                        ]
                        assert any(f"'{new}'" in text for text in said), (source.data["name"], new, said)
                        assert not any("not valid under any" in text for text in said), (new, said)
    assert judged > 1000


STEPS = [
    ({"cal": "billing.credit.issue"}, "cal"),
    ({"call": "billing.credit.issue", "wiht": {}}, "wiht"),
    ({"call": "billing.credit.issue", "approve": "credit"}, "approve"),
    ({"id": "first", "aprove": "credit", "covers": []}, "aprove"),
    ({"check": "true", "outcomes": {"failed": {"stp": "refused"}}}, "stp"),
    ({"check": "true", "outcomes": {"failed": [{"stop": "refused", "wehn": "true"}]}}, "wehn"),
    ({"choose": [{"when": "true", "then": [{"emti": "x"}]}]}, "emti"),
    ({"each": "event.data.lines", "as": "line", "do": [{"cal": "x"}]}, "cal"),
    ({"wait": {"foils": "all", "untl": "+2d"}}, "untl"),
    ({"pattern": "p", "wiht": {}}, "wiht"),
]


@pytest.mark.parametrize(("step", "key"), STEPS)
@pytest.mark.parametrize("name", [ALL_KINDS_FILE, "workflow.schema.json"])
def test_the_error_of_a_wrong_step_names_its_key(name: str, step: dict[str, Any], key: str) -> None:
    start = {"event": "credit.requested.v1", "key": "event.data.id"}
    workflow = {
        "kind": "workflow",
        "name": "w",
        "owner": "o",
        "failure": "f",
        "start": start,
        "steps": [step],
    }
    said = [error.message for error in VALIDATORS[name].iter_errors(workflow)]
    assert [f"'{key}'" in text for text in said] == [True], said


@pytest.mark.parametrize(
    ("kind", "change"),
    [
        ("operation", {"repeat": "keys"}),
        ("operation", {"executor": "nobody"}),
        ("system", {"role": "shop"}),
        ("system", {"secrets": {"token": "hunter2"}}),
        ("system", {"caps": {"concurrency": 0}}),
        ("event", {"data": {"Amount": "money"}}),
        ("event", {"data": {"amount": "Money"}}),
        ("workflow", {"lane": "fast"}),
        ("workflow", {"deadline": "3 days"}),
        ("workflow", {"steps": ["retry-later"]}),
        ("workflow", {"owner": None}),
        ("reconciliation", {"shape": "1:2"}),
        ("reconciliation", {"legs": {"gross": {"kind": "total"}}}),
        ("policy", {"posting_date": {"rule": "last_open"}}),
        ("control", {"frequency": "hourly"}),
        ("role", {"may": ["everything"]}),
        ("overlay", {"changes": []}),
        ("calendar", {"kind": "diary"}),
    ],
)
def test_a_wrong_value_is_refused_by_schema_and_by_reading(kind: str, change: dict[str, Any]) -> None:
    source = next(source for _, source in documents() if source.data["kind"] == kind)
    assert not is_refused(kind, source.data)
    wrong = {**source.data, **change}
    assert build(Source("wrong", wrong))[1] != []
    assert is_refused(kind, wrong)


@pytest.mark.parametrize("value", ["event.data.total.minor > 0", "=true", True, 1])
def test_a_formula_may_be_what_yaml_reads_as_a_bool_or_a_number(value: Any) -> None:
    data = {"kind": "alert", "name": "x", "when": value, "to": ["finance"]}
    assert build(Source("alert", data))[1] == []
    assert not is_refused("alert", data)
