"""Reconciliations against the systems' own books: billing's lists, the ERP's documents and its receivable account.

Persons change both systems behind the server's back: they post twice, take back, cancel, void and enter by hand. The
totals are read from the systems and compared here; the server's own rows prove nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import httpx2
import pytest

from counterfoil.demo.erp.client import ErpClient
from counterfoil.demo.operators import Operator
from counterfoil.store import check
from tests.companies.acme import SOON, Company, company, token_of
from tests.companies.books import CREDITS, DEBITS, INVOICES, OURS, RULES, Books, books, differences
from tests.companies.erp_client import allow_cancellation, rpc
from tests.served import CREDIT, INVOICE, Served, irreversible, served, until

pytestmark = [pytest.mark.xdist_group("books"), pytest.mark.timeout(900)]

GRACE_SECONDS = 3
GRACE = {"reconciliations.yaml": [("grace: +1d", f"grace: +{GRACE_SECONDS}s")]}
BY_HAND = "CR-BY-HAND-1"
"""Reference of a credit memo that was entered in the ERP before billing knew of it."""


@dataclass
class Played:
    """What was seen after each act. `after` and `before` are the totals of the books and of the server."""

    before: tuple[Books, dict[str, Any]]
    after: tuple[Books, dict[str, Any]] | None = None
    as_of: dict[str, Any] = field(default_factory=dict)
    """The roll-forwards of `before`, asked for after everything else."""
    foils: dict[str, dict[str, Any]] = field(default_factory=dict)
    cases: dict[str, dict[str, Any]] = field(default_factory=dict)
    items: dict[str, dict[str, Any]] = field(default_factory=dict)
    ended: dict[str, Any] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


# ------------------------------------------------------------------ persons at work in the systems


class Story:
    """One company with its server, and what persons do in billing and in the ERP."""

    def __init__(self, systems: Company, s: Served, admin: Operator, erp: ErpClient) -> None:
        self.systems, self.s, self.admin, self.erp = systems, s, admin, erp
        self.customers: dict[str, str] = {}
        """By currency: a customer of billing has one."""

    async def forward(self, **query: str) -> dict[str, Any]:
        names = RULES
        return {n: await self.admin.get(f"reconciliations/{n}/roll-forward", **query) for n in names}

    async def seen(self) -> tuple[Books, dict[str, Any]]:
        return await books(self.systems, credits=(*OURS, BY_HAND)), await self.forward()

    async def compare(self) -> tuple[Books, dict[str, Any]]:
        """Wait until the server has seen what the books say. Raises AssertionError with the differences."""
        seen = await self.seen()

        async def look() -> bool:
            nonlocal seen
            seen = await self.seen()
            return not differences(*seen)

        try:
            await until("the same totals", look)
        except AssertionError as error:
            raise AssertionError(
                "\n".join([str(error), *differences(*seen), await self.s.report()])
            ) from error
        return seen

    async def bill(self, minor: int, currency: str = "usd", tax: bool = False) -> str:
        if currency not in self.customers:
            self.customers[currency] = await asyncio.to_thread(self.systems.customer, f"Globex {currency}")
        return await asyncio.to_thread(self.systems.invoice, self.customers[currency], minor, currency, tax)

    async def key_of(self, invoice: str) -> str:
        """Return the canonical id of an invoice of billing."""
        number = (await asyncio.to_thread(self.systems.stripe.invoices.retrieve, invoice)).number
        events = await self.admin.all("events", type="invoice.finalized.v1")
        return next(str(e["data"]["invoice_id"]) for e in events if e["data"]["number"] == number)

    async def foil(self, rule: str, key: str, *states: str) -> dict[str, Any]:
        """Wait until the foil of a key has one of these states."""
        last: list[Any] = []

        async def look() -> dict[str, Any] | None:
            nonlocal last
            last = [f for f in await self.admin.all("foils", key=key) if f["rule"] == rule]
            return next((f for f in last if f["state"] in states), None)

        try:
            return await until(f"{rule} {key} {states}", look)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{last}\n{await self.s.report()}") from error

    async def case(self, state: str, **fields: str) -> dict[str, Any]:
        """Wait for the only Case in a state with these fields."""

        async def look() -> list[dict[str, Any]]:
            cases = await self.admin.all("cases", state=state)
            return [c for c in cases if all(c[name] == value for name, value in fields.items())]

        try:
            cases = await until(f"a {state} Case of {fields}", look)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.s.report()}") from error
        assert len(cases) == 1, cases
        return cases[0]

    async def item(self, document: str) -> dict[str, Any]:
        """Wait until a document is listed as unmatched."""

        async def look() -> list[dict[str, Any]]:
            return [i for i in await self.admin.all("unmatched") if i["document"] == document]

        try:
            items = await until(f"{document} unmatched", look)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{await self.s.report()}") from error
        assert len(items) == 1, items
        return items[0]

    async def until_accounted_for(self, document: str) -> None:
        async def look() -> bool:
            return all(item["document"] != document for item in await self.admin.all("unmatched"))

        await until(f"{document} to leave the list", look)

    async def document(self, reference: str) -> dict[str, Any]:
        (document,) = await self.erp.invoices(reference)
        return document

    async def enter(self, amount: str, currency: str = "USD", reference: str | None = None) -> str:
        """Enter and post a document in the ERP by hand: a credit memo where the amount is negative. Return its number."""
        seed = self.systems.erp_seed
        of_currency = [["currency.code", "=", currency], ["reference", "!=", None]]
        party = (await self.erp.search("account.invoice", of_currency, ["party"]))[0]["party"]
        (address,) = await self.erp.search("party.address", [["party", "=", party]], ["id"])
        (journal,) = await self.erp.search("account.journal", [["code", "=", "REV"]], ["id"])
        value = Decimal(amount)
        currency_id, account = seed["currencies"][currency], seed["accounts"]["4000" if value > 0 else "4800"]
        line = {
            "type": "line", "currency": currency_id, "account": account, "description": "Entered by hand",
            "quantity": 1 if value > 0 else -1, "unit_price": abs(value),
        }  # fmt: skip
        created = await self.erp.create("account.invoice", {
            "type": "out", "company": seed["company"], "party": party, "invoice_address": address["id"],
            "journal": journal["id"], "account": seed["accounts"]["1200"], "currency": currency_id,
            "payment_term": seed["payment_term"]["id"], "reference": reference,
            "invoice_date": self.systems.today, "lines": [["create", [line]]],
        })  # fmt: skip
        await self.erp.act("account.invoice", created["id"], "post")
        return str((await self.erp.get("account.invoice", created["id"], ["number"]))["number"])

    async def rpc(self, method: str, *params: Any, **context: Any) -> Any:
        return await rpc(self.systems, method, *params, **context)

    async def credit_with_refund(self, document: int) -> None:
        """Take an invoice back by the ERP's wizard, which posts a credit memo and cancels the invoice."""
        wizard = "wizard.account.invoice.credit"
        session, _, _ = await self.rpc(f"{wizard}.create")
        about = {"active_model": "account.invoice", "active_id": document, "active_ids": [document]}
        day = self.systems.today
        values = {
            "invoice_date": {"__class__": "date", "year": day.year, "month": day.month, "day": day.day},
            "with_refund": True, "with_refund_allowed": True,
        }  # fmt: skip
        await self.rpc(f"{wizard}.execute", session, {"start": values}, "credit", **about)
        await self.rpc(f"{wizard}.delete", session)

    async def cancel(self, document: int) -> None:
        """Cancel a posted invoice, which the ERP allows after the administrator has set the company so."""
        await allow_cancellation(self.systems)
        await self.erp.act("account.invoice", document, "cancel")

    def as_person(self, person: str) -> Operator:
        return Operator(self.systems.url, token_of(person))


