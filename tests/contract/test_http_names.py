"""Names first: lists, pages and tables show customer, document and reason before ids."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from datetime import datetime
from pathlib import Path

import httpx2
import pytest

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Choice
from counterfoil.core.cases import open_case
from counterfoil.core.foil import Foil, Observation
from counterfoil.core.money import Money
from counterfoil.core.run import RunStatus
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.records import NewInboxItem, RunStart
from counterfoil.store.port.turns import Turn
from counterfoil.store.sql.store import SqlStore
from tests.companies.web import Company, running
from tests.companies.web_rows import case_of

pytestmark = pytest.mark.xdist_group("web")
KEY = "cred_7"
RUN = ids.run_id("support-credit-to-erp", KEY, 0)
APPROVAL = ids.derive("appr", RUN, "approval")
LONG = ids.canonical_id("credit", "billing", "", "cn_8")
"""A credit whose id is as long as a real one."""
FOIL, ITEM = ids.derive("foil", "names"), ids.derive("obs", "names")
HEADS = {
    ("customer", "cust_9"): {"name": "Initech Software"},
    ("invoice", "invo_9"): {"number": "INV-2026-0042", "customer_id": "cust_9"},
    ("ticket", "tick_9"): {"title": "Search was down"},
    ("credit", KEY): {"number": "CN-77", "invoice_id": "invo_9"},
    ("credit", LONG): {"number": "CN-78", "invoice_id": "invo_9"},
}
RAW = "unknown_account: HTTPError('POST /credit_memo', {'code': 4890})"
REQUEST = {
    "credit_id": KEY, "customer_id": "cust_9", "invoice_id": "invo_9", "ticket_id": "tick_9",
    "ticket": "T-4711", "reason": "Outage of 12 May", "amount": Money(25_000, "USD"), "requested_by": "ava",
}  # fmt: skip


def _event(
    type_: str, object_: str, key: str, data: dict[str, object], receipt: int, at: datetime
) -> CanonicalEvent:
    return CanonicalEvent(
        id=ids.event_id("support", type_, key, "1", type_), type=type_, system="support", object=object_, key=key,
        version=1, data=data, occurred_at=at, effective_at=at, received_at=at, receipt=receipt,
    )  # fmt: skip


async def _fill(store: SqlStore) -> None:
    """Write a request for a credit with the heads of its documents, its approval and a Case that occurred three times."""
    at = await store.now()
    receipt = Receipt(
        system="support", ext_id="names", type="t", identity="a", sha256="a", door="webhook", headers={}, body=b"{}",
        received_at=at,
    )  # fmt: skip
    received = await store.apply(
        Receive(
            receipts=(receipt,), clashes=(case_of("case_n", "clash", "controller", at),), at=at, actor="t"
        )
    )
    number = received.numbers[0]
    start = _event("support.credit_requested.v1", "ticket", "tick_9", REQUEST, number, at)
    facts = {
        key: _event(f"{key[0]}.changed.v1", *key, dict(state), number, at) for key, state in HEADS.items()
    }
    heads = tuple(
        Head(
            object=object_, key=key, version=1, state=dict(state), system="support", effective_at=at, recorded_at=at,
            event=facts[object_, key].id,
        )
        for (object_, key), state in HEADS.items()
    )  # fmt: skip
    stimulus = NewInboxItem(run=RUN, kind="start", ref=start.id, body=wire.dumps({"event": start.id}))
    run = RunStart(
        run=RUN, workflow="support-credit-to-erp", bkey=KEY, generation=0, pin="d" * 64, state="requested",
        stimulus=stimulus,
    )  # fmt: skip
    admitted = await store.apply(
        Admit(
            todo=("receipt", str(number)),
            events=(start, *facts.values()),
            heads=heads,
            starts=(run,),
            at=at,
            actor="t",
        )
    )
    assert admitted.applied
    await _turn(store, at)
    await _match(store, at)
    case = open_case(
        "refused", id="case_names", message=f"erp.credit_memo.post: refused: {RAW}",
        owners=("finance-operations",), at=at, run=RUN, exposure=(Money(25_000, "USD"),), count=3,
        choices=(Choice.RETRY, Choice.CONTINUE),
    )  # fmt: skip
    other = open_case(
        "signal", id="case_text", message=f"The credit {LONG} of 27062.50 USD interrupted the Run", owners=("controller",),
        at=at, names={},
    )  # fmt: skip
    item = open_case(
        "unmatched", id="case_item", message="erp shows CN-2026-9", owners=("controller",), at=at, observation=ITEM,
        names={"object": LONG, "system": "erp"},
    )  # fmt: skip
    delivery = open_case(
        "clash", id="case_delivery", message="names: other content", owners=("controller",), at=at, receipt=number, names={},
    )  # fmt: skip
    event = open_case(
        "unrouted", id="case_event", message=f"{start.id}: no workflow", owners=("controller",), at=at, event=start.id,
        names={},
    )  # fmt: skip
    await store.apply(OpenCases(cases=(case, other, item, delivery, event), at=at, actor="t"))


async def _match(store: SqlStore, at: datetime) -> None:
    """Write a counterfoil over a credit, and an item of the ERP whose event names the customer."""
    receipt = Receipt(
        system="erp", ext_id="match", type="t", identity="b", sha256="b", door="webhook", headers={}, body=b"{}",
        received_at=at,
    )  # fmt: skip
    clash = case_of("case_m", "clash", "controller", at)
    received = await store.apply(Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="t"))
    number = received.numbers[0]
    shown = _event("erp.credit_posted.v1", "credit", "erp/9", {"customer_id": "cust_9"}, number, at)
    foil = Foil(
        id=FOIL, rule="credit-in-erp", key=LONG, document=LONG, object="credit", left="billing", right="erp",
        legs={"gross": Money(2_706_250, "USD")}, due=at.replace(year=at.year + 1), created_at=at, known_from=at, cause=shown.id,
    )  # fmt: skip
    item = Observation(
        id=ITEM, rule="credit-in-erp", key="erp/9", document="CN-2026-9", version=1, system="erp",
        legs={"gross": Money(1_234_500, "USD")}, event=shown.id, owner="controller", since=at, at=at,
    )  # fmt: skip
    todo = ("receipt", str(number))
    await store.apply(
        Admit(todo=todo, events=(shown,), foils=(foil,), observations=(item,), at=at, actor="t")
    )


async def _turn(store: SqlStore, at: datetime) -> None:
    loaded = await store.load(RUN)
    assert loaded is not None
    approval = Approval(
        id=APPROVAL, run=RUN, path="approval", policy="service-credit", subject="0" * 64, covers=wire.dumps({"to": "x"}),
        amount=Money(25_000, "USD"), roles=("support-lead",), quorum=1, requester="ava", expires=at.replace(year=at.year + 1),
        created_at=at,
    )  # fmt: skip
    turned = await store.apply(
        Turn(
            run=RUN, version=loaded.run.version, at=at, status=RunStatus.WAITING, direction=loaded.run.direction,
            state="eligible", due=None, consumed=loaded.run.inbox_n, ctx=b"{}", actor="t", approvals=(approval,),
        )
    )  # fmt: skip
    assert turned.verdict == "done"


async def _table(company: Company, *words: str) -> str:
    """Return what a command prints for a person."""
    own = {"COUNTERFOIL_URL": company.url, "COUNTERFOIL_TOKEN": company.tokens["fay"]}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "counterfoil.cli.main",
        *words,
        env=os.environ | own,
        stdout=asyncio.subprocess.PIPE,
    )
    output, _ = await process.communicate()
    return output.decode()


def _in_order(text: str, *parts: str) -> bool:
    places = [text.find(part) for part in parts]
    return -1 not in places and places == sorted(places)


async def test_names_come_before_ids_everywhere(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        await _fill(company.app.store)
        async with httpx2.AsyncClient(
            base_url=company.url, headers=company.bearer("fay"), trust_env=False
        ) as http:
            (run,) = (await http.get("/v1/runs", params={"key": KEY})).json()["items"]
            assert (run["name"], run["customer"]) == ("CN-77", "Initech Software")
            case = (await http.get("/v1/cases/case_names")).json()
            assert (case["name"], case["customer"], case["count"]) == ("CN-77", "Initech Software", 3)
            delivery, event = [
                (await http.get(f"/v1/cases/case_{about}")).json() for about in ("delivery", "event")
            ]
            assert (delivery["name"], event["name"]) == ("names", "Search was down")
            approval = (await http.get(f"/v1/approvals/{APPROVAL}")).json()
            assert list(approval["about"].items()) == [
                ("customer", "Initech Software"), ("credit", "CN-77"), ("invoice", "INV-2026-0042"),
                ("ticket", "T-4711"), ("reason", "Outage of 12 May"),
            ]  # fmt: skip
            assert approval["tier"] == "over 100 USD up to 1,000 USD"
            pages = {path: (await http.get(path, headers={"accept": "text/html"})).text for path in (
                "/runs", f"/runs/{RUN}", "/cases/case_names", "/cases/case_text", "/cases/case_item", "/cases", "/foils",
                f"/foils/{FOIL}", "/unmatched", "/", f"/approvals/{APPROVAL}",
            )}  # fmt: skip
        assert _in_order(pages["/runs"], "Initech Software", "CN-77", KEY)
        assert "<h1>CN-77, Initech Software</h1>" in pages[f"/runs/{RUN}"]
        assert "Initech Software, CN-77: " in pages["/cases/case_names"]
        assert "3 times" in pages["/cases/case_names"]
        card = pages[f"/approvals/{APPROVAL}"]
        assert _in_order(
            card, "Initech Software: service credit", "250.00", "INV-2026-0042", "T-4711", "Outage of 12 May"
        )
        assert "over 100 USD up to 1,000 USD" in card
        _check_matches(pages)
        _check_cases(pages)
        table = next(line for line in (await _table(company, "runs")).splitlines() if "Initech" in line)
        assert _in_order(table, "CN-77", "Initech Software", KEY)
        table = next(line for line in (await _table(company, "cases")).splitlines() if "Initech" in line)
        assert _in_order(table, "CN-77", "Initech Software", "250.00 USD", "3", "case_names")
        assert "ERP refused to post the credit" in table
        assert "unknown_account" not in table
        table = next(line for line in (await _table(company, "foils")).splitlines() if "CN-78" in line)
        assert _in_order(table, "CN-78", "Initech Software", "27,062.50 USD", "credit-in-erp", FOIL[:20])
        table = next(
            line for line in (await _table(company, "unmatched")).splitlines() if "CN-2026-9" in line
        )
        assert _in_order(table, "CN-2026-9", "Initech Software", "12,345.00 USD", "erp", ITEM[:20])
        table = await _table(company, "approvals")
        assert _in_order(
            table, "Initech Software, CN-77, INV-2026-0042", "250.00 USD", "over 100 USD", APPROVAL[:20]
        )


def _check_matches(pages: dict[str, str]) -> None:
    """Counterfoils and unmatched items show customer, number and amount before any id."""
    row = next(row for row in pages["/foils"].split("<tr>") if "CN-78" in row)
    visible = re.sub(r"<a [^>]*>", "", row)
    assert _in_order(visible, "Initech Software", "CN-78", "27,062.50", LONG)
    assert "<h1>Initech Software: credit CN-78</h1>" in pages[f"/foils/{FOIL}"]
    card = next(card for card in pages["/unmatched"].split("<article") if ITEM in card)
    assert _in_order(card, "Initech Software: CN-2026-9", "12,345.00", "erp/9")
    assert "Initech Software, CN-78: 27,062.50 USD (nothing shown yet)" in card
    assert "unmatched items" in pages["/"]
    assert "13,925.00" in pages["/"].replace("\u00a0", " ")
    assert "exception" not in pages["/"].lower()


def _check_cases(pages: dict[str, str]) -> None:
    """A Case says what happened in a sentence. The text of others is behind "Technical text" only."""
    for path in ("/cases/case_names", f"/runs/{RUN}"):
        shown = re.sub(r'(?s)<details class="raw">.*?</details>|<a [^>]*>', "", pages[path])
        assert "ERP refused to post the credit memo by its own rules." in shown
        assert "unknown_account" not in shown.partition("Raw: Run, Release and inbox")[0]
    assert "Technical text" in pages["/cases/case_names"]
    shown = re.sub(r'(?s)<details class="raw">.*?</details>', "", pages["/cases/case_text"])
    assert "The credit CN-78 of 27,062.50 USD interrupted the Run." in shown
    assert LONG not in shown
    card = pages["/cases/case_item"]
    assert "Initech Software: A document of the other system that nothing asserts" in card
    assert "ERP shows CN-2026-9 over 12,345.00 USD. No document of Billing accounts for it." in card
    assert "Find out why erp shows CN-78." in card
