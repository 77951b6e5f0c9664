"""Several versions of an event or operation at once: what the language takes, what `check` finds, what a cast gives."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from counterfoil.core.finding import Finding
from counterfoil.model import Model, read
from counterfoil.rules import versions
from counterfoil.rules.mapping import MappedEvents, apply_inbound
from tests.companies.base import COMPLETE_POLICY, documents, edited

COMPANY = documents(
    COMPLETE_POLICY,
    """\
{kind: role, name: finance}
---
{kind: system, name: bills, role: billing, connector: http, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: http, owner: finance}
---
kind: event
name: invoice.closed.v1
produced: http
owner: finance
deprecated: {since: 2026-01-01, sunset: 2026-07-01, use: invoice.closed.v2}
data:
  invoice_id: id
  total: money
  note?: string
  code: string
  lines: {type: list, items: {fields: {net: money, hint: string}}}
---
kind: event
name: invoice.closed.v2
produced: http
owner: finance
data:
  invoice_id: id
  gross: money
  remark?: string
  lines: {type: list, items: {fields: {amount: money}}}
---
kind: event
name: invoice.closed.v3
produced: http
owner: finance
data: {invoice_id: id, gross: money, remark: string, lines: {type: list, items: {fields: {amount: money}}}}
---
kind: mapping
name: invoice-closed-1-2
cast: {from: invoice.closed.v1, to: invoice.closed.v2}
with:
  gross: =data.total
  remark: =data.note
  lines: {each: =data.lines, as: l, data: {amount: =l.net}}
loses: {code: unused, lines.hint: unused}
---
kind: mapping
name: invoice-closed-2-3
cast: {from: invoice.closed.v2, to: invoice.closed.v3}
with: {remark: "=first(data.remark, '')"}
---
kind: operation
name: erp.credit.post
system: ledger
executor: identity
owner: finance
repeat: unique
irreversible: posted stays posted
deprecated: {since: 2026-01-01, sunset: 2026-07-01, use: erp.credit.post.v2}
input: {credit_id: id, amount: money}
output: {number: string}
---
kind: operation
name: erp.credit.post.v2
system: ledger
executor: identity
owner: finance
repeat: unique
irreversible: posted stays posted
exposes: {starts: crediting}
input: {credit_id: id, value: money, why: string}
negative: false
output: {id: id, journal: string}
---
kind: mapping
name: credit-post-1-2
cast: {from: erp.credit.post, to: erp.credit.post.v2}
with: {value: =input.amount, why: none}
returns: {result: {number: =result.id}}
loses: {result.journal: callers of the first version never saw it}
---
kind: workflow
name: crediting
owner: finance
failure: careful
start: {operation: erp.credit.post.v2, key: input.credit_id}
serial: {key: input.credit_id}
steps:
  - id: posted
    call: erp.credit.post.v2
    with: {credit_id: =input.credit_id, value: =input.value, why: =input.why}
returns: {id: =posted.id, journal: =posted.journal}
---
kind: workflow
name: booking
owner: finance
failure: careful
start: {event: invoice.closed.v3, key: event.data.invoice_id}
steps:
  - check: event.data.gross.minor > 0
