"""`extends`: a folder takes over fields of the canonical library, adds to them, and cannot contradict them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from counterfoil.canon.library import library
from counterfoil.core.finding import Finding
from counterfoil.model import Model, extends, read
from counterfoil.model.fields import object_schema
from counterfoil.model.source import parse
from tests.companies.base import write
from tests.companies.clean import COMPANY

SYSTEMS = """\
{kind: role, name: finance}
---
{kind: system, name: billing, role: billing, connector: external, owner: finance}
---
{kind: system, name: erp, role: erp, connector: external, owner: finance}
---
"""


def folder(tmp_path: Path, document: str) -> tuple[Model, list[Finding]]:
    return read(write(tmp_path, SYSTEMS + document))


def only(tmp_path: Path, document: str) -> tuple[str, str, str, str]:
    """Return rule, message, fix and the text of the line of the one finding."""
    _, findings = folder(tmp_path, document)
    (finding,) = findings
    line = Path(finding.file).read_text("utf-8").splitlines()[finding.line - 1]
    return finding.rule, finding.message, finding.fix, line.strip()


def invoice(*fields: str, extends: str = "invoice@1") -> str:
    lines = "".join(f"  {field}\n" for field in fields)
    return f"kind: object\nname: invoice\nextends: {extends}\nsystem: billing\n" + (
        f"fields:\n{lines}" if fields else ""
    )


def fields_of(model: Model) -> dict[str, Any]:
    data: dict[str, Any] = next(d.data for d in model.documents if d.name == "invoice")
    return data["fields"]  # type: ignore[no-any-return]


# ------------------------------------------------------------------ what is taken over


def test_an_object_without_fields_has_those_of_the_library(tmp_path: Path) -> None:
    model, findings = folder(tmp_path, invoice())
    canonical = library().document("object", "invoice@1")
    assert canonical is not None
    assert findings == []
    assert fields_of(model) == canonical.parts["fields"]
    assert model.objects["invoice"].doc == canonical.doc
    assert {"id", "recorded_at"} & set(fields_of(model)) == set()


def test_a_document_adds_fields_and_states_others_again(tmp_path: Path) -> None:
    model, findings = folder(
        tmp_path,
        invoice(
            "number: string",
            "status: {enum: [open, paid], final: [paid]}",
            "erp_number?: {type: string, system: erp}",
            "due_date?: {type: date, pii: true, doc: Ours.}",
            "region: string",
        ),
    )
    assert findings == []
    fields = fields_of(model)
    assert {"number", "status", "region", "net"} <= set(fields)
    assert not {"number?", "status?"} & set(fields)
    assert fields["number"] == {"type": "string", "doc": "Legal number; a draft has none."}
    assert fields["status"]["enum"] == ["open", "paid"]
    assert fields["status"]["final"] == ["paid"]
    assert fields["due_date?"] == {"type": "date", "pii": True, "doc": "Ours."}
    assert model.system_of_record("invoice", "erp_number") == "erp"
    assert model.system_of_record("invoice", "erp_state") == "billing"


def test_fields_inside_a_list_are_merged_too(tmp_path: Path) -> None:
    model, findings = folder(
        tmp_path,
        "kind: event\nname: invoice.finalized.v1\nextends: invoice.finalized@1\nproduced: http\n"
        "data:\n  lines: {type: list, fields: {quantity: decimal, cost_centre?: string}}\n",
    )
    schema = model.schema_of_event("invoice.finalized.v1")["properties"]["lines"]["items"]
    assert set(schema["required"]) == {"description", "product", "net", "quantity"}
    assert {"cost_centre", "product_id"} <= set(schema["properties"])
    assert findings == []


def test_an_operation_takes_over_input_output_and_the_sign_of_its_amounts(tmp_path: Path) -> None:
    model, _ = folder(
        tmp_path,
        "kind: operation\nname: erp.credit.apply\nextends: erp.credit.apply@1\nsystem: erp\nrepeat: find\n"
        "irreversible: a debit memo restores the receivable\ninput: {note?: string}\n",
    )
    operation = model.operations["erp.credit.apply"]
    assert set(operation.input) == {"credit_id", "invoice_id", "amount", "note?"}
    assert set(operation.output) == {"entry", "applied", "open"}
    assert operation.negative is False


def test_the_same_document_in_full_means_the_same(tmp_path: Path) -> None:
    short, _ = folder(tmp_path / "short", invoice("number: string"))
    data = next(d.data for d in short.documents if d.name == "invoice")
    full = Model.from_documents([{key: part for key, part in data.items() if key != "extends"}])
    assert object_schema(full.objects["invoice"].fields) == object_schema(short.objects["invoice"].fields)


def test_a_stored_model_needs_no_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, _ = folder(tmp_path, invoice("number: string"))
    monkeypatch.setattr(extends, "library", None)
    assert Model.from_json(model.to_json()).digest == model.digest


def test_two_folders_share_nothing_with_the_library(tmp_path: Path) -> None:
    for place in ("first", "second"):
        model, _ = folder(tmp_path / place, invoice())
        fields_of(model)["due_date?"] = "string"
        assert fields_of(model)["fx?"]["fields"].pop("rate")
    canonical = library().document("object", "invoice@1")
    assert canonical is not None
    assert "rate" in canonical.parts["fields"]["fx?"]["fields"]


def test_a_folder_without_extends_is_read_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(extends, "library", None)
    sources, _ = parse(COMPANY, "company.yaml")
    written, _ = parse(COMPANY, "company.yaml")
    assert extends.extend(sources) == []
    assert [source.data for source in sources] == [source.data for source in written]
    assert all(not source.grafts for source in sources)


def test_a_pattern_may_extend_the_library(tmp_path: Path) -> None:
    model, findings = folder(
        tmp_path,
        "kind: pattern\nname: document\nparameters: {canonical: the canonical object}\n"
        'body: {kind: object, system: billing, extends: "${canonical}"}\n'
        "---\n"
        "{kind: object, name: invoice, pattern: {name: document, with: {canonical: invoice@1}}}\n"
        "---\n"
        "{kind: object, name: credit, pattern: {name: document, with: {canonical: credit@1}}}\n",
    )
    assert findings == []
    assert "due_date?" in model.objects["invoice"].fields
    assert "ticket_id?" in model.objects["credit"].fields


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("written", "message", "fix"),
    [
        ("invoic@1", "the canonical library has no object `invoic@1`", "did you mean `invoice@1`?"),
        ("invoice@7", "the canonical object `invoice` has no version 7", "use one of: invoice@1"),
        ("invoice", "the canonical object `invoice` is named with its version", "use one of: invoice@1"),
        ("zebra@1", "the canonical library has no object `zebra@1`", "run `counterfoil canon list`"),
        ("ticket.changed@1", "the canonical library has no object `ticket.changed@1`", ""),
        ("7", "the canonical library has no object `7`", "run `counterfoil canon list`"),
        ("[invoice@1]", "the canonical library has no object `['invoice@1']`", ""),
    ],
)
def test_an_unknown_document_of_the_library(tmp_path: Path, written: str, message: str, fix: str) -> None:
    rule, said, advice, line = only(tmp_path, invoice(extends=written))
    assert (rule, said) == ("extends", message)
    assert fix in advice
    assert line == f"extends: {written}"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("total: decimal", "`total` has the type money in invoice@1, not decimal"),
        ("due_date?: timestamp", "`due_date` has the type date in invoice@1, not timestamp"),
        ("due_date?: [date]", "`due_date` has the type date in invoice@1, not list"),
        ("customer_id: string", "`customer_id` has the type id in invoice@1, not string"),
        ("total?: money", "`total` is required by invoice@1 and cannot be optional"),
        ("id: int", "`id` has the type id in invoice@1, not int"),
        ("id?: id", "`id` is required by invoice@1 and cannot be optional"),
        ("version: string", "`version` has the type any in invoice@1, not string"),
        ("effective_at: string", "`effective_at` has the type timestamp in invoice@1, not string"),
        ("recorded_at: date", "`recorded_at` has the type timestamp in invoice@1, not date"),
        ("legal_entity: [string]", "`legal_entity` has the type string in invoice@1, not list"),
        ("fx?: {fields: {rate: string}}", "`rate` has the type decimal in invoice@1, not string"),
        ("fx?: {fields: {rate?: decimal}}", "`rate` is required by invoice@1 and cannot be optional"),
    ],
)
def test_a_field_that_contradicts_the_library(tmp_path: Path, field: str, message: str) -> None:
    rule, said, advice, line = only(tmp_path, invoice(field))
    assert (rule, said) == ("extends", message)
    assert advice
    assert line == field


def test_a_column_that_is_stated_again_as_it_is_stays(tmp_path: Path) -> None:
    model, findings = folder(tmp_path, invoice("legal_entity: string"))
    assert findings == []
    assert "legal_entity" in fields_of(model)
    assert {"id", "version", "effective_at"} & set(fields_of(model)) == set()


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("treatment?: {enum: [compensation, gift]}", "`gift` is no value of `treatment` in credit@1"),
        ("treatment?: {enum: [compensation]}", ""),
        ("treatment?: string", ""),
    ],
)
def test_the_values_of_a_closed_field_may_be_fewer(tmp_path: Path, field: str, message: str) -> None:
    document = f"kind: object\nname: credit\nextends: credit@1\nsystem: billing\nfields:\n  {field}\n"
    model, findings = folder(tmp_path, document)
    assert [finding.message for finding in findings] == ([message] if message else [])
    values = model.schema_of_object("credit")["properties"]["treatment"]["enum"]
    assert values == (
        ["compensation"]
        if field.endswith("[compensation]}")
        else ["compensation", "gift"]
        if message
        else ["price_reduction", "compensation", "refund_of_consideration"]
    )


def test_personal_data_stays_personal(tmp_path: Path) -> None:
    document = (
        "kind: object\nname: customer\nextends: customer@1\nsystem: billing\nfields:\n"
        "  email: {type: string, pii: false}\n"
    )
    assert only(tmp_path, document)[:2] == ("extends", "`email` is personal data in customer@1")


def test_a_field_of_wrong_form_is_reported_as_elsewhere(tmp_path: Path) -> None:
    rule, message, _, line = only(tmp_path, invoice("total: mony"))
    assert (rule, line) == ("wrong-value", "total: mony")
    assert "expected a type" in message


def test_a_field_that_was_taken_over_is_at_the_line_of_extends() -> None:
    (source,), _ = parse(invoice("number: string"), "invoice.yaml")
    assert extends.extend([source]) == []
    lines = {name: source.place(("fields", name))[1].line for name in ("due_date?", "number")}
    assert lines == {"due_date?": 3, "number": 6}


def test_extends_of_another_kind_is_an_unknown_key(tmp_path: Path) -> None:
    rule, message, *_ = only(tmp_path, "kind: role\nname: clerk\nextends: customer@1\n")
    assert (rule, message) == ("unknown-key", "unknown key `extends`")


def test_an_overlay_cannot_change_it(tmp_path: Path) -> None:
    overlay = (
        "---\nkind: overlay\nname: test\nof: {environment: test}\nchanges:\n"
        "  - {kind: object, name: invoice, set: {extends: credit@1}}\n"
    )
    _, findings = folder(tmp_path, invoice() + overlay)
    assert "an overlay cannot change the extends of a document" in {f.message for f in findings}


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("total: decimal", "`total` has the type money in invoice@1, not decimal"),
        ("id: int", "`id` has the type id in invoice@1, not int"),
        ("note: string", ""),
        ("total: {type: money, doc: Ours.}", ""),
    ],
)
def test_an_overlay_cannot_contradict_the_library(tmp_path: Path, field: str, message: str) -> None:
    overlay = (
        "---\nkind: overlay\nname: test\nof: {environment: test}\nchanges:\n"
        f"  - kind: object\n    name: invoice\n    set:\n      fields:\n        {field}\n"
    )
    if message:
        rule, said, _, line = only(tmp_path, invoice() + overlay)
        assert (rule, said, line) == ("extends", message, field)
    else:
        assert folder(tmp_path, invoice() + overlay)[1] == []


def test_personal_data_stays_personal_in_an_overlay(tmp_path: Path) -> None:
    text = SYSTEMS + (
        "{kind: object, name: customer, extends: customer@1, system: billing}\n"
        "---\n{kind: overlay, name: test, of: {environment: test}, changes: "
        "[{kind: object, name: customer, set: {fields: {email?: string}}}]}\n"
    )
    model, findings = read(write(tmp_path, text), environment="test")
    assert findings == []
    assert model.schema_of_object("customer")["properties"]["email"]["x-pii"] is True
