"""Look-ups of the Model: schemas of fields, systems of record, owners, and values covered by an approval."""

from __future__ import annotations

from pathlib import Path

import jsonschema_rs
import pytest

from counterfoil.model import Model, read
from counterfoil.model.checks import check
from counterfoil.model.fields import object_schema
from counterfoil.model.kinds import Object
from tests.companies.base import edited
from tests.companies.clean import COMPANY, findings_of
from tests.source import ROOT

FIELDS = {
    "id": "id",
    "count": "int",
    "rate": "decimal",
    "paid": "bool",
    "amount": "money",
    "due?": "date",
    "seen?": "timestamp",
    "tags": ["string"],
    "state": {"enum": ["open", "closed"]},
    "email?": {"type": "string", "pii": True},
    "lines": {"type": "list", "fields": {"net": "money", "note?": "string"}},
    "extra?": "any",
}
GOOD = {
    "id": "x",
    "count": 1,
    "rate": 0.5,
    "paid": True,
    "amount": {"minor": 1250, "currency": "USD"},
    "due": "2026-01-31",
    "seen": "2026-01-31T10:00:00Z",
    "tags": ["a"],
    "state": "open",
    "email": "a@example.com",
    "lines": [{"net": {"minor": 1, "currency": "EUR"}}],
    "extra": [1, {"a": None}],
}


def schema() -> dict[str, object]:
    fields = Object.model_validate({"name": "x", "system": "y", "fields": FIELDS}, strict=True).fields
    return object_schema(fields)


def test_fields_are_a_closed_schema_with_marks_for_types_that_json_lacks() -> None:
    fields_schema = schema()
    properties = fields_schema["properties"]
    assert isinstance(properties, dict)
    assert {n: p["x-type"] for n, p in properties.items() if "x-type" in p} == {
        "rate": "decimal",
        "amount": "money",
        "due": "date",
        "seen": "timestamp",
    }
    assert properties["email"]["x-pii"] is True
    assert fields_schema["required"] == ["id", "count", "rate", "paid", "amount", "tags", "state", "lines"]
    jsonschema_rs.Draft202012Validator(fields_schema, validate_formats=True).validate(GOOD)


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", ""),
        ("count", 1.5),
        ("paid", "yes"),
        ("amount", {"minor": 12.5, "currency": "USD"}),
        ("amount", {"minor": 1, "currency": "usd"}),
        ("amount", {"minor": 1, "currency": "USD", "more": 1}),
        ("due", "31.01.2026"),
        ("seen", "2026-01-31"),
        ("tags", [1]),
        ("state", "lost"),
        ("lines", [{"note": "x"}]),
        ("unknown", 1),
    ],
)
def test_a_value_that_does_not_fit_its_field_is_refused(field: str, value: object) -> None:
    validator = jsonschema_rs.Draft202012Validator(schema(), validate_formats=True)
    assert not validator.is_valid({**GOOD, field: value})


@pytest.fixture
def company(tmp_path: Path) -> Model:
    return findings_of(tmp_path, COMPANY)[0]


def test_a_field_belongs_to_its_own_system_else_to_the_objects(company: Model) -> None:
    assert company.system_of_record("credit", "note") == "ledger"
    assert company.system_of_record("credit", "total") == "bills"


def test_owners_are_inherited_from_the_system_or_object(company: Model) -> None:
    assert company.owners_of(company.mappings["bills-credit"]) == ["finance"]
    assert company.owners_of(company.reconciliations["credit"]) == ["finance"]
    assert company.workflow("credit").exception_owners == ("finance",)


def test_an_unknown_name_is_a_key_error(company: Model) -> None:
    with pytest.raises(KeyError):
        company.workflow("nothing")
    assert company.outbound("nothing") is None


FORWARD = """
---
{kind: object, name: chain, system: bills, fields: {next_id: id}}
---
kind: mapping
name: chained
from: {system: bills, type: chained}
let: {z: body.z, m: z + 1, a: m + z}
emit: {type: asked.v1, key: =a, data: {id: "=string(a)"}}
---
{kind: event, name: asked.v1, data: {id: string}}
---
kind: workflow
name: chained
owner: finance
failure: careful
start: {event: asked.v1, key: event.data.id}
facts:
  z: {head: chain, of: event.data.id}
  a: {head: chain, of: z.next_id}
let: {y: a.next_id, b: y + z.next_id}
steps:
  - check: b != ''
"""


def test_a_model_that_was_stored_binds_names_in_the_order_in_which_they_build_on_each_other(
    tmp_path: Path,
) -> None:
    written, _ = findings_of(tmp_path, COMPANY + FORWARD)
    stored = Model.from_json(written.to_json())
    assert stored.digest == written.digest
    for model in (written, stored):
        (mapping,) = model.inbound("bills", "chained")
        assert [name for name, _ in mapping.let] == ["z", "m", "a"]
        workflow = model.workflow("chained")
        assert [fact.name for fact in workflow.facts] == ["z", "a"]
        assert [name for name, _ in workflow.let] == ["y", "b"]


# ------------------------------------------------------------------ covers, beyond the planted mistakes

COVERS = "covers: [amount, event.data.customer_id]"
WITH = "with: {credit: =memo.id, amount: =amount, customer: =event.data.customer_id}"


@pytest.mark.parametrize(
    ("covers", "arguments", "reported"),
    [
        # the amount is a let: covering what it is computed from covers it
        ("covers: [event.data.amount, event.data.customer_id]", WITH, False),
        # everything below a covered path is covered
        ("covers: [event.data]", WITH, False),
        ("covers: [event.data.amount.minor, event.data.customer_id]", WITH, True),
        # a formula over covered values, and the covered formula itself
        (COVERS, WITH.replace("=amount", "=amount + amount"), False),
        ("covers: [amount, event.data.customer_id, who.terms]", WITH, False),
        # money never comes from a fact without approval; ids may come from one with recheck
        (COVERS, WITH.replace("=event.data.customer_id", "=who.id"), True),
        # results of guarded calls follow from what was approved, those before the approval do not
        (COVERS, WITH.replace("=event.data.customer_id", "=memo.id"), False),
        (COVERS, WITH.replace("=event.data.customer_id", "=terms.terms"), True),
        # constants and the run itself
        (COVERS, WITH.replace("=event.data.customer_id", "=run.id"), False),
        (COVERS, WITH.replace("=event.data.customer_id", "house-account"), False),
    ],
)
def test_a_guarded_call_takes_only_covered_values(
    tmp_path: Path, covers: str, arguments: str, reported: bool
) -> None:
    text = edited(COMPANY, (COVERS, covers), (WITH, arguments))
    _, findings = findings_of(tmp_path, text)
    assert {finding.rule for finding in findings} == ({"covers-incomplete"} if reported else set())


def test_an_id_may_come_from_a_fact_that_is_read_again_before_each_effect(tmp_path: Path) -> None:
    text = edited(COMPANY, (WITH, WITH.replace("=event.data.customer_id", "=who.id")))
    text = text.replace("of: event.data.customer_id}", "of: event.data.customer_id, recheck: each_effect}")
    _, findings = findings_of(tmp_path, text)
    assert findings == []


def test_the_stored_form_of_the_example_passes_check_as_its_folder_does() -> None:
    model, findings = read(ROOT / "examples" / "acme")
    assert [str(f) for f in findings] == []
    assert [str(f) for f in check(Model.from_json(model.to_json()))] == []