@contextlib.asynccontextmanager
async def telling(systems: Company) -> AsyncIterator[Story]:
    async with (
        served(systems, systems.governance(SOON, GRACE)) as s,
        Operator(systems.url, token_of("admin")) as admin,
        systems.of_erp() as erp,
    ):
        yield Story(systems, s, admin, erp)


async def play(systems: Company) -> Played:
    async with telling(systems) as story:
        names = await _bill_and_credit(story)
        played = Played(before=await story.compare())
        for act in ACTS:
            await act(story, names, played)
        played.after = await story.compare()
        played.as_of = await story.forward(as_of=played.before[1][DEBITS]["as_of"])
        final = irreversible(story.s.app)
        played.problems = await check.check(story.s.app.store, await story.s.app.now(), final)  # type: ignore[arg-type]
        return played


async def _bill_and_credit(story: Story) -> dict[str, str]:
    """Bill seven invoices in two currencies and grant a service credit. Return the canonical ids."""
    billed = {
        "credited": await story.bill(100_000, tax=True),
        "euros": await story.bill(64_000, "eur"),
        "twice": await story.bill(234_567),
        "taken back": await story.bill(148_000),
        "cancelled": await story.bill(7_710),
        "by reference": await story.bill(9_999, "eur"),
        "void": await story.bill(31_040, tax=True),
    }
    await story.s.run_at(INVOICE, "done", len(billed))
    await story.systems.ask_credit(story.customers["usd"], billed["credited"], "50.00", "inc-1")
    (credit,) = await story.s.run_at(CREDIT, "done")
    keys = {name: await story.key_of(id_) for name, id_ in billed.items()}
    return keys | {f"{name} in billing": id_ for name, id_ in billed.items()} | {"credit": credit.bkey}


