"""The canonical library: complete, linted, in the form of governance files, and never changed once published."""

from __future__ import annotations

import json
import re
import shutil
import zipfile
from pathlib import Path
from typing import Any

import jsonschema_rs
import pytest

from counterfoil.canon.library import PARTS, CanonicalDocument, CanonicalLibrary, library, read_library
from counterfoil.contracts.lint import lint
from counterfoil.json_or_yaml import parse
from counterfoil.model import Model
from counterfoil.model.canonical import canonical_schema, canonical_text
from counterfoil.model.scope import head_type
from counterfoil.model.source import parse as parse_governance
from tests.companies.base import acme_model
from tests.source import ROOT

CANON = ROOT / "src" / "counterfoil" / "canon"
LOCK: dict[str, str] = json.loads((CANON / "published.json").read_text("utf-8"))
DOCUMENTS = library().documents
OBJECTS = re.findall(
    r"\w+",
    """
    legal_entity period customer party_role product price rate_card quote order contract obligation subscription
    renewal_group entitlement meter usage_window invoice line tax_line credit debit_memo allocation payment refund dispute
    payout bank_line customer_balance balance_draw balance_adjustment dunning ticket incident revenue_schedule accrual journal
    write_off
""",
)
PAPERS = re.findall(
    r"\w+",
    """
    quote order invoice credit debit_memo allocation payment refund dispute payout bank_line revenue_schedule accrual
    journal write_off
""",
)
"""Objects that are documents of the books."""
DOCUMENT_FIELDS = {
    "currency", "fx", "document_date", "posting_date", "revenue_date", "reverses", "replaces",
}  # fmt: skip


def every(document: CanonicalDocument) -> Any:
    return pytest.param(document, id=f"{document.kind}-{document.reference}")


each = pytest.mark.parametrize("document", [every(document) for document in DOCUMENTS])


def key_of(document: CanonicalDocument) -> str:
    return f"{document.kind} {document.reference}"


def names(fields: dict[str, Any]) -> set[str]:
    return {name.removesuffix("?") for name in fields}


# ------------------------------------------------------------------ content


def test_every_object_of_order_to_cash_is_there() -> None:
    assert {document.name for document in DOCUMENTS if document.kind == "object"} == set(OBJECTS)


def test_every_object_has_what_all_have_and_a_document_what_documents_have() -> None:
    for document in (document for document in DOCUMENTS if document.kind == "object"):
        fields = names(document.parts["fields"])
        assert names(document.columns) == {"id", "legal_entity", "version", "effective_at", "recorded_at"}
        assert "source_version" in fields
        assert fields & {"status", "state"}
        assert (fields >= DOCUMENT_FIELDS) == (document.name in PAPERS)


def test_the_columns_are_what_the_store_keeps() -> None:
    """A folder never declares a column, so each head has it by itself. The legal entity is in the envelope."""
    folder = "kind: object\nname: thing\nsystem: billing\nfields: {a: int}\n"
    (source,), _ = parse_governance(folder, "thing.yaml")
    kept = set(head_type(Model.from_documents([source.data]), "thing")["properties"]) - {"a"}
    assert kept | {"legal_entity"} == names(DOCUMENTS[0].columns)


@each
def test_a_final_state_is_a_usual_value(document: CanonicalDocument) -> None:
    for spec in document.parts.get("fields", {}).values():
        if isinstance(spec, dict) and "final" in spec:
            assert set(spec["final"]) <= set(document.states)


@each
def test_an_id_says_whose_it_is(document: CanonicalDocument) -> None:
    """The name of an id ends with the name of an object; other references are text."""
    for fields in document.parts.values():
        for name, spec in fields.items():
            word = spec["type"] if isinstance(spec, dict) and "type" in spec else spec
            if word in ("id", "[id]"):
                assert re.search(rf"(^|_)({'|'.join(OBJECTS)})_ids?$", name.removesuffix("?")), name


@each
def test_a_document_is_a_contract_without_a_finding(document: CanonicalDocument) -> None:
    name = f"{document.name}.v{document.version}" if document.kind == "event" else document.name
    governed = {"kind": document.kind, "name": name, "doc": document.doc, **document.parts}
    assert lint(governed) == []
    schema = canonical_schema(document)
    jsonschema_rs.meta.validate(schema)
    assert lint(schema) == []
    assert document.doc.endswith(".")


def test_money_dates_and_personal_data_are_marked() -> None:
    customer, invoice = (library().document("object", name) for name in ("customer@1", "invoice@1"))
    assert customer is not None
    assert invoice is not None
    assert canonical_schema(customer)["properties"]["email"]["x-pii"] is True
    assert canonical_schema(invoice)["properties"]["total"]["x-type"] == "money"
    assert canonical_schema(invoice)["properties"]["due_date"]["x-type"] == "date"
    assert canonical_schema(invoice)["properties"]["recorded_at"]["x-type"] == "timestamp"


@each
def test_the_text_of_a_document_reads_as_a_governance_file(document: CanonicalDocument) -> None:
    (source,), findings = parse_governance(canonical_text(document), "canon.yaml")
    assert findings == []
    assert {part: source.data[part] for part in document.parts} == dict(document.parts)


def test_names_are_unique_over_kinds() -> None:
    kinds: dict[str, set[str]] = {}
    for document in DOCUMENTS:
        kinds.setdefault(document.name, set()).add(document.kind)
    assert [name for name, of in kinds.items() if len(of) > 1] == []


KEYS = {
    "objects": {"base", "states", "fields"},
    "events": {"object", "takes", "data"},
    "operations": {"negative", "input", "output"},
}