""",
)


def checked(tmp_path: Path, old: str = "", new: str = "") -> tuple[Model, list[Finding]]:
    assert not old or COMPANY.count(old) == 1
    (tmp_path / "company.yaml").write_text(edited(COMPANY, (old, new)) if old else COMPANY)
    return read(tmp_path)


def messages_of(tmp_path: Path, old: str, new: str) -> list[str]:
    return [f"{f.rule}: {f.message}" for f in checked(tmp_path, old, new)[1]]


@pytest.fixture
def model(tmp_path: Path) -> Model:
    model, findings = checked(tmp_path)
    assert [str(f) for f in findings] == []
    return model


@pytest.mark.parametrize(
    ("old", "new", "rule", "says"),
    [
        ("loses: {code: unused, lines.hint", "loses: {lines.hint", "cast-loss", "`code` of invoice.closed.v1"),
        (", lines.hint: unused}", "}", "cast-loss", "`lines.hint` of"),
        ("loses: {code: u", "loses: {total: no, code: u", "cast-loss", "`total` is not lost"),
        ("  gross: =data.total\n", "  gross: =data.code\n", "cast-mismatch", "`gross` takes"),
        ("  gross: =data.total\n", "", "cast-mismatch", "the field `gross` is missing"),
        ('"=first(data.remark, \'\')"', "=data.remark", "cast-mismatch", "may be absent"),
        ("  gross: =data.total\n", "  gross: =data.total\n  more: x\n", "cast-mismatch", "no field `more`"),
        ("returns: {result: {number: =result.id}}\nloses: {result.journal: callers of the first version never saw it}\n",
         "", "cast-mismatch", "the field `number` is missing"),
        ("loses: {result.journal: callers of the first version never saw it}\n", "", "cast-loss", "`result.journal` of"),
        ("code: unused", "code: unused", "", ""),
        ("cast: {from: invoice.closed.v2, to: invoice.closed.v3}", "cast: {from: invoice.closed.v2, to: invoice.closed.v9}",
         "unknown-reference", "there is no event `invoice.closed.v9`"),
        ("cast: {from: invoice.closed.v2, to: invoice.closed.v3}", "cast: {from: invoice.closed.v2, to: invoice.closed.v2}",
         "cast-form", "is not another version"),
        ("remark: =data.note", "remark: \"=table('x', data.note)\"", "cast-form", "must not use the look-up `table`"),
        ("use: invoice.closed.v2}", "use: invoice.opened.v1}", "deprecated", "is not another event"),
        ("since: 2026-01-01, sunset: 2026-07-01, use: invoice.closed.v2", "since: 2026-07-01, sunset: 2026-07-01",
         "deprecated", "is not after"),
        ("sunset: 2026-07-01, use: invoice.closed.v2", "use: invoice.closed.v2", "deprecated", "no `sunset`"),
        ("since: 2026-01-01, sunset: 2026-07-01, use: invoice.closed.v2", "since: 2026-02-30", "wrong-value", ""),
        ("start: {event: invoice.closed.v3", "start: {event: invoice.closed.v1", "deprecated-used", "since 2026-01-01, sunset"),
    ],
)  # fmt: skip
def test_a_mistake_in_a_version_is_found(tmp_path: Path, old: str, new: str, rule: str, says: str) -> None:
    messages = messages_of(tmp_path, old, new)
    if not rule:
        assert messages == []
        return
    assert any(m.startswith(f"{rule}: ") and says in m for m in messages), messages


def test_a_consumer_that_an_older_version_cannot_reach_is_found(tmp_path: Path) -> None:
    cut = COMPANY.split("---\nkind: mapping\nname: invoice-closed-1-2")
    rest = cut[1].split("---\n", 1)[1]
    (tmp_path / "company.yaml").write_text(cut[0] + "---\n" + rest)
    messages = [f"{f.rule}: {f.message}" for f in read(tmp_path)[1]]
    assert messages == [
        "cast-missing: events sent as `invoice.closed.v1` do not reach this workflow: no cast converts them to `invoice.closed.v3`"
    ]


def test_a_version_may_be_left_without_cast_with_a_reason(tmp_path: Path) -> None:
    cut = COMPANY.split("---\nkind: mapping\nname: invoice-closed-1-2")
    rest = cut[1].split("---\n", 1)[1]
    apart = "kind: mapping\nname: apart\ncast: {from: invoice.closed.v1, to: invoice.closed.v3}\nignore: old books\n"
    (tmp_path / "company.yaml").write_text(cut[0] + "---\n" + apart + "---\n" + rest)
    model, findings = read(tmp_path)
    assert [str(f) for f in findings] == []
    assert model.versions.path("invoice.closed.v1", "invoice.closed.v3") is None


def test_two_ways_of_the_same_length_are_found(tmp_path: Path) -> None:
    """v1 -> v2 -> v3 and v1 -> v4 -> v3: which one would a fact go?"""
    more = """