async def _post_twice(story: Story, names: dict[str, str], played: Played) -> None:
    await story.enter("2345.67", reference=names["twice"])
    foil = played.foils["twice"] = await story.foil(INVOICES, names["twice"], "over")
    played.cases["twice"] = await story.case("open", foil=foil["id"])


async def _take_back(story: Story, names: dict[str, str], played: Played) -> None:
    await story.credit_with_refund((await story.document(names["taken back"]))["id"])
    played.foils["taken back"] = await story.foil(INVOICES, names["taken back"], "open", "broken")


async def _cancel(story: Story, names: dict[str, str], played: Played) -> None:
    await story.cancel((await story.document(names["cancelled"]))["id"])
    played.foils["cancelled"] = await story.foil(INVOICES, names["cancelled"], "open", "broken")


async def _credit_by_reference(story: Story, names: dict[str, str], played: Played) -> None:
    await story.enter("-99.99", "EUR", names["by reference"])
    played.foils["by reference"] = await story.foil(INVOICES, names["by reference"], "open", "broken")


async def _void(story: Story, names: dict[str, str], played: Played) -> None:
    await asyncio.to_thread(story.systems.stripe.invoices.void_invoice, names["void in billing"])
    foil = played.foils["void"] = await story.foil(INVOICES, names["void"], "over")
    played.cases["void"] = await story.case("open", foil=foil["id"])


async def _enter_by_hand(story: Story, names: dict[str, str], played: Played) -> None:
    """Enter two invoices without a reference of ours: one stays, the other replaces the invoice that was taken back."""
    names["stays"] = await story.enter("1234.56")
    names["reissued"] = await story.enter("1480.00")
    for name in ("stays", "reissued"):
        item = await story.item(names[name])
        played.cases[name] = await story.case("open", observation=item["id"])
        played.items[name] = await story.item(names[name])


async def _pair(story: Story, names: dict[str, str], played: Played) -> None:
    foil, item = played.foils["taken back"]["id"], played.items["reissued"]["id"]
    async with story.as_person("fiona") as fiona, story.as_person("carl") as carl:
        asked = await fiona._call(
            "POST", f"unmatched/{item}/pair", {"foil": foil, "note": "reissued by hand"}
        )
        assert asked["verdict"] == "requested", asked
        await carl.decide(asked["approval"], True, "as discussed")
    played.foils["paired"] = await story.foil(INVOICES, names["taken back"], "matched")
    await story.until_accounted_for(names["reissued"])
    played.ended["paired"] = await story.case("resolved", observation=item)


async def _assert_later(story: Story, names: dict[str, str], played: Played) -> None:
    """Enter a credit memo in the ERP whose credit note billing issues only afterwards."""
    number = await story.enter("-33.33", "EUR", BY_HAND)
    item = await story.item(number)
    played.cases["early"] = await story.case("open", observation=item["id"])
    note = {"invoice": names["euros in billing"], "amount": 3_333, "metadata": {"credit_id": BY_HAND}}
    issued = await asyncio.to_thread(story.systems.stripe.credit_notes.create, note)
    names["early in billing"] = issued.id
    played.foils["early"] = await story.foil(CREDITS, BY_HAND, "matched")
    await story.until_accounted_for(number)
    played.ended["early"] = await story.case("resolved", observation=item["id"])


async def _void_credit(story: Story, names: dict[str, str], played: Played) -> None:
    notes = story.systems.stripe.credit_notes
    await asyncio.to_thread(notes.void_credit_note, names["early in billing"])
    foil = played.foils["void credit"] = await story.foil(CREDITS, BY_HAND, "over")
    played.cases["void credit"] = await story.case("open", foil=foil["id"])


async def _name_later(story: Story, names: dict[str, str], played: Played) -> None:
    """Replace a cancelled invoice in the ERP, and write its reference only when it is posted."""
    number = await story.enter("77.10")
    await story.item(number)
    (document,) = await story.erp.search("account.invoice", [["number", "=", number]], ["id"])
    await story.erp.write("account.invoice", document["id"], {"reference": names["cancelled"]})
    played.foils["named later"] = await story.foil(INVOICES, names["cancelled"], "matched")
    await story.until_accounted_for(number)


