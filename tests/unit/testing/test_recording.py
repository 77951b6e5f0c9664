"""A test that is recorded from a store passes, and holds no personal data."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import msgspec
import pytest

from counterfoil.core.finding import errors
from counterfoil.core.money import Money
from counterfoil.model import Model, kinds, read
from counterfoil.store.dump import Dump
from counterfoil.store.memory.store import MemoryStore
from counterfoil.testing.case_run import CaseRun, begin_of
from counterfoil.testing.personal_data import (
    Replacement,
    personal_values,
    stand_in,
    without_personal_numbers,
)
from counterfoil.testing.played_loop import PlayedClock, PlayedLoop
from counterfoil.testing.recording import recorded_test
from counterfoil.testing.records import readable
from counterfoil.testing.run import Suite, persons_of, prepare
from counterfoil.testing.yaml_text import yaml_text
from tests.companies.base import acme_model
from tests.source import ROOT
from tests.unit.rules.driver import model_of

ACME = ROOT / "examples" / "acme"
RUNS = [
    ("credit-is-granted-posted-applied-and-told", "CR-1"),
    ("credit-that-the-erp-refuses-is-voided-in-billing", "CR-1"),
    ("rejected-credit-is-told", "CR-1"),
    ("approval-of-a-credit-expires", "CR-1"),
    ("invoice-is-posted-and-reconciled", "I-1"),
    ("refusal-asks-a-person", "I-1"),
    ("invoice-in-a-closed-period-takes-the-first-open-day", "I-1"),
    ("credit-is-taken-back", "CR-1/20000"),
    ("changed-request-is-approved-again", "CR-1"),
]


def played(model: Model, name: str) -> Dump:
    """Return the rows of a store in which a test of the model was played."""
    test = model.of_kind(kinds.Test)[name]
    loop = PlayedLoop()
    clock = PlayedClock(loop, begin_of(test))

    async def work() -> Dump:
        store = MemoryStore(clock)
        await prepare(store, model, persons_of(model, test))
        run = CaseRun(loop, clock, store, model, test)
        await run.play()
        return await run.dump()

    try:
        return loop.run(work())
    finally:
        loop.close()


def replayed(folder: Path, *recorded: dict[str, Any]) -> str:
    """Return the differences of recorded tests, read as YAML in a copy of Acme."""
    for path in sorted(ACME.rglob("*")):
        if path.suffix in (".yaml", ".csv") and path.parent.name != "tests":
            target = folder / path.relative_to(ACME)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    (folder / "recorded.yaml").write_text("---\n".join(map(yaml_text, recorded)))
    model, findings = read(folder)
    assert [str(finding) for finding in errors(findings)] == []
    suite = Suite(model)
    try:
        tests = [document for document, _ in model.documents_of(kinds.Test)]
        assert len(tests) == len(recorded)
        return "\n".join(filter(None, (suite.result(test).difference for test in tests)))
    finally:
        suite.close()


@pytest.fixture(scope="module")
def model() -> Model:
    return acme_model()


@pytest.mark.parametrize(("name", "key"), RUNS, ids=[name for name, _ in RUNS])
def test_a_recorded_test_passes(tmp_path: Path, model: Model, name: str, key: str) -> None:
    document = recorded_test(model, played(model, name), key)
    assert replayed(tmp_path, document) == "", yaml_text(document)


def test_personal_data_is_replaced_everywhere_by_the_same_word(tmp_path: Path, model: Model) -> None:
    dump = played(model, "customer-is-created-in-the-erp")
    document = recorded_test(model, dump, "C-1")
    text = yaml_text(document)
    assert "1 Main St" not in text
    assert text.count("street-1") == 2
    assert replayed(tmp_path, document) == ""


def test_persons_are_replaced_with_their_roles(tmp_path: Path, model: Model) -> None:
    document = recorded_test(model, played(model, "requester-does-not-decide"), "CR-1")
    assert "anna" not in yaml_text(document)
    (person,) = [name for name, roles in document["persons"].items() if "support-agent" in roles]
    assert document["expect"]["approvals"][0]["state"] == "granted"
    assert [step["data"]["requested_by"] for step in document["given"] if "event" in step] == [person]
    assert replayed(tmp_path, document) == ""


def test_an_object_of_the_delivery_that_began_the_run_is_known(tmp_path: Path, model: Model) -> None:
    """One delivery tells of the ticket and of the credit. Both are recorded at its admission, seconds after its arrival."""
    dump = played(model, "rejected-credit-is-told")
    (run,) = [each for each in dump.runs if each.workflow == "support-credit-to-erp"]
    begin = min(e.received_at for e in dump.events if e.type == "support.credit_requested.v1")
    admitted = begin + timedelta(seconds=1.4)
    late = msgspec.structs.replace(
        dump,
        runs=[msgspec.structs.replace(run, created_at=admitted)],
        history=[
            msgspec.structs.replace(h, recorded_at=admitted) if h.object == "ticket" else h
            for h in dump.history
        ],
    )
    document = recorded_test(model, late, "CR-1")
    assert "ticket" in [step.get("known") for step in document["given"]]
    assert replayed(tmp_path, document) == ""


def test_two_recordings_of_one_workflow_have_names_of_their_own(tmp_path: Path, model: Model) -> None:
    documents = [
        recorded_test(model, played(model, name), "CR-1")
        for name in ("rejected-credit-is-told", "credit-is-granted-posted-applied-and-told")
    ]
    other = {**documents[0], "name": _name_of_another_run(model)}
    assert {document["name"].rpartition("-")[0] for document in documents} == {
        "recorded-support-credit-to-erp"
    }
    assert other["name"] != documents[0]["name"]
    assert replayed(tmp_path, documents[0], other) == ""


def _name_of_another_run(model: Model) -> str:
    dump = played(model, "rejected-credit-is-told")
    (run,) = [each for each in dump.runs if each.workflow == "support-credit-to-erp"]
    renamed = msgspec.structs.replace(dump, runs=[msgspec.structs.replace(run, id=f"{run.id[:-8]}00000000")])
    return str(recorded_test(model, renamed, "CR-1")["name"])


def test_a_german_object_is_known_as_german(tmp_path: Path, model: Model) -> None:
    tests = [t for t in model.of_kind(kinds.Test).values() if "acme-de" in str(t.given) and t.expect.runs]
    dump = played(model, tests[0].name)
    document = recorded_test(model, dump, dump.runs[0].id)
    entities = {step.get("legal_entity") for step in document["given"] if "known" in step}
    assert "acme-de" in entities


def test_personal_data_is_replaced_inside_of_other_texts(model: Model) -> None:
    dump = played(model, "rejected-credit-is-told")
    (name,) = {h.state["name"] for h in dump.history if h.object == "customer"}
    titled = [
        msgspec.structs.replace(h, state={**h.state, "title": f"Outage at {name}, call {name}s or anna"})
        if h.object == "ticket"
        else h
        for h in dump.history
    ]
    people = [
        *dump.persons,
        msgspec.structs.replace(dump.persons[0], id="anna", name="Anna", email="a@acme.test"),
    ]
    document = recorded_test(model, msgspec.structs.replace(dump, history=titled, persons=people), "CR-1")
    (ticket,) = [step for step in document["given"] if step.get("known") == "ticket"]
    assert ticket["state"]["title"] == f"Outage at name-1, call {name}s or person-{len(people)}"


PERSONAL = {"Support": "name-1", "paid": "name-2", "250": "phone-1", "1 Main St": "street-1", "Ann": "name-3",
            "Ann Lee": "name-4", "5551234567": "phone-2", "Bo": "name-5"}  # fmt: skip


def test_names_of_documents_and_states_and_amounts_are_not_personal() -> None:
    """Personal texts may equal them. What a person typed is replaced, each time by the same word."""
    document = {
        "persons": {"Ann": ["support-lead"]},
        "given": [
            {"event": "Support.asked.v1", "by": "Ann", "data": {"Support": "Support", "amount": "250.00 USD"}},
            {"known": "ticket", "id": "T-1", "state": {"title": "Ann Lee, 1 Main St. (5551234567), not Anne, Bo"}},
        ],
        "expect": {"runs": [{"workflow": "Support", "state": "paid", "key": "Ann/7"}]},
    }  # fmt: skip
    assert Replacement(PERSONAL).document(document) == {
        "persons": {"name-3": ["support-lead"]},
        "given": [
            {"event": "Support.asked.v1", "by": "name-3", "data": {"Support": "name-1", "amount": "250.00 USD"}},
            {"known": "ticket", "id": "T-1", "state": {"title": "name-4, street-1. (phone-2), not Anne, name-5"}},
        ],
        "expect": {"runs": [{"workflow": "Support", "state": "paid", "key": "name-3/7"}]},
    }  # fmt: skip


def test_personal_values_are_found_in_lists_and_maps() -> None:
    fields = {
        "lines?": {"type": "list", "items": {"fields": {"note": {"type": "string", "pii": True}}}},
        "phones?": {"type": "[string]", "pii": True},
        "contact?": {"pii": True, "fields": {"name": "string"}},
        "open": "string",
    }
    value = {"lines": [{"note": "a"}], "phones": ["b", "c"], "contact": {"name": "d"}, "open": "e"}
    (specs,) = [
        o.fields
        for o in model_of(
            yaml_text({"kind": "object", "name": "o", "system": "s", "fields": fields})
        ).objects.values()
    ]
    texts = [("note", "a"), ("phones", "b"), ("phones", "c"), ("contact", "d")]
    assert list(personal_values(specs, value)) == texts


def test_a_personal_value_of_each_type_is_replaced_by_one_of_its_type() -> None:
    values = {
        "name": "Li", "mail": "li@x.de", "born": date(1970, 5, 6), "ssn": 123456789, "salary": Money(9_876_543, "USD"),
        "seen": datetime(2026, 3, 1, 8, tzinfo=UTC), "score": Decimal("71.25"), "floor": 3,
    }  # fmt: skip
    words = {value: stand_in(value, field, 1) for field, value in values.items()}
    texts = Replacement({readable(value): readable(other) for value, other in words.items()})
    types = {"name": "string", "mail": "string", "born": "date", "ssn": "int", "salary": "money", "seen": "timestamp",
             "score": "decimal", "floor": "int"}  # fmt: skip
    fields = {name: {"type": type_, "pii": True} for name, type_ in types.items()} | {"count": "int"}
    (specs,) = [
        o.fields
        for o in model_of(
            yaml_text({"kind": "object", "name": "o", "system": "s", "fields": fields})
        ).objects.values()
    ]
    short = {value: other for value, other in words.items() if isinstance(value, int | Decimal)}
    state = readable(without_personal_numbers(specs, values | {"count": 3}, short))
    document = {
        "persons": {},
        "given": [
            {"known": "customer", "id": "C-1", "state": state},
            {
                "answer": "a.b.c",
                "message": "Li (Li@X.de, born 1970-05-06, ssn 123456789, 98765.43 USD) in LI, Linz, 71.25",
            },
        ],
        "expect": {"effects": [{"operation": "a.b.c", "input": {"tax_no": 123456789, "day": "1970-05-06"}}]},
    }
    cleaned = texts.document(document)
    assert cleaned["given"][0]["state"] == {
        "name": "name-1", "mail": "mail-1", "born": "2000-01-02", "ssn": 1, "salary": "1.00 USD",
        "seen": "2000-01-02T00:00:00Z", "score": Decimal(1), "floor": 1, "count": 3,
    }  # fmt: skip
    message = cleaned["given"][1]["message"]
    assert message == "name-1 (mail-1, born 2000-01-02, ssn 1, 1.00 USD) in LI, Linz, 71.25"
    assert cleaned["expect"]["effects"][0]["input"] == {"tax_no": 1, "day": "2000-01-02"}