---
kind: event
name: invoice.closed.v4
owner: finance
data: {invoice_id: id, gross: money, remark: string, lines: {type: list, items: {fields: {amount: money}}}}
---
kind: mapping
name: invoice-closed-1-4
cast: {from: invoice.closed.v1, to: invoice.closed.v4}
with: {gross: =data.total, remark: =data.code, lines: {each: =data.lines, as: l, data: {amount: =l.net}}}
loses: {note: old, lines.hint: old}
---
{kind: mapping, name: invoice-closed-4-3, cast: {from: invoice.closed.v4, to: invoice.closed.v3}}
"""
    (tmp_path / "company.yaml").write_text(COMPANY + more)
    messages = [f"{f.rule}: {f.message}" for f in read(tmp_path)[1]]
    assert messages == [
        "cast-ambiguous: there are 2 shortest paths from `invoice.closed.v1` to `invoice.closed.v3`: through invoice.closed.v2 or invoice.closed.v4"
    ]


MAPPED = """
---
kind: mapping
name: old-bills
from: {system: bills, type: closed}
emit: {type: invoice.paid.v1, key: =body.id, data: {invoice_id: =body.id}}
---
kind: mapping
name: new-bills
from: {system: bills, type: closed_now}
emit: {type: invoice.paid.v2, key: =body.id, data: {invoice_id: =body.id}}
---
{kind: event, name: invoice.paid.v1, data: {invoice_id: id}}
---
{kind: event, name: invoice.paid.v2, data: {invoice_id: id}}
"""


def test_two_mappings_that_tell_the_same_facts_in_two_versions_are_found(tmp_path: Path) -> None:
    (tmp_path / "company.yaml").write_text(COMPANY + MAPPED)
    messages = [f"{f.rule}: {f.message}" for f in read(tmp_path)[1]]
    assert messages == [
        "continues: `old-bills` emits `invoice.paid.v1`: a fact reported by both would count twice"
    ]
    mended = MAPPED.replace("name: new-bills\n", "name: new-bills\ncontinues: old-bills\n")
    (tmp_path / "company.yaml").write_text(COMPANY + mended)
    assert read(tmp_path)[1] == []


def test_a_mapping_that_continues_another_gives_its_facts_the_same_ids(tmp_path: Path) -> None:
    mended = MAPPED.replace("name: new-bills\n", "name: new-bills\ncontinues: old-bills\n")
    (tmp_path / "company.yaml").write_text(COMPANY + mended)
    model, _ = read(tmp_path)
    at = datetime(2026, 1, 5, tzinfo=UTC)
    deliveries = [
        apply_inbound(mapping, {"id": "i1"}, None, at, {})
        for kind in ("closed", "closed_now")
        for mapping in model.inbound("bills", kind)
    ]
    (old,), (new,) = (mapped.events for mapped in deliveries if isinstance(mapped, MappedEvents))
    assert (old.type, new.type) == ("invoice.paid.v1", "invoice.paid.v2")
    assert old.id == new.id


def test_two_workflows_that_one_fact_begins_in_two_versions_are_reported(tmp_path: Path) -> None:
    second = """
---
kind: workflow
name: booking-as-before
owner: finance
failure: careful
start: {event: invoice.closed.v2, key: event.data.invoice_id}
steps:
  - check: event.data.gross.minor > 0
---
kind: mapping
name: not-back
cast: {from: invoice.closed.v3, to: invoice.closed.v2}
"""
    (tmp_path / "company.yaml").write_text(COMPANY + second)
    findings = [(f.rule, f.severity, f.message) for f in read(tmp_path)[1]]
    message = "a fact sent as `invoice.closed.v{}` starts both `{}` and this workflow"
    assert findings == [
        ("versions-apart", "warning", message.format(2, "booking-as-before")),
        ("versions-apart", "warning", message.format(3, "booking")),
    ]


def money(minor: int) -> Any:
    from counterfoil.core.money import Money

    return Money(minor, "EUR")


def test_casts_are_composed_and_copy_shared_fields(model: Model) -> None:
    path = model.versions.path("invoice.closed.v1", "invoice.closed.v3")
    assert path is not None
    data = {"invoice_id": "i1", "total": money(5), "code": "x", "lines": [{"net": money(5), "hint": "h"}]}
    assert versions.cast(path, data) == {
        "invoice_id": "i1",
        "gross": money(5),
        "remark": "",
        "lines": [{"amount": money(5)}],
    }


def test_the_result_of_a_cast_keeps_the_contract_or_fails(model: Model) -> None:
    path = model.versions.path("invoice.closed.v1", "invoice.closed.v2")
    assert path is not None
    with pytest.raises(versions.CastFailed, match=r"invoice-closed-1-2 gives no invoice\.closed\.v2"):
        versions.cast(path, {"invoice_id": "", "total": money(5), "code": "x", "lines": []})


def test_an_old_call_of_an_operation_is_served_by_the_new_one(model: Model) -> None:
    served = versions.serve(model, "erp.credit.post")
    assert served is not None
    assert served.by == "erp.credit.post.v2"
    canonical = {"credit_id": "c1", "amount": money(7)}
    assert versions.upcast_input(served, canonical) == {"credit_id": "c1", "value": money(7), "why": "none"}
    assert versions.downcast_output(served, canonical, {"id": "n9", "journal": "j"}) == {"number": "n9"}


def test_an_operation_is_meant_by_its_name_and_a_version(model: Model) -> None:
    meant = [versions.operation_version(model, "erp.credit.post", n) for n in (None, 1, 2, 3)]
    assert meant == ["erp.credit.post", "erp.credit.post", "erp.credit.post.v2", None]
    assert versions.operation_version(model, "erp.credit.post.v2", None) == "erp.credit.post.v2"
    assert versions.operation_version(model, "erp.credit.void", None) is None


def test_a_stored_model_has_the_same_casts(model: Model) -> None:
    again = Model.from_json(model.to_json())
    assert again.versions.path("invoice.closed.v1", "invoice.closed.v3") is not None
    assert again.digest == model.digest