def test_the_files_have_known_keys_and_each_version_once() -> None:
    """An unknown key would be ignored."""
    entries = [
        (folder, entry)
        for folder in KEYS
        for path in (CANON / folder).iterdir()
        for entry in parse(path.read_bytes())
    ]
    for folder, entry in entries:
        assert {"name", "version", "doc"} <= entry.keys() <= KEYS[folder] | {"name", "version", "doc"}
        assert set(entry.get("states", {})) <= {"field", "values", "final"}
    references = {(folder, entry["name"], entry["version"]) for folder, entry in entries}
    assert len(references) == len(entries) == len(DOCUMENTS)


# ------------------------------------------------------------------ versions


def changes(found: CanonicalLibrary) -> list[str]:
    """What the lock says about a library, with what to do."""
    digests = {key_of(document): document.digest for document in found.documents}
    said = []
    for key, digest in LOCK.items():
        if digests.get(key) != digest:
            name, _, version = key.partition("@")
            said.append(f"{key} is published: restore it, and add {name}@{int(version) + 1} with the change")
    new = {key: digest for key, digest in digests.items() if key not in LOCK}
    said += [f'{key} is new: add "{key}": "{digest}" to published.json' for key, digest in new.items()]
    return said


def test_a_published_version_never_changes() -> None:
    assert changes(library()) == []


@pytest.mark.parametrize(
    ("file", "old", "new", "changed"),
    [
        ("objects/invoice.yaml", "due_date?: date", "due_date: date", ["object invoice@1"]),
        ("objects/payment.yaml", "What the customer", "What", []),
        (
            "objects/support.yaml",
            "A failure of a service, with evidence.",
            "A failure.",
            ["object incident@1"],
        ),
        (
            "operations/support.yaml",
            "document?: string",
            "document?: id",
            ["operation support.ticket.reply@1"],
        ),
        (
            "bases.yaml",
            "reverses?: {type: string",
            "reverses?: {type: id",
            [
                "event erp.credit_posted@1",
                "event erp.invoice_posted@1",
                *(key for key in LOCK if key.startswith("object")),
            ],
        ),
    ],
)
def test_a_changed_version_is_named_with_what_to_do(
    tmp_path: Path, file: str, old: str, new: str, changed: list[str]
) -> None:
    copy = tmp_path / "canon"
    shutil.copytree(CANON, copy)
    text = (copy / file).read_text("utf-8")
    (copy / file).write_text(text.replace(old, new), "utf-8")
    said = changes(read_library(copy))
    if file != "bases.yaml":
        assert [line.split(" is published")[0] for line in said] == changed
    else:
        assert {line.split(" is published")[0] for line in said} <= set(changed)
        assert "object invoice@1" in {line.split(" is published")[0] for line in said}
    assert all(re.search(r"restore it, and add .+@2 with the change$", line) for line in said)


def test_a_new_version_stands_beside_the_old_one(tmp_path: Path) -> None:
    copy = tmp_path / "canon"
    shutil.copytree(CANON, copy)
    (copy / "objects" / "meter2.yaml").write_text(
        "- {name: meter, version: 2, doc: A counter., base: record@1, fields: {name: string}}\n"
    )
    found = read_library(copy)
    assert [document.reference for document in found.named("meter")] == ["meter@1", "meter@2"]
    (line,) = changes(found)
    assert line.startswith('object meter@2 is new: add "object meter@2": "')


# ------------------------------------------------------------------ use


def test_the_workflows_that_use_a_document_are_those_of_the_example() -> None:
    model = acme_model()
    uses: dict[str, dict[str, list[str]]] = {}
    for workflow in sorted(model.workflows):
        of_kind: dict[str, list[str]] = {}
        for data in model.closure(workflow):
            if "extends" in data:
                of_kind.setdefault(f"{data['kind']}s", []).append(data["extends"])
        uses[workflow] = {kind: sorted(references) for kind, references in sorted(of_kind.items())}
    stated = parse((CANON / "workflows.yaml").read_bytes())
    assert stated == uses, f"put this into workflows.yaml:\n{json.dumps(uses, indent=2)}"


def test_the_example_extends_every_object_event_and_operation_by_version() -> None:
    model = acme_model()
    own = [document.data for document in model.documents if document.kind in PARTS]
    assert [data["name"] for data in own if "extends" not in data] == []


def test_the_library_is_read_from_a_package_in_a_zip_file(tmp_path: Path) -> None:
    """Resources have no path of their own there, as in some installations of a wheel."""
    archive = tmp_path / "wheel.zip"
    with zipfile.ZipFile(archive, "w") as written:
        for path in sorted(CANON.rglob("*.yaml")):
            written.write(path, f"canon/{path.relative_to(CANON)}")
    folder = zipfile.Path(archive, "canon/")
    assert [document.digest for document in read_library(folder).documents] == [
        document.digest for document in DOCUMENTS
    ]


def tables() -> str:
    """The tables of the page, one for each kind."""
    lines = []
    for kind in PARTS:
        lines += [f"## {kind.capitalize()}s", "", "| name | meaning | workflows |", "|---|---|---|"]
        for document in DOCUMENTS:
            if document.kind == kind:
                workflows = ", ".join(f"`{name}`" for name in document.workflows) or "none yet"
                lines.append(f"| `{document.reference}` | {document.doc} | {workflows} |")
        lines.append("")
    return "\n".join(lines)


def test_the_page_lists_the_library() -> None:
    page = (ROOT / "docs" / "reference" / "canon.md").read_text("utf-8")
    assert page.endswith(tables()), f"put this at the end of docs/reference/canon.md:\n{tables()}"
