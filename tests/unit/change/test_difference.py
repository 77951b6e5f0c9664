"""Differences of two Models: by meaning, row by row, and whom a change breaks."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from counterfoil.change.difference import AffectedUser, DocumentChange, difference
from counterfoil.change.plan_words import change_lines
from counterfoil.core import wire
from counterfoil.model import Model, read
from tests.companies.base import write
from tests.companies.clean import COMPANY

TODAY = date(2026, 6, 1)


@pytest.fixture(scope="module")
def company(tmp_path_factory: pytest.TempPathFactory) -> Model:
    model, findings = read(write(tmp_path_factory.mktemp("company"), COMPANY))
    assert not findings
    return model


def edited(folder: Path, *edits: tuple[str, str]) -> Model:
    text = COMPANY
    for old, new in edits:
        assert text.count(old) == 1, f"{old!r} stands {text.count(old)} times"
        text = text.replace(old, new)
    return read(write(folder, text), checks=False)[0]


def only(changes: list[DocumentChange]) -> DocumentChange:
    (one,) = changes
    return one


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("deadline: 20d", "deadline: 480h"),
        ("deadline: 20d", "deadline: 20d  # three weeks\n#"),
        (
            "check: amount.minor > 0 && terms.terms != 'prepaid'",
            'check: "=amount.minor>0 && terms.terms!=\\"prepaid\\""',
        ),
        ("covers: [amount, event.data.customer_id]", "covers: [event.data.customer_id, amount]"),
        ("  timeout: park\n---", "  timeout: park\n  case_within: 48h\n---"),
        (
            "amount: money, reason: {enum: [outage, error]}}",
            "amount: {type: money}, reason: {enum: [error, outage]}}",
        ),
        ("terms: {type: string, system: ledger}", "terms: string"),
        ("from: {system: bills, type: credit.issued}", "from: {type: [credit.issued], system: bills}"),
    ],
)
def test_what_means_the_same_is_no_difference(company: Model, tmp_path: Path, old: str, new: str) -> None:
    assert difference(company, edited(tmp_path, (old, new)), TODAY) == []


TEST = "---\nkind: test\nname: nothing-happens\ngiven: [{after: 1s}]\nexpect: {runs: []}\n"


def test_tests_are_no_part_of_a_release_and_no_difference(company: Model, tmp_path: Path) -> None:
    model, findings = read(write(tmp_path, COMPANY + TEST))
    assert (findings, model.document("test", "nothing-happens") is None) == ([], False)
    assert difference(model, company, TODAY) == difference(company, model, TODAY) == []
    assert model.released.document("test", "nothing-happens") is None
    assert model.released.released is model.released
    assert model.digest == model.released.digest == company.digest


def test_a_release_that_a_former_version_stored_with_its_tests_is_read_without_them(company: Model) -> None:
    old_form = {"kind": "test", "name": "old", "steps": "a form that is no longer known"}
    stored = Model.from_json(wire.dumps([*company.plain(), old_form]))
    assert (stored.document("test", "old"), stored.digest) == (None, company.digest)


def test_documents_moved_between_files_are_no_difference(company: Model, tmp_path: Path) -> None:
    for position, part in enumerate(reversed(COMPANY.split("---\n"))):
        write(tmp_path, part, f"part{position}.yaml")
    assert difference(company, read(tmp_path)[0], TODAY) == []


def test_a_literal_that_only_looks_like_a_formula_or_a_time_is_a_difference(tmp_path: Path) -> None:
    folders = [tmp_path / "one", tmp_path / "two"]
    for folder, text in zip(folders, ("48h", "2d"), strict=True):
        folder.mkdir()
        write(folder, f"kind: system\nname: a\nrole: erp\nconnector: http\nsettings: {{key: {text}}}\n")
    old, new = (read(folder, checks=False)[0] for folder in folders)
    assert only(difference(old, new)).details[0].path == "settings/key"


def test_a_step_is_matched_by_its_id_and_a_new_position_is_reported(company: Model, tmp_path: Path) -> None:
    memo = "  - id: memo\n    call: billing.credit.issue\n    with: {customer: =event.data.customer_id, amount: =amount, reason: =event.data.reason}\n"
    check = "  - id: checked\n"
    changes = only(difference(company, edited(tmp_path, (memo, ""), (check, memo + check))))
    assert [(d.path, d.what) for d in changes.details] == [("steps/memo", "moved")]
    assert changes.change == "changed"


def test_an_added_step_leaves_the_others_as_they_are(company: Model, tmp_path: Path) -> None:
    wait = "  - wait: {foils: all, until: +2d}\n"
    changes = only(difference(company, edited(tmp_path, (wait, "  - check: memo.id != ''\n" + wait))))
    assert [(d.path, d.what) for d in changes.details] == [("steps/check", "added")]


def test_removing_a_field_without_readers_breaks_no_user(company: Model, tmp_path: Path) -> None:
    change = (
        "  credit_id: id\n  customer_id: id\n  amount: money\n  asked_on: date\n",
        "  credit_id: id\n  customer_id: id\n  amount: money\n",
    )
    source = ("produced: http\n", "")
    internal = edited(tmp_path, source)
    changes = only(difference(internal, edited(tmp_path, source, change)))
    assert not changes.breaking
    assert changes.details[0].rule == "field-removed"
    assert changes.details[0].affects == ()


def test_a_removed_field_breaks_those_who_read_it_and_no_others(company: Model, tmp_path: Path) -> None:
    change = ("  reason: {enum: [outage, error]}\n---", "---")
    source = ("produced: http\n", "")
    internal = edited(tmp_path, source)
    changes = only(difference(internal, edited(tmp_path, source, change)))
    assert changes.breaking
    assert changes.affects == (AffectedUser("workflow", "credit", "reads reason", True, False),)


def test_a_field_that_an_approval_policy_reads_breaks_the_policy(company: Model, tmp_path: Path) -> None:
    source = ("produced: http\n", "")
    changes = only(
        difference(
            edited(tmp_path, source),
            edited(tmp_path, source, ("  requested_by: string\n", "  requested_by: int\n")),
        )
    )
    assert [(a.kind, a.name, a.broken) for a in changes.affects] == [("policy", "credit-approval", True)]


def test_an_event_from_outside_that_demands_more_breaks_those_who_send_it(
    company: Model, tmp_path: Path
) -> None:
    changes = only(
        difference(company, edited(tmp_path, ("  asked_on: date\n", "  asked_on: date\n  region: string\n")))
    )
    assert changes.breaking
    assert [(a.kind, a.name) for a in changes.affects] == [("outside", "POST /v1/events")]


def test_a_new_optional_field_breaks_no_user(company: Model, tmp_path: Path) -> None:
    changes = only(
        difference(company, edited(tmp_path, ("  asked_on: date\n", "  asked_on: date\n  region?: string\n")))
    )
    assert not changes.breaking
    assert changes.classes == ("contract",)


def test_an_operation_that_demands_more_breaks_its_callers(company: Model, tmp_path: Path) -> None:
    change = (
        "input: {credit: id, amount: money, customer: id}",
        "input: {credit: id, amount: money, customer: id, book: string}",
    )
    changes = only(difference(company, edited(tmp_path, change)))
    (detail,) = changes.details
    assert (detail.path, detail.rule, detail.breaking) == ("input/book", "field-added", True)
    assert [(a.kind, a.name, a.how) for a in detail.affects] == [("workflow", "credit", "does not give book")]


def test_an_operation_that_takes_less_strictly_breaks_no_caller(company: Model, tmp_path: Path) -> None:
    change = (
        "input: {credit: id, amount: money, customer: id}",
        "input: {credit: id, amount: money, customer?: id}",
    )
    assert not only(difference(company, edited(tmp_path, change))).breaking


def test_an_answer_that_may_lack_a_field_breaks_those_who_read_it(company: Model, tmp_path: Path) -> None:
    change = ("output: {id: id, issued_on: date}", "output: {id: id, issued_on?: date}")
    changes = only(difference(company, edited(tmp_path, change)))
    assert [(a.kind, a.name, a.how) for a in changes.affects if a.broken] == [
        ("workflow", "credit", "reads issued_on")
    ]
    more = ("output: {id: id, issued_on: date}", "output: {id: id, issued_on: date, book: string}")
    assert not only(difference(company, edited(tmp_path, more))).breaking


def test_a_reader_that_asks_with_has_survives_a_field_that_becomes_optional(tmp_path: Path) -> None:
    asks = (
        "dates: {document: =memo.issued_on, posting: first-open}",
        "dates: {document: \"=has(memo.issued_on) ? memo.issued_on : date('2026-01-01')\", posting: first-open}",
    )
    change = ("output: {id: id, issued_on: date}", "output: {id: id, issued_on?: date}")
    assert not only(difference(edited(tmp_path, asks), edited(tmp_path, asks, change))).breaking


def test_a_removed_event_breaks_its_consumers(company: Model, tmp_path: Path) -> None:
    event = "kind: event\nname: credit.posted.v1\nobject: credit\nsets: []\ndata: {credit_id: id, amount: money}\n---\n"
    changes = only(difference(company, edited(tmp_path, (event, ""))))
    assert (changes.change, changes.breaking) == ("removed", True)
    broken = {(a.kind, a.name) for a in changes.affects if a.broken}
    assert {("workflow", "credit"), ("reconciliation", "credit")} <= broken


def test_a_system_of_record_that_changes_names_the_mappings_that_assert_the_field(
    company: Model, tmp_path: Path
) -> None:
    changes = only(
        difference(
            company,
            edited(tmp_path, ("fields: {total: money,", "fields: {total: {type: money, system: ledger},")),
        )
    )
    assert changes.classes == ("contract", "ownership")
    assert [(a.kind, a.name) for a in changes.affects] == [("mapping", "bills-credit")]


@pytest.mark.parametrize(
    ("old", "new", "classes"),
    [
        ("{up_to: 1000, roles: [finance]}", "{up_to: 2000, roles: [finance]}", ("approval",)),
        ("currency: USD, at_most: 5000", "currency: USD, at_most: 9000", ("money", "approval")),
        ("{rule: first_open}", "{rule: current}", ("money",)),
        ("  refused: park\n", "  refused: undo\n", ("failure",)),
        ("    outcomes: {refused: park}\n", "    outcomes: {refused: undo}\n", ("failure", "workflow")),
        ("covers: [amount, event.data.customer_id]", "covers: [amount]", ("approval", "workflow")),
        ("amount: =major(input.amount)", "amount: =-major(input.amount)", ("money", "mapping")),
        ("{kind: role, name: agent}", '{kind: role, name: agent, may: ["runs:any:read"]}', ("security",)),
        (
            "connector: http\nowner: finance\nsettings: {region: eu}",
            "connector: http\nowner: finance\nsettings: {region: us}",
            ("security",),
        ),
        ("name: rates\nowner: finance", "name: rates\nowner: controller", ("ownership",)),
        ("name: rates\nowner: finance", "name: rates\nowner: finance\ndoc: Rates.", ("text",)),
        (
            "retention: 2d\nundo: [{call: billing.credit.void}]",
            "retention: 3d\nundo: [{call: billing.credit.void}]",
            ("failure",),
        ),
    ],
)
def test_each_change_has_its_classes(
    company: Model, tmp_path: Path, old: str, new: str, classes: tuple[str, ...]
) -> None:
    assert only(difference(company, edited(tmp_path, (old, new)))).classes == classes


def test_a_table_is_compared_row_by_row(company: Model, tmp_path: Path) -> None:
    rows = "  - {region: eu, since: 2026-01-01, rate: 0.2}\n"
    more = "  - {region: us, rate: 0.1}\n  - {region: eu, since: 2026-07-01, rate: 0.3}\n"
    new = edited(tmp_path, (rows, more + rows.replace("0.2", "0.25")))
    changes = only(difference(company, new, TODAY))
    assert [(r.key, r.change, str(r.begins), str(r.ends), r.standing) for r in changes.rows] == [
        (("eu",), "changed", "2026-01-01", "2026-07-01", "today"),
        (("eu",), "added", "2026-07-01", "None", "later"),
        (("us",), "added", "None", "None", "today"),
    ]
    assert [(f.key, str(f.old), str(f.new)) for f in changes.in_force] == [
        (("eu",), "0.2", "0.25"),
        (("us",), "None", "0.1"),
    ]
    assert changes.classes == ("money", "table")
    assert only(difference(company, new)).in_force == ()


def test_a_row_that_counts_later_leaves_today_as_it_is(company: Model, tmp_path: Path) -> None:
    rows = "  - {region: eu, since: 2026-01-01, rate: 0.2}\n"
    changes = only(
        difference(
            company,
            edited(tmp_path, (rows, rows + "  - {region: eu, since: 2027-01-01, rate: 0.3}\n")),
            TODAY,
        )
    )
    assert ([r.standing for r in changes.rows], changes.in_force) == (["later"], ())


def test_a_row_for_past_days_is_reported_as_past(company: Model, tmp_path: Path) -> None:
    rows = "  - {region: eu, since: 2026-01-01, rate: 0.2}\n"
    new = edited(tmp_path, (rows, "  - {region: eu, since: 2025-01-01, rate: 0.1}\n" + rows))
    assert [r.standing for r in only(difference(company, new, TODAY)).rows] == ["past"]


def test_a_table_that_is_new_or_gone_tells_its_rows(company: Model, tmp_path: Path) -> None:
    table = COMPANY[COMPANY.index("kind: table") : COMPANY.index("kind: reconciliation")]
    without = edited(tmp_path, (table, ""))
    added, removed = only(difference(without, company, TODAY)), only(difference(company, without, TODAY))
    assert [(r.change, r.standing) for r in added.rows] == [("added", "today")]
    assert [(r.change, r.standing) for r in removed.rows] == [("removed", "today")]
    assert added.classes == ("money", "ownership", "table")


def test_the_order_of_rows_is_no_difference(company: Model, tmp_path: Path) -> None:
    rows = "  - {region: eu, since: 2026-01-01, rate: 0.2}\n"
    other = "  - {region: us, since: 2026-01-01, rate: 0.1}\n"
    one, two = edited(tmp_path, (rows, rows + other)), edited(tmp_path, (rows, other + rows))
    assert difference(one, two, TODAY) == []


def test_a_table_touches_those_who_look_it_up(tmp_path: Path) -> None:
    reads = ("  currency: USD\n  requesters", "  currency: USD\n  rates: rates\n  requesters")
    rows = ("rate: 0.2}", "rate: 0.3}")
    changes = only(difference(edited(tmp_path, reads), edited(tmp_path, reads, rows), TODAY))
    assert [(a.kind, a.name, a.broken) for a in changes.affects] == [("policy", "credit-approval", False)]
    assert not changes.breaking


def test_a_difference_says_where_it_stands(company: Model, tmp_path: Path) -> None:
    changes = only(difference(company, edited(tmp_path, ("deadline: 20d", "deadline: 30d"))))
    file, line = changes.place.rsplit(":", 1)
    assert Path(file).read_text(encoding="utf-8").splitlines()[int(line) - 1] == "deadline: 30d"


def test_a_model_without_files_is_compared_alike(company: Model, tmp_path: Path) -> None:
    new = edited(tmp_path, ("deadline: 20d", "deadline: 30d"))
    stored = Model.from_json(new.to_json())
    assert difference(new, stored) == []
    assert only(difference(company, stored)).details == only(difference(company, new)).details


OVERLAY = """\
---
kind: overlay
name: there
of: {legal_entity: de}
changes:
  - {kind: policy, name: credit-approval, set: {approval: {expires: 4d}}}
  - {kind: table, name: rates, set: {rows: [{region: eu, rate: 0.3}]}}