async def _flag_cancelled(story: Story, names: dict[str, str], played: Played) -> None:
    """Write the state of a posted invoice, as the ERP's REST interface lets an accountant do: its entry stays."""
    (document,) = await story.erp.search("account.invoice", [["number", "=", names["stays"]]], ["id"])
    await story.erp.write("account.invoice", document["id"], {"state": "cancelled"})

    async def seen() -> bool:
        events = await story.admin.all("events", type="erp.invoice_posted.v1")
        return len([e for e in events if e["data"]["erp_number"] == names["stays"]]) == 2

    await until("the written state", seen, 40)
    played.items["flagged"] = await story.item(names["stays"])


async def _settle(story: Story, names: dict[str, str], played: Played) -> None:
    """Pay one invoice in billing and write off another there: both were issued, so both are still asserted."""
    invoices = story.systems.stripe.invoices
    await asyncio.to_thread(invoices.pay, names["credited in billing"], {"paid_out_of_band": True})
    await asyncio.to_thread(invoices.mark_uncollectible, names["euros in billing"])

    async def seen() -> bool:
        changes = await story.admin.all("events", type="invoice.changed.v1")
        return {"paid", "uncollectible"} <= {change["data"]["status"] for change in changes}

    await until("both changes", seen, 40)
    await story.s.run_at("payment-to-erp", "posted")
    for name in ("credited", "euros"):
        played.foils[name] = await story.foil(INVOICES, names[name], "matched")


async def _charge_back(story: Story, names: dict[str, str], played: Played) -> None:
    """Take the service credit back in both systems, by the operation that persons call for it."""
    (request,) = await story.admin.all("events", type="support.credit_requested.v1")
    asked = {
        "credit_id": names["credit"], "customer_id": request["data"]["customer_id"],
        "amount": {"minor": 5_000, "currency": "USD"},
    }  # fmt: skip
    headers = {
        "authorization": f"Bearer {token_of('fiona')}", "idempotency-key": "charge-back", "prefer": "wait=30",
    }  # fmt: skip
    async with httpx2.AsyncClient(base_url=story.systems.url, trust_env=False, timeout=60) as http:
        done = await http.post("/v1/operations/billing.debit_memo.issue", json=asked, headers=headers)
    assert done.status_code == 200, done.text
    played.foils["charged back"] = await story.foil(DEBITS, names["credit"] + "/undo", "matched")


ACTS = (
    _post_twice, _take_back, _cancel, _credit_by_reference, _void, _enter_by_hand, _pair, _assert_later,
    _void_credit, _name_later, _flag_cancelled, _settle, _charge_back,
)  # fmt: skip


@pytest.fixture(scope="module")
def played() -> Played:
    with company() as systems:
        return asyncio.run(play(systems))


# ------------------------------------------------------------------ what was seen


def money(units: str, currency: str = "USD") -> dict[str, Any]:
    return {"amount": units, "currency": currency, "minor": int(Decimal(units).scaleb(2))}


def test_totals_are_those_of_the_systems_own_books(played: Played) -> None:
    own, forward = played.before
    assert differences(*played.before) == []
    assert own.invoices == {"USD": Decimal("5321.28"), "EUR": Decimal("739.99")}
    assert own.credits == {"USD": Decimal("50.00")}
    assert own.receivable == {"USD": Decimal("5271.28"), "EUR": Decimal("739.99")}
    assert {line["closing"]["minor"] for part in forward.values() for line in part["lines"]} == {0}


def test_an_invoice_in_euros_is_booked_in_dollars_at_the_rate_of_the_finance_table(played: Played) -> None:
    foil = played.foils["euros"]
    assert foil["legs"]["functional_difference"] == foil["observed"]["functional_difference"] == money("0.00")
    assert foil["legs"]["rate_difference"] == foil["observed"]["rate_difference"] == "0"
    assert "functional_difference" not in played.foils["credited"]["legs"]


def test_a_second_posting_of_an_invoice_is_over_with_a_case_of_its_amount(played: Played) -> None:
    foil, case = played.foils["twice"], played.cases["twice"]
    assert foil["reason"].startswith("over: ")
    assert foil["residual"]["gross"] == money("-2345.67")
    assert (case["reason"], case["owner"], case["exposure"]) == (
        "foil_over", "finance-operations", [money("2345.67")],
    )  # fmt: skip


@pytest.mark.parametrize(
    ("act", "amount"),
    [
        pytest.param("taken back", money("1480.00"), id="credit-with-refund"),
        pytest.param("cancelled", money("77.10"), id="cancelled"),
        pytest.param("by reference", money("99.99", "EUR"), id="credit-memo-with-its-reference"),
    ],
)
def test_an_invoice_that_the_erp_takes_back_is_owed_again(
    played: Played, act: str, amount: dict[str, Any]
) -> None:
    foil = played.foils[act]
    assert (foil["state"], foil["residual"]["gross"]) == ("open", amount)


