"""The connector of Tryton against the real ERP: what it posts, finds, applies, refuses and sees."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from functools import partial
from typing import Any

import pytest

from counterfoil.connectors.conformance import Samples, conform, failures
from counterfoil.connectors.http import Deadline, Http
from counterfoil.connectors.sdk import (
    Absent,
    BulkConnector,
    Confirmed,
    Connector,
    Delivery,
    ListingConnector,
    Outcome,
    Rejected,
    Request,
    SystemConfig,
    Unknown,
)
from counterfoil.connectors.tryton import connect
from counterfoil.connectors.tryton.rest import Rest
from counterfoil.connectors.tryton.rpc import Rpc
from counterfoil.core.errors import ErrorClass, Misconfigured, Refused, TryAgain, Uncertain
from counterfoil.core.wire import dumps
from counterfoil.demo.erp.client import ErpClient
from counterfoil.demo.proxy import Proxy
from tests.contract.trial_tryton import (
    TIMEOUT,
    changes,
    conforms,
    customer,
    document,
    done,
    fresh,
    invoice,
    listed,
    refused,
    request,
)
from tests.erp_system import Erp
from tests.patching import replace_attribute


@pytest.fixture
async def connector(erp: Erp) -> AsyncIterator[Connector]:
    built = connect(erp.config())
    yield built
    await built.close()


@pytest.fixture
async def accountant(erp: Erp) -> AsyncIterator[ErpClient]:
    async with erp.client() as client:
        yield client


def application(credit: dict[str, Any], to: dict[str, Any], amount: str, on: date) -> Request:
    body = {"credit": credit["id"], "invoice": to["id"], "amount": amount, "date": on.isoformat()}
    return request("erp.credit.apply", **body)


async def test_reads_and_feeds_conform(erp: Erp, connector: Connector, accountant: ErpClient) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "3.00", erp.today)

    async def touch() -> None:
        await accountant.write("account.invoice", bill["id"], {"description": fresh("changed")})
        await customer(connector)
        lines = [{"account": "1000", "amount": "1.00"}, {"account": "1050", "amount": "-1.00"}]
        head = {"reference": fresh("po"), "date": erp.today.isoformat(), "currency": "USD"}
        await done(connector, request("erp.payout.post", **head, lines=lines))
        name = f"{erp.today.year - 1}-01"
        await accountant.close_period(name)
        await accountant.reopen_period(name)

    reads: tuple[tuple[str, dict[str, Any]], ...] = (
        ("erp.invoice.get", {"id": bill["id"]}),
        ("erp.party.get", {"id": party}),
        ("erp.period.list", {}),
        ("erp.trial_balance", {}),
        ("erp.account.balance", {"account": "1200"}),
    )
    reading = connect(erp.config())
    reading.operations = {name: spec for name, spec in connector.operations.items() if name in dict(reads)}
    try:
        samples = Samples(connect, erp.config(), {}, reads, touch=touch)
        assert failures(await conform(reading, samples)) == []
    finally:
        await reading.close()


async def test_books_are_listed_as_their_feeds_deliver_them(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "30.00", erp.today)
    memo = await invoice(connector, party, "-10.00", erp.today)
    await done(connector, application(memo, bill, "10.00", erp.today))
    for book in ("invoices", "parties", "periods"):
        polled = {each.ext_id: each for each in (await changes(connector, book, None))[0]}
        found = await listed(connector, book, 50)
        assert {each.ext_id: each for each in found} == polled
        assert [each.body["id"] for each in found] == sorted(each.body["id"] for each in found)
    applied = {each.body["id"]: each.body["applied"] for each in await listed(connector, "invoices", 50)}
    assert (applied[bill["id"]], applied[memo["id"]]) == (Decimal(10), Decimal(-10))


async def test_changes_between_pages_hide_no_document(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    assert isinstance(connector, ListingConnector)
    party = await customer(connector)
    steady = {(await invoice(connector, party, f"{n}.00", erp.today))["id"] for n in range(1, 5)}
    changed = await invoice(connector, party, "9.00", erp.today)
    found: list[Delivery] = []
    cursor, more = None, True
    while more:
        page = await connector.list_book("invoices", cursor, 3, TIMEOUT)
        found += page.deliveries
        cursor, more = page.cursor, page.more
        await accountant.write("account.invoice", changed["id"], {"description": fresh("changed")})
        if len(found) < 9:
            await invoice(connector, party, "1.00", erp.today)
    ids = [each.body["id"] for each in found]
    assert steady | {changed["id"]} <= set(ids)
    assert len(set(ids)) == len(ids)


async def all_made(accountant: ErpClient, asked: Request) -> int:
    """How many objects the ERP itself shows for a request."""
    if asked.operation == "erp.credit.apply":
        described = [["description", "like", f"%[{asked.key}]"]]
        return len(await accountant.search("account.move", described, ["id"]))
    body = json.loads(asked.body)
    if asked.operation == "erp.party.upsert":
        return len(await accountant.parties(body["code"]))
    return len(await accountant.invoices(body["reference"]))


async def test_posting_invoices_alone_and_in_bulk_conforms(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    party = await customer(connector)
    samples = (lambda: document(party, "10.00", erp.today), lambda: document(999_999, "10.00", erp.today))
    same = ("id", "number", "total")
    in_bulk = connect(erp.config(bulk=True))
    assert in_bulk.operations["erp.invoice.post"].bulk > 1
    await conforms(
        in_bulk, erp.config(bulk=True), partial(all_made, accountant), "erp.invoice.post", samples, same
    )
    await in_bulk.close()


async def test_upserting_parties_conforms(erp: Erp, connector: Connector, accountant: ErpClient) -> None:
    samples = (
        lambda: {"code": fresh("cus"), "name": "Initech", "country": "US", "tax_id": "12-34"},
        lambda: {"code": fresh("cus"), "name": "Nowhere", "country": "ZZ"},
    )
    await conforms(
        connector, erp.config(), partial(all_made, accountant), "erp.party.upsert", samples, ("id", "code")
    )


async def test_applying_credits_conforms(erp: Erp, connector: Connector, accountant: ErpClient) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "1000.00", erp.today)
    memo = await invoice(connector, party, "-900.00", erp.today)

    def some(amount: str) -> Callable[[], Any]:
        return lambda: json.loads(application(memo, bill, amount, erp.today).body)

    same = ("invoice", "credit", "applied", "move")
    samples = (some("1.25"), some("900.01"))
    await conforms(connector, erp.config(), partial(all_made, accountant), "erp.credit.apply", samples, same)


async def test_posted_invoice_reads_back_with_its_amounts_dates_and_period(
    erp: Erp, connector: Connector
) -> None:
    party = await customer(connector)
    line = {"description": "Seats", "quantity": "3", "unit_price": "33.33", "account": "4000"}
    asked = document(
        party, "1.00", erp.today, lines=[line | {"taxes": [{"code": "STANDARD"}]}], total="119.99"
    )
    posted = await done(connector, request("erp.invoice.post", **asked))
    assert (posted["untaxed"], posted["tax"], posted["total"]) == (
        Decimal("99.99"),
        Decimal("20.00"),
        Decimal("119.99"),
    )
    assert posted["number"].startswith(f"INV-{erp.today.year}-")
    assert posted["posting_date"] == posted["invoice_date"] == erp.today.isoformat()
    assert posted["period"] == f"{erp.today:%Y-%m}"
    assert posted["amount_to_pay"] == Decimal("119.99")
    assert await connector.read("erp.invoice.get", {"reference": asked["reference"]}, TIMEOUT) == posted


async def test_manual_tax_keeps_the_cents_of_billing(erp: Erp, connector: Connector) -> None:
    tax = {"account": "2200", "base": "99.99", "amount": "8.24", "description": "NY"}
    asked = document(await customer(connector), "99.99", erp.today, manual_taxes=[tax])
    posted = await done(connector, request("erp.invoice.post", **asked))
    assert (posted["tax"], posted["total"]) == (Decimal("8.24"), Decimal("108.23"))


async def test_stored_form_of_dates_and_amounts_is_understood(erp: Erp, connector: Connector) -> None:
    asked = document(await customer(connector), "7.00", erp.today, invoice_date=erp.today)
    asked["lines"][0]["unit_price"] = Decimal("7.10")
    outcome = await connector.send(Request("erp.invoice.post", fresh("key"), dumps(asked)), TIMEOUT)
    assert isinstance(outcome, Confirmed)
    assert outcome.result["total"] == Decimal("7.10")


async def test_total_other_than_expected_is_refused_and_leaves_nothing(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    asked = document(await customer(connector), "10.00", erp.today, total="10.01")
    outcome = await refused(connector, request("erp.invoice.post", **asked))
    assert (outcome.error_class, outcome.code) == (ErrorClass.INVALID, "total_mismatch")
    assert await accountant.invoices(asked["reference"]) == []


async def test_posting_twice_gives_one_document(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    asked = request("erp.invoice.post", **document(await customer(connector), "10.00", erp.today))
    first = await done(connector, asked)
    again = await refused(connector, asked)
    assert (again.error_class, again.code) == (ErrorClass.ALREADY_DONE, "posted")
    assert await connector.find(asked, TIMEOUT) == Confirmed(first)
    assert await all_made(accountant, asked) == 1


@pytest.mark.parametrize(
    ("lost", "left"),
    [
        pytest.param(b"POST /erp/rest/model/account.invoice HTTP", "draft", id="creating"),
        pytest.param(b"/post HTTP", "posted", id="posting"),
    ],
)
async def test_lost_answer_is_unknown_and_the_look_up_tells(
    erp: Erp, connector: Connector, accountant: ErpClient, lost: bytes, left: str
) -> None:
    asked = request("erp.invoice.post", **document(await customer(connector), "10.00", erp.today))
    async with Proxy(erp.port) as proxy:
        through = connect(erp.config(proxy.url))
        proxy.lose_next_answer(lost)
        assert isinstance(await through.send(asked, TIMEOUT), Unknown)
        await proxy.until_lost(1)
        finding = await through.find(asked, TIMEOUT)
        await through.close()
    if left == "draft":
        assert isinstance(finding, Rejected)
        assert finding.error_class is ErrorClass.TRANSIENT
        await done(connector, asked)
        finding = await connector.find(asked, TIMEOUT)
    assert isinstance(finding, Confirmed)
    assert finding.result["state"] == "posted"
    assert await all_made(accountant, asked) == 1


async def many(connector: Connector, *asked: Request) -> list[Outcome]:
    assert isinstance(connector, BulkConnector)
    return list(await connector.send_many(asked, TIMEOUT))


async def test_refused_batch_of_the_erp_leaves_nothing_and_then_the_wrong_one_falls_alone(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    party = await customer(connector)
    bodies = [document(party, "-10.00", erp.today) for _ in range(4)]
    bodies[2]["total"] = "-10.01"
    config = erp.config(bulk=True)
    http, login = Http.of(config), config.settings["login"]
    rpc = Rpc(http, "erp", login, config.secrets["password"], {"company": 1, "language": "en"})

    class Watched(Rpc):
        async def press(self, model: str, button: str, numbers: Sequence[int], by: Deadline) -> None:
            try:
                await rpc.press(model, button, numbers, by)
            except Refused:
                # Why a refusal may be followed by another try at once: nothing of the batch is there.
                there = await accountant.search("account.invoice", [["id", "in", numbers]], ["state", "move"])
                refused_batches.append([(each["state"], each["move"]) for each in there])
                raise

    refused_batches: list[list[tuple[str, Any]]] = []
    in_bulk = connect(config)
    replace_attribute(in_bulk._batches, "_rpc", Watched(http, "erp", login, "", {}))  # type: ignore[attr-defined]
    outcomes = await many(in_bulk, *(request("erp.credit_memo.post", **body) for body in bodies))
    await in_bulk.close()
    await http.close()
    assert refused_batches == [[("draft", None)] * 4, [("draft", None)] * 2]
    assert [type(outcome) for outcome in outcomes] == [Confirmed, Confirmed, Rejected, Confirmed]
    assert isinstance(outcomes[2], Rejected)
    assert outcomes[2].code == "total_mismatch"
    left = [await accountant.invoices(body["reference"]) for body in bodies]
    assert [[(each["state"], each["total_amount"]) for each in there] for there in left] == [
        [("posted", Decimal("-10.00"))],
        [("posted", Decimal("-10.00"))],
        [],
        [("posted", Decimal("-10.00"))],
    ]


async def test_batch_finds_what_is_there_and_one_reference_is_one_document(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    party = await customer(connector)
    posted, draft_only, new, other = (document(party, "10.00", erp.today) for _ in range(4))
    await done(connector, request("erp.invoice.post", **posted))
    async with Proxy(erp.port) as proxy:
        through = connect(erp.config(proxy.url))
        proxy.lose_next_answer(b"POST /erp/rest/model/account.invoice HTTP")
        await through.send(request("erp.invoice.post", **draft_only), TIMEOUT)
        await through.close()
    in_bulk = connect(erp.config(bulk=True))
    asked = [request("erp.invoice.post", **body) for body in (posted, draft_only, new, other, new)]
    outcomes = await many(in_bulk, *asked)
    assert [type(outcome) for outcome in outcomes] == [Rejected, *[Confirmed] * 3, Rejected]
    for outcome in (outcomes[0], outcomes[-1]):
        assert isinstance(outcome, Rejected)
        assert (outcome.error_class, outcome.code) == (ErrorClass.ALREADY_DONE, "posted")
    assert [await in_bulk.find(each, TIMEOUT) for each in asked[1:4]] == outcomes[1:4]
    await in_bulk.close()
    assert [await all_made(accountant, each) for each in asked] == [1] * 5


async def test_refused_password_posts_one_by_one_and_is_not_tried_again(
    erp: Erp, connector: Connector, caplog: pytest.LogCaptureFixture
) -> None:
    config = erp.config(bulk=True)
    secrets = {**config.secrets, "password": "a former one"}
    async with Proxy(erp.port) as proxy:
        shut_out = connect(replace(config, url=proxy.url, secrets=secrets))
        party = await customer(connector)
        bodies = [document(party, "10.00", erp.today) for _ in range(4)]
        asked = [request("erp.invoice.post", **body) for body in bodies]
        outcomes = await many(shut_out, *asked[:2])
        assert "posted one at a time" in caplog.text
        proxy.lose_next_answer(b"POST /erp/rpc/")
        outcomes += await many(shut_out, *asked[2:])
        assert proxy.counts.lost == 0
        with pytest.raises(TryAgain):
            await shut_out.check(TIMEOUT)
        assert proxy.counts.lost == 1
        with pytest.raises(Misconfigured, match="orchestrator"):
            await shut_out.check(TIMEOUT)
        await shut_out.close()
    assert [type(outcome) for outcome in outcomes] == [Confirmed] * 4


async def test_closed_period_is_refused_and_posts_once_reopened(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    first_of_year = date(erp.today.year - 1, 3, 15)
    asked = document(
        await customer(connector), "10.00", first_of_year, accept_warnings=["invoice_payment_term"]
    )
    name = f"{first_of_year:%Y-%m}"
    await accountant.close_period(name)
    try:
        outcome = await refused(connector, request("erp.invoice.post", **asked))
        assert (outcome.error_class, outcome.code) == (ErrorClass.PERIOD_CLOSED, name)
        assert await accountant.invoices(asked["reference"]) == []
        states = await connector.read("erp.period.list", {"from": f"{name}-01", "to": f"{name}-31"}, TIMEOUT)
        assert [(period["name"], period["state"]) for period in states] == [(name, "closed")]
    finally:
        await accountant.reopen_period(name)
    posted = await done(connector, request("erp.invoice.post", **asked))
    assert posted["period"] == name


async def test_journal_left_closed_in_a_reopened_period_is_a_closed_period(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    day = date(erp.today.year - 1, 7, 15)
    party = await customer(connector)
    before = document(party, "10.00", day, accept_warnings=["invoice_payment_term"])
    await done(connector, request("erp.invoice.post", **before))
    name = f"{day:%Y-%m}"
    await accountant.close_period(name)
    (period,) = await accountant.search("account.period", [["name", "=", name]], ["id"])
    await accountant.act("account.period", period["id"], "reopen")
    asked = document(party, "12.00", day, accept_warnings=["invoice_payment_term"])
    outcome = await refused(connector, request("erp.invoice.post", **asked))
    assert (outcome.error_class, outcome.code) == (ErrorClass.PERIOD_CLOSED, name)
    assert await accountant.invoices(asked["reference"]) == []
    await accountant.close_period(name)
    await accountant.reopen_period(name)
    assert (await done(connector, request("erp.invoice.post", **asked)))["period"] == name


async def test_refused_document_may_move_to_another_posting_date(erp: Erp, connector: Connector) -> None:
    late = date(erp.today.year - 1, 7, 20)  # after whatever other tests number in that year
    asked = document(await customer(connector), "10.00", late)
    outcome = await refused(connector, request("erp.invoice.post", **asked))
    assert (outcome.error_class, outcome.code) == (ErrorClass.WARNING, "invoice_payment_term")
    moved = asked | {"accounting_date": erp.today.isoformat(), "invoice_date": erp.today.isoformat()}
    posted = await done(connector, request("erp.invoice.post", **moved))
    assert posted["posting_date"] == erp.today.isoformat()


async def test_draft_of_an_earlier_request_is_brought_up_to_date(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    party = await customer(connector)
    asked = document(party, "10.00", erp.today)
    async with Proxy(erp.port) as proxy:
        through = connect(erp.config(proxy.url))
        proxy.lose_next_answer(b"POST /erp/rest/model/account.invoice HTTP")
        await through.send(request("erp.invoice.post", **asked), TIMEOUT)
        await through.close()
    tax = {"account": "2200", "base": "12.00", "amount": "0.99"}
    other = document(party, "12.00", erp.today, reference=asked["reference"], manual_taxes=[tax])
    posted = await done(connector, request("erp.invoice.post", **other))
    assert posted["total"] == Decimal("12.99")
    assert len(await accountant.invoices(asked["reference"])) == 1


async def test_document_dated_before_a_numbered_one_has_a_code_of_its_own(
    erp: Erp, connector: Connector
) -> None:
    party = await customer(connector)
    later = date(erp.today.year + 1, 1, 20)
    accepting = {"accept_warnings": ["invoice_date_future"]}
    await invoice(connector, party, "5.00", later, **accepting)
    early = document(party, "5.00", later - timedelta(days=1), **accepting)
    outcome = await refused(connector, request("erp.invoice.post", **early))
    assert (outcome.error_class, outcome.code) == (ErrorClass.INVALID, "document_date_too_early")


async def test_late_document_may_have_the_date_of_the_last_number_and_is_booked_on_its_own_day(
    erp: Erp,
) -> None:
    config = erp.config()
    lenient = connect(replace(config, settings={**config.settings, "late_documents": "last_number"}))
    party = await customer(lenient)
    later = date(erp.today.year + 1, 2, 20)
    day = later - timedelta(days=30)
    accepting = {"accept_warnings": ["invoice_date_future"]}
    for minor in ("5.00", "-5.00"):  # invoices and credit memos have numbers of their own
        operation = "erp.invoice.post" if minor > "0" else "erp.credit_memo.post"
        await done(lenient, request(operation, **document(party, minor, later, **accepting)))
        posted = await done(lenient, request(operation, **document(party, minor, day, **accepting)))
        assert (posted["invoice_date"], posted["posting_date"]) == (later.isoformat(), day.isoformat())
    euros = document(party, "5.00", day, currency="EUR", **accepting)
    outcome = await refused(lenient, request("erp.invoice.post", **euros))
    assert (outcome.error_class, outcome.code) == (ErrorClass.INVALID, "document_date_too_early")
    await lenient.close()


async def test_default_tax_warning_is_answered_only_when_accepted(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    asked = document(await customer(connector), "25.00", erp.today)
    asked["lines"][0]["product"] = "SEAT"
    outcome = await refused(connector, request("erp.invoice.post", **asked))
    assert (outcome.error_class, outcome.code) == (ErrorClass.WARNING, "invoice_taxes")
    assert await accountant.invoices(asked["reference"]) == []
    accepting = asked | {"accept_warnings": ["invoice_taxes"]}
    assert (await done(connector, request("erp.invoice.post", **accepting)))["state"] == "posted"


async def test_price_finer_than_the_erp_keeps_is_refused(erp: Erp, connector: Connector) -> None:
    asked = document(await customer(connector), "0.00004", erp.today)
    outcome = await refused(connector, request("erp.invoice.post", **asked))
    assert (outcome.error_class, outcome.code) == (ErrorClass.INVALID, "too_many_digits")


async def test_invoice_of_a_credit_memo_sign_is_refused(erp: Erp, connector: Connector) -> None:
    party = await customer(connector)
    for operation, amount in (("erp.invoice.post", "-5.00"), ("erp.credit_memo.post", "5.00")):
        outcome = await refused(connector, request(operation, **document(party, amount, erp.today)))
        assert outcome.code == "sign"


async def test_several_documents_of_one_reference_are_left_to_a_person(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    asked = request("erp.invoice.post", **document(await customer(connector), "10.00", erp.today))
    await done(connector, asked)
    other = await invoice(connector, await customer(connector), "11.00", erp.today)
    await accountant.write("account.invoice", other["id"], {"reference": json.loads(asked.body)["reference"]})
    assert isinstance(await connector.find(asked, TIMEOUT), Unknown)
    assert (await refused(connector, asked)).code == "duplicate_reference"


async def test_key_without_rights_is_unauthorized(erp: Erp, connector: Connector) -> None:
    asked = document(await customer(connector), "10.00", erp.today)
    reader = connect(erp.config(person="reader"))
    outcome = await refused(reader, request("erp.invoice.post", **asked))
    await reader.close()
    assert outcome.error_class is ErrorClass.UNAUTHORIZED


async def test_wrong_key_is_a_matter_of_configuration(erp: Erp) -> None:
    config = erp.config()
    stranger = connect(SystemConfig("erp", config.url, settings=config.settings, secrets={"key": "guess"}))
    with pytest.raises(Misconfigured):
        await stranger.check(TIMEOUT)
    with pytest.raises(Misconfigured):
        await stranger.poll("invoices", None, 10, TIMEOUT)
    await stranger.close()


def test_missing_and_unknown_settings_are_named(erp: Erp) -> None:
    config = erp.config()
    with pytest.raises(Misconfigured, match="receivable"):
        connect(
            SystemConfig(
                "erp",
                config.url,
                settings={"database": "erp", "company": 1, "payment_term": "x"},
                secrets=config.secrets,
            )
        )
    with pytest.raises(Misconfigured, match="color"):
        connect(
            SystemConfig(
                "erp", config.url, settings={**config.settings, "color": "red"}, secrets=config.secrets
            )
        )
    with pytest.raises(Misconfigured, match="key"):
        connect(SystemConfig("erp", config.url, settings=config.settings))
    with pytest.raises(Misconfigured, match="password"):
        connect(replace(config, settings={**config.settings, "login": "orchestrator"}))


async def test_party_is_updated_in_place(erp: Erp, connector: Connector, accountant: ErpClient) -> None:
    code = fresh("cus")
    first = request("erp.party.upsert", code=code, name="Hooli", city="Palo Alto", tax_id="1")
    created = await done(connector, first)
    changed = request(
        "erp.party.upsert", code=code, name="Hooli Inc.", street="2 Loop", country="US", tax_id="2"
    )
    finding = await connector.find(changed, TIMEOUT)
    assert isinstance(finding, Rejected)
    assert finding.error_class is ErrorClass.TRANSIENT
    after = await done(connector, changed)
    new = {"name": "Hooli Inc.", "street": "2 Loop", "country": "US", "tax_id": "2"}
    assert after == created | new | {"version": after["version"]}
    assert after["version"] > created["version"]
    assert await connector.read("erp.party.get", {"code": code}, TIMEOUT) == after
    assert len(await accountant.parties(code)) == 1


async def test_books_agree_after_invoice_credit_and_application(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    before = await accountant.trial_balance()
    party = await customer(connector)
    tax = {"account": "2200", "base": "-50.00", "amount": "-4.13"}
    bill = await invoice(connector, party, "300.00", erp.today)
    memo = await invoice(connector, party, "-50.00", erp.today, manual_taxes=[tax])
    posted = await accountant.trial_balance()
    asked = application(memo, bill, "54.13", erp.today)
    applied = await done(connector, asked)

    assert (applied["amount_to_pay_before"], applied["amount_to_pay_after"]) == (
        Decimal("300.00"),
        Decimal("245.87"),
    )
    assert (applied["credit_open"], applied["credit_state"], applied["invoice_state"]) == (
        0,
        "paid",
        "posted",
    )
    assert await connector.find(asked, TIMEOUT) == Confirmed(applied)

    # Applying moves nothing in the books; posting moved what the documents say.
    assert await accountant.trial_balance() == posted
    moved = {code: posted[code] - before.get(code, Decimal(0)) for code in posted}
    assert {code: amount for code, amount in moved.items() if amount} == {
        "1200": Decimal("245.87"),
        "2200": Decimal("4.13"),
        "4000": Decimal("-300.00"),
        "4800": Decimal("50.00"),
    }
    year_end = date(erp.today.year, 12, 31)
    balance = await connector.read("erp.trial_balance", {"as_of": year_end.isoformat()}, TIMEOUT)
    balances = {row["account"]: row["balance"] for row in balance["accounts"] if row["balance"]}
    assert sum(balances.values()) == 0
    by_lines = await accountant.trial_balance(year_end)
    assert balances == {code: amount for code, amount in by_lines.items() if amount}
    for day in (year_end, erp.today - timedelta(days=1)):
        request = {"account": "1200", "as_of": day.isoformat()}
        answer = await connector.read("erp.account.balance", request, TIMEOUT)
        in_dollars = [
            ["account.code", "=", "1200"],
            ["move.date", "<=", day],
            ["move.state", "=", "posted"],
            ["second_currency", "=", None],
        ]
        lines = await accountant.search("account.move.line", in_dollars, ["debit", "credit"])
        amounts = {each["currency"]: each["amount"] for each in answer["balances"]}
        assert amounts["USD"] == sum(line["debit"] - line["credit"] for line in lines)
    with pytest.raises(Refused, match="no accounts have the code '9999'"):
        await connector.read("erp.account.balance", {"account": "9999"}, TIMEOUT)


async def test_part_of_a_credit_leaves_both_open_by_the_rest(erp: Erp, connector: Connector) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "30.00", erp.today)
    memo = await invoice(connector, party, "-50.00", erp.today)
    first = await done(connector, application(memo, bill, "10.00", erp.today))
    assert (first["amount_to_pay_after"], first["credit_open"]) == (Decimal("20.00"), Decimal("-40.00"))
    rest = await done(connector, application(memo, bill, "20.00", erp.today))
    assert (rest["amount_to_pay_after"], rest["invoice_state"]) == (0, "paid")
    assert (rest["credit_open"], rest["credit_state"]) == (Decimal("-20.00"), "posted")
    paid = await connector.read("erp.invoice.get", {"id": bill["id"]}, TIMEOUT)
    assert (paid["state"], paid["applied"]) == ("paid", Decimal("30.00"))
    assert sorted(part["amount"] for part in paid["allocations"]) == [Decimal("10.00"), Decimal("20.00")]


async def test_foreign_credit_of_another_rate_books_the_realised_difference(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    """Both documents settle at what they are in the books. The last part takes the rest, whatever was rounded before."""
    party = await customer(connector)
    # A year ago no memo has a number yet, and half a year apart the rates differ.
    earlier = date(erp.today.year - 1, (erp.today.month + 5) % 12 + 1, 15)
    bill = await invoice(connector, party, "100.01", erp.today, currency="EUR")
    past = {"currency": "EUR", "accept_warnings": ["invoice_payment_term"]}
    memo = await invoice(connector, party, "-66.66", earlier, **past)
    before = await accountant.trial_balance()
    first = await done(connector, application(memo, bill, "33.33", erp.today))
    second = await done(connector, application(memo, bill, "33.33", erp.today))
    assert (second["amount_to_pay_after"], second["credit_open"]) == (Decimal("33.35"), 0)
    assert second["credit_state"] == "paid"
    of_bill, of_memo = (each["functional"]["total"] for each in (bill, memo))
    cent = Decimal("0.01")
    settled = [(of_bill * Decimal("33.33") / Decimal("100.01")).quantize(cent) for _ in range(2)]
    half = (-of_memo / 2).quantize(cent)
    differences = [settled[0] - half, settled[1] - (-of_memo - half)]
    assert [first["exchange_difference"], second["exchange_difference"]] == differences
    assert all(differences)
    after = await accountant.trial_balance()
    moved = {code: after[code] - before.get(code, Decimal(0)) for code in after}
    assert {code: amount for code, amount in moved.items() if amount} == {
        "7900": sum(differences),
        "1200": -sum(differences),
    }
    assert await connector.find(application(memo, bill, "33.33", erp.today), TIMEOUT) == Absent()


async def test_more_than_is_open_is_refused_and_changes_nothing(erp: Erp, connector: Connector) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "30.00", erp.today)
    memo = await invoice(connector, party, "-50.00", erp.today)
    asked = application(memo, bill, "30.01", erp.today)
    assert (await refused(connector, asked)).code == "amount_exceeds_open"
    assert await connector.find(asked, TIMEOUT) == Absent()
    stranger = await invoice(connector, await customer(connector), "90.00", erp.today)
    assert (await refused(connector, application(memo, stranger, "1.00", erp.today))).code == "other_party"
    assert (await refused(connector, application(bill, stranger, "1.00", erp.today))).code == "no_credit_memo"


async def test_application_in_a_closed_period_is_refused(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "30.00", erp.today)
    memo = await invoice(connector, party, "-30.00", erp.today)
    name = f"{erp.today.year - 1}-02"
    await accountant.close_period(name)
    try:
        outcome = await refused(connector, application(memo, bill, "30.00", date(erp.today.year - 1, 2, 3)))
    finally:
        await accountant.reopen_period(name)
    assert (outcome.error_class, outcome.code) == (ErrorClass.PERIOD_CLOSED, name)


@pytest.mark.parametrize(
    "lost",
    [
        pytest.param(b"POST /erp/rest/model/account.move HTTP", id="entering"),
        pytest.param(b"/post HTTP", id="posting"),
        pytest.param(b"POST /erp/rest/model/account.move.reconciliation HTTP", id="reconciling"),
    ],
)
async def test_interrupted_application_is_finished_by_the_same_request(
    erp: Erp, connector: Connector, accountant: ErpClient, lost: bytes
) -> None:
    party = await customer(connector)
    bill = await invoice(connector, party, "30.00", erp.today)
    memo = await invoice(connector, party, "-30.00", erp.today)
    asked = application(memo, bill, "30.00", erp.today)
    async with Proxy(erp.port) as proxy:
        through = connect(erp.config(proxy.url))
        proxy.lose_next_answer(lost)
        assert isinstance(await through.send(asked, TIMEOUT), Unknown)
        assert proxy.counts.lost == 1
        finding = await through.find(asked, TIMEOUT)
        await through.close()
    assert isinstance(finding, Rejected)
    assert finding.error_class is ErrorClass.TRANSIENT
    finished = await done(connector, asked)
    assert (finished["invoice_state"], finished["credit_state"]) == ("paid", "paid")
    assert await all_made(accountant, asked) == 1
    assert (await refused(connector, asked)).error_class is ErrorClass.ALREADY_DONE


async def test_debit_memo_undoes_a_credit_memo(erp: Erp, connector: Connector) -> None:
    party = await customer(connector)
    memo = await invoice(connector, party, "-50.00", erp.today)
    undo = document(party, "50.00", erp.today, reference=fresh("debit"))
    undo["lines"][0]["account"] = "4800"
    debit = await done(connector, request("erp.debit_memo.post", **undo))
    assert debit["total"] == -memo["total"]
    applied = await done(connector, application(memo, debit, "50.00", erp.today))
    assert (applied["invoice_state"], applied["credit_state"]) == ("paid", "paid")


async def test_feed_shows_every_version_once(erp: Erp, connector: Connector) -> None:
    _, cursor = await changes(connector, "invoices", None)
    party = await customer(connector)
    bill = await invoice(connector, party, "80.00", erp.today)
    memo = await invoice(connector, party, "-30.00", erp.today)
    delivered, cursor = await changes(connector, "invoices", cursor)
    assert {(each.type, each.body["id"]) for each in delivered} == {
        ("invoice", bill["id"]),
        ("credit_memo", memo["id"]),
    }
    await done(connector, application(memo, bill, "30.00", erp.today))
    later, cursor = await changes(connector, "invoices", cursor)
    latest = {each.body["id"]: each.body for each in later}
    assert (latest[bill["id"]]["amount_to_pay"], latest[bill["id"]]["applied"]) == (50, 30)
    assert (latest[memo["id"]]["amount_to_pay"], latest[memo["id"]]["state"]) == (0, "paid")
    everything = [*delivered, *later]
    assert len({each.ext_id for each in everything}) == len(everything)
    assert len({each.identity for each in everything}) == len(everything)
    assert await changes(connector, "invoices", cursor) == ([], cursor)


async def test_feed_shows_a_change_that_was_committed_late(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    """A slow transaction carries an earlier time than what a poll has already seen."""
    party = await customer(connector)
    slow = await invoice(connector, party, "1.00", erp.today)
    await invoice(connector, party, "2.00", erp.today)
    _, cursor = await changes(connector, "invoices", None)
    latest = json.loads(cursor)
    # As if the poll had come before the slow document was committed: newer ones are known, this one is not.
    del latest["seen"][str(slow["id"])]
    again, _ = await changes(connector, "invoices", json.dumps(latest))
    assert [each.body["id"] for each in again] == [slow["id"]]


async def test_feed_of_periods_shows_closing_and_reopening(
    erp: Erp, connector: Connector, accountant: ErpClient
) -> None:
    _, cursor = await changes(connector, "periods", None)
    name = f"{erp.today.year - 1}-04"
    for turn, state in ((accountant.close_period, "closed"), (accountant.reopen_period, "open")):
        await turn(name)
        delivered, cursor = await changes(connector, "periods", cursor)
        assert [(each.body["name"], each.body["state"]) for each in delivered] == [(name, state)]
        assert isinstance(delivered[0].occurred_at, datetime)
        assert abs(datetime.now(UTC) - delivered[0].occurred_at) < timedelta(minutes=1)


async def test_look_up_does_not_take_an_empty_answer_of_something_else_for_absent(
    erp: Erp, connector: Connector
) -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n[]")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    asked = request("erp.invoice.post", **document(1, "10.00", erp.today))
    fooled = connect(erp.config(f"http://127.0.0.1:{port}"))
    async with server:
        assert isinstance(await fooled.find(asked, TIMEOUT), Unknown)
    await fooled.close()
    assert await connector.find(asked, TIMEOUT) == Absent()


async def test_page_for_any_unexpected_error_proves_nothing(erp: Erp) -> None:
    """The ERP answers a fault of its own, here an unknown field, with status 400 as if the caller were wrong."""
    config = erp.config()
    http = Http.of(config)
    rest = Rest(http, config.settings["database"], config.secrets["key"])
    with pytest.raises(Uncertain, match="Unable to get RPC method"):
        await rest.create("party.party", {"no_such_field": 1}, Deadline(TIMEOUT))
    await http.close()


async def test_an_unreachable_erp_is_try_again(erp: Erp) -> None:
    async with Proxy(erp.port) as proxy:
        url = proxy.url
    lost = connect(erp.config(url))
    with pytest.raises(TryAgain):
        await lost.check(2)
    asked = request("erp.invoice.post", **document(1, "10.00", erp.today))
    outcome = await lost.send(asked, 2)
    assert isinstance(outcome, Rejected)
    assert outcome.error_class is ErrorClass.TRANSIENT
    await lost.close()


def test_deliveries_are_refused_with_the_reason(erp: Erp) -> None:
    with pytest.raises(Refused, match="Poll its feeds") as caught:
        connect(erp.config()).receive({}, b"{}", datetime.now(UTC))
    assert caught.value.error_class is ErrorClass.INVALID