"""


def test_an_overlay_has_the_classes_of_what_it_changes_and_touches_its_users(tmp_path: Path) -> None:
    workflow = "name: credit\nowner: finance\nfailure"
    plain = edited(tmp_path)
    there = edited(
        tmp_path, ("---\nkind: workflow\n" + workflow, OVERLAY + "---\nkind: workflow\n" + workflow)
    )
    changes = only(difference(plain, there))
    assert (changes.kind, changes.change, changes.classes) == (
        "overlay",
        "added",
        ("money", "approval", "table"),
    )
    assert [(a.kind, a.name) for a in changes.affects] == [("workflow", "credit")]
    later = Model.from_json(there.to_json().replace(b'"4d"', b'"5d"'))
    (detail,) = only(difference(there, later)).details
    assert (detail.path, detail.classes) == ("changes/credit-approval/set/approval/expires", ("approval",))


def test_rows_that_an_overlay_replaces_are_compared_row_by_row(tmp_path: Path) -> None:
    workflow = "---\nkind: workflow\nname: credit\nowner: finance\nfailure"
    there = edited(tmp_path, (workflow, OVERLAY + workflow))
    rows = "rows: [{region: eu, rate: 0.3}]"
    later = edited(
        tmp_path,
        (
            workflow,
            OVERLAY.replace(rows, "rows: [{region: us, rate: 0.1}, {region: eu, rate: 0.4}]") + workflow,
        ),
    )
    changes = only(difference(there, later, TODAY))
    assert [(r.table, r.key, r.change, str(r.old), str(r.new)) for r in changes.rows] == [
        ("rates", ("eu",), "changed", "0.3", "0.4"),
        ("rates", ("us",), "added", "None", "0.1"),
    ]
    assert (changes.details, changes.classes) == ((), ("money", "table"))
    assert next(iter(change_lines(changes))) == "rates, row eu is now 0.4; before it was 0.3"