def test_an_invoice_that_billing_voids_after_its_posting_is_over_with_a_case(played: Played) -> None:
    foil, case = played.foils["void"], played.cases["void"]
    assert foil["reason"].startswith("void: ")
    assert (foil["stands"], foil["residual"]["gross"]) == (False, money("-336.01"))
    assert (case["owner"], case["exposure"]) == ("finance-operations", [money("336.01")])


def test_an_invoice_entered_by_hand_is_listed_with_age_and_owner_and_gets_a_case(played: Played) -> None:
    item, case = played.items["stays"], played.cases["stays"]
    assert (item["reconciliation"], item["state"], item["owner"]) == (
        INVOICES, "unmatched", "finance-operations",
    )  # fmt: skip
    assert item["amounts"]["gross"] == money("1234.56")
    assert item["age_s"] >= GRACE_SECONDS
    assert item["case"] == case["id"]
    assert (case["owner"], case["exposure"]) == ("finance-operations", [money("1234.56")])


def test_an_invoice_is_no_less_in_the_books_because_its_state_was_written(played: Played) -> None:
    assert played.items["flagged"]["id"] == played.items["stays"]["id"]


def test_a_pair_that_a_second_person_approves_matches_the_invoice_and_ends_the_case(played: Played) -> None:
    assert played.foils["paired"]["residual"]["gross"] == money("0.00")
    assert played.ended["paired"]["id"] == played.cases["reissued"]["id"]


def test_a_credit_memo_before_its_credit_note_is_matched_when_billing_asserts_it(played: Played) -> None:
    assert played.cases["early"]["exposure"] == [money("33.33", "EUR")]
    assert played.foils["early"]["legs"]["gross"] == money("33.33", "EUR")
    assert played.ended["early"]["id"] == played.cases["early"]["id"]


def test_a_credit_note_that_billing_voids_after_its_posting_is_over_with_a_case(played: Played) -> None:
    foil, case = played.foils["void credit"], played.cases["void credit"]
    assert foil["reason"].startswith("void: ")
    assert case["exposure"] == [money("33.33", "EUR")]


def test_an_invoice_that_gets_its_reference_after_posting_is_matched(played: Played) -> None:
    assert played.foils["named later"]["residual"]["gross"] == money("0.00")


def test_an_invoice_that_is_paid_or_uncollectible_in_billing_is_still_asserted(played: Played) -> None:
    assert all(played.foils[name]["stands"] for name in ("credited", "euros"))


def test_a_roll_forward_as_of_a_time_shows_what_was_known_then(played: Played) -> None:
    _, forward = played.before
    assert [part["lines"] for part in played.as_of.values()] == [part["lines"] for part in forward.values()]


def test_totals_are_still_those_of_the_books_after_all_of_it(played: Played) -> None:
    assert played.after is not None
    own, forward = played.after
    assert differences(*played.after) == []
    assert own == Books(
        invoices={"USD": Decimal("4985.27"), "EUR": Decimal("739.99")},
        credits={"USD": Decimal("50.00")},
        debits={"USD": Decimal("50.00")},
        payments={"USD": Decimal("1032.50")},
        refunds={},
        posted_refunds={},
        by_hand={"USD": Decimal("1234.56")},
        posted_invoices={"USD": Decimal("8901.51"), "EUR": Decimal("640.00")},
        posted_credits={"USD": Decimal("50.00"), "EUR": Decimal("33.33")},
        posted_debits={"USD": Decimal("50.00")},
        posted_payments={"USD": Decimal("1032.50")},
        receivable={"USD": Decimal("7869.01"), "EUR": Decimal("606.67")},
        open_items={"USD": Decimal("7869.01"), "EUR": Decimal("606.67")},
    )
    columns = {
        (line["currency"], name): item["amount"]
        for line in forward[INVOICES]["lines"]
        for name, item in line["items"].items()
        if item["minor"]
    }
    assert columns == {
        ("USD", "over"): "2681.68",
        ("USD", "unmatched"): "1234.56",
        ("EUR", "open"): "99.99",
    }
    closing = {
        (name, line["currency"]): line["closing"]["amount"]
        for name in (CREDITS, DEBITS)
        for line in forward[name]["lines"]
    }
    assert closing == {(CREDITS, "USD"): "0.00", (CREDITS, "EUR"): "-33.33", (DEBITS, "USD"): "0.00"}


def test_every_invariant_of_the_store_holds_after_all_of_it(played: Played) -> None:
    assert played.problems == []
