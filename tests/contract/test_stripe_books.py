"""Books of the billing twin: what a sweep reads, and what the example company makes of it beside the real events."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterator, Sequence
from random import Random
from typing import Any

import pytest

from counterfoil.connectors.sdk import Delivery
from counterfoil.connectors.stripe import Stripe, connect
from counterfoil.core.errors import Misconfigured, TryAgain
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.intake.admit import Admitter
from counterfoil.flow.intake.receive import receive_page
from counterfoil.store.memory import MemoryStore
from tests.companies.base import acme_model
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.contract.trial_stripe import config_of, customer, open_invoice, post, subscription
from tests.unit.flow.test_external import NOW, Clock

SECONDS = 10.0
ACME = acme_model()


@pytest.fixture(scope="module")
def process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Twin]:
    with running_twin(tmp_path_factory.mktemp("twin") / "twin.sqlite") as running:
        yield running


@pytest.fixture
def twin(process: Twin) -> Twin:
    process.control("POST", "reset")
    return process


@pytest.fixture
async def connector(twin: Twin) -> AsyncIterator[Stripe]:
    created = connect(config_of(twin))
    yield created
    await created.close()


async def listed(connector: Stripe, *books: str, limit: int = 100) -> list[Delivery]:
    deliveries: list[Delivery] = []
    for book in books or connector.listings:
        cursor, more = None, True
        while more:
            page = await connector.list_book(book, cursor, limit, SECONDS)
            deliveries += page.deliveries
            cursor, more = page.cursor, page.more
    return deliveries


async def events(connector: Stripe) -> list[Delivery]:
    page = await connector.poll("events", None, 1000, SECONDS)
    assert not page.more
    return list(page.deliveries)


def types(deliveries: Sequence[Delivery], id: str) -> list[str]:
    return [each.type for each in deliveries if each.body["data"]["object"]["id"] == id]


# -- what the books show


async def test_an_invoice_is_listed_by_what_happened_to_it(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    draft = post(twin, "/v1/invoices", customer=who, currency="eur")["id"]
    owed, paid, void, lost = (open_invoice(twin, who) for _ in range(4))
    post(twin, f"/v1/invoices/{paid}/pay")
    post(twin, f"/v1/invoices/{void}/void")
    post(twin, f"/v1/invoices/{lost}/mark_uncollectible")
    found = await listed(connector, "invoices")
    assert types(found, draft) == []
    assert types(found, owed) == ["invoice.finalized", "invoice.updated"]
    assert types(found, paid) == ["invoice.finalized", "invoice.paid"]
    assert types(found, void) == ["invoice.finalized", "invoice.voided"]
    assert types(found, lost) == ["invoice.finalized", "invoice.marked_uncollectible", "invoice.updated"]


async def test_notes_subscriptions_and_customers_are_listed(twin: Twin, connector: Stripe) -> None:
    who, ended = customer(twin), customer(twin)
    invoice = open_invoice(twin, who)
    note, void = (post(twin, "/v1/credit_notes", invoice=invoice, amount=100)["id"] for _ in range(2))
    post(twin, f"/v1/credit_notes/{void}/void")
    kept, over = subscription(twin, who), subscription(twin, ended)
    twin.json("DELETE", f"/v1/subscriptions/{over}")
    found = await listed(connector)
    assert types(found, note) == ["credit_note.created"]
    assert types(found, void) == ["credit_note.created", "credit_note.voided"]
    assert types(found, kept) == ["customer.subscription.updated"]
    assert types(found, over) == ["customer.subscription.deleted"]
    assert types(found, who) == ["customer.updated"]


async def test_what_did_not_change_is_listed_as_before(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    before = {each.ext_id: each for each in await listed(connector)}
    # The number of its next invoice is no change of the customer.
    open_invoice(twin, customer(twin))
    post(twin, f"/v1/invoices/{open_invoice(twin, who)}/void")
    after = {each.ext_id: each for each in await listed(connector)}
    assert before.keys() <= after.keys()
    assert all(before[id].identity == after[id].identity for id in before)
    post(twin, "/v1/credit_notes", invoice=invoice, amount=100)
    changed = {each.ext_id for each in await listed(connector)}
    (gone,) = before.keys() - changed
    assert gone.startswith(f"invoice/{invoice}/state/")


async def test_a_present_state_counts_after_every_event_before_it(twin: Twin, connector: Stripe) -> None:
    invoice = open_invoice(twin, customer(twin))
    twin.control("POST", "clock", {"advance": 86_400})
    post(twin, "/v1/credit_notes", invoice=invoice, amount=100)
    (state,) = (each for each in await listed(connector, "invoices") if "/state/" in each.ext_id)
    assert state.body["created"] == max(each.body["created"] for each in await events(connector))


# -- cursors


async def test_a_sweep_goes_on_after_its_last_object_was_deleted(twin: Twin, connector: Stripe) -> None:
    who = customer(twin)
    kept = [open_invoice(twin, who) for _ in range(3)]
    drafts = [post(twin, "/v1/invoices", customer=who, currency="eur")["id"] for _ in range(3)]
    first = await connector.list_book("invoices", None, 2, SECONDS)
    assert first.deliveries == [], "the newest two are drafts"
    for draft in drafts:
        twin.json("DELETE", f"/v1/invoices/{draft}")
    found: list[str] = []
    cursor, more = first.cursor, True
    while more:
        page = await connector.list_book("invoices", cursor, 2, SECONDS)
        found += [each.body["data"]["object"]["id"] for each in page.deliveries]
        cursor, more = page.cursor, page.more
    assert Counter(found) == Counter(kept * 2)


@pytest.mark.parametrize("seed", range(6))
async def test_changes_between_pages_hide_and_repeat_nothing(
    twin: Twin, connector: Stripe, seed: int
) -> None:
    chance = Random(seed)
    who = customer(twin)
    alive = [post(twin, "/v1/invoices", customer=who, currency="eur")["id"] for _ in range(3)]
    alive += [open_invoice(twin, who) for _ in range(6)]
    chance.shuffle(alive)
    steady, changed = set(alive), set[str]()

    def disturb() -> None:
        match chance.randrange(4):
            case 0:
                changed.add(open_invoice(twin, who))
            case 1:
                if twin.call("DELETE", f"/v1/invoices/{(gone := chance.choice(alive))}")[0] == 200:
                    alive.remove(gone)
                    steady.discard(gone)
            case _:
                one = chance.choice(alive)
                verb = chance.choice(["pay", "void", "finalize", "mark_uncollectible"])
                twin.call("POST", f"/v1/invoices/{one}/{verb}")
                changed.add(one)

    book = {each["id"]: each for each in twin.all("invoices")}
    found: list[Delivery] = []
    cursor, more = None, True
    while more:
        page = await connector.list_book("invoices", cursor, chance.randint(1, 4), SECONDS)
        found += page.deliveries
        cursor, more = page.cursor, page.more
        if chance.random() < 0.7:
            disturb()
    ids = {each.body["data"]["object"]["id"] for each in found}
    documents = {id for id in steady if book[id]["status"] != "draft"}
    assert documents <= ids
    assert len({each.ext_id for each in found}) == len(found)
    twice = {id for id, count in Counter(types_of(found)).items() if count > 1}
    assert {id for id, _ in twice} <= changed


def types_of(deliveries: Sequence[Delivery]) -> list[tuple[str, str]]:
    return [(each.body["data"]["object"]["id"], each.type) for each in deliveries]


async def test_a_listing_without_answer_or_rights_is_no_empty_book(twin: Twin, connector: Stripe) -> None:
    customer(twin)
    twin.fault("status", status=500, match={"path": "/v1/customers"})
    with pytest.raises(TryAgain):
        await connector.list_book("customers", None, 10, SECONDS)
    with pytest.raises(Misconfigured):
        await connector.list_book("credit_notes", '{"after": "cn_none"}', 10, SECONDS)


# -- the example company


class Books:
    """The example company on a memory store, which admits deliveries of the twin at once."""

    def __init__(self, connector: Stripe) -> None:
        self.connector = connector
        self.store = MemoryStore(Clock())
        self.releases = Releases(self.store, ACME)
        self.admitter = Admitter(self.store, self.releases, {"billing": connector})
        self._pages = 0

    async def take(self, deliveries: Sequence[Delivery]) -> Counter[str]:
        self._pages += 1
        page = str(self._pages)
        result = await receive_page(self.store, ACME, "billing", "any", deliveries, page, NOW)
        await self.releases.publish(NOW, "test")
        while todos := await self.store.todos(100):
            for todo in todos:
                await self.admitter.admit(todo, NOW)
        return Counter(result.verdicts)

    async def sweep(self, deliveries: Sequence[Delivery]) -> None:
        """Take the deliveries with a fact whose id is not known.

        A fact has the content of its first admission. An invoice that is paid now was still open in the event of its
        finalization, so that event is left out and not compared.
        """
        for delivery in deliveries:
            alone = Books(self.connector)
            await alone.take([delivery])
            if (await alone.facts()).keys() - (await self.facts()).keys():
                await self.take([delivery])

    async def shown(self) -> dict[str, Any]:
        """Return what the company knows, without the times and causes of knowing it."""
        dump = await self.store.dump()
        heads = {
            (head.object, head.key): {k: v for k, v in head.state.items() if k != "revision"}
            for head in dump.heads
        }
        foils = {(foil.rule, foil.document): (foil.legs, foil.stands) for foil in dump.foils}
        return {"heads": heads, "foils": foils, "cases": [case.message for case in dump.cases]}

    async def facts(self) -> dict[str, Any]:
        """Return the content of each event by its id."""
        return {event.id: (event.type, event.data) for event in (await self.store.dump()).events}


def history(twin: Twin) -> None:
    """Let everything happen to documents and customers that the example maps."""
    who, other = customer(twin), customer(twin)
    owed, paid, void, lost = (open_invoice(twin, who) for _ in range(4))
    post(twin, f"/v1/customers/{other}", name="Renamed")
    post(twin, f"/v1/invoices/{paid}/pay")
    post(twin, f"/v1/invoices/{void}/void")
    post(twin, f"/v1/invoices/{lost}/mark_uncollectible")
    credit(twin, owed, 100)
    post(twin, f"/v1/credit_notes/{credit(twin, owed, 200)}/void")
    twin.json("DELETE", f"/v1/subscriptions/{subscription(twin, other)}")


def credit(twin: Twin, invoice: str, amount: int) -> str:
    """Return the id of a new credit note with a credit id of the example company."""
    form = {"invoice": invoice, "amount": amount, "metadata[credit_id]": f"cred_{amount}"}
    return str(post(twin, "/v1/credit_notes", **form)["id"])


async def test_a_listing_after_the_events_changes_nothing(twin: Twin, connector: Stripe) -> None:
    history(twin)
    books = Books(connector)
    await books.take(await events(connector))
    before, facts = await books.shown(), await books.facts()
    assert before["cases"] == []
    await books.take(await listed(connector))
    assert await books.shown() == before
    added = {id: fact for id, fact in (await books.facts()).items() if id not in facts}
    assert "invoice.finalized.v1" not in {type for type, _ in added.values()}
    known = [(type, {k: v for k, v in data.items() if k != "revision"}) for type, data in facts.values()]
    for type, data in added.values():
        assert (type, {k: v for k, v in data.items() if k != "revision"}) in known


async def test_a_listing_alone_shows_what_the_events_show(twin: Twin, connector: Stripe) -> None:
    history(twin)
    by_events, by_books = Books(connector), Books(connector)
    await by_events.take(await events(connector))
    await by_books.take(await listed(connector))
    assert await by_books.shown() == await by_events.shown()
    finalized = [
        {id for id, (type, _) in (await books.facts()).items() if type == "invoice.finalized.v1"}
        for books in (by_events, by_books)
    ]
    assert finalized[0] == finalized[1]


async def test_a_second_sweep_finds_only_repeats(twin: Twin, connector: Stripe) -> None:
    history(twin)
    books = Books(connector)
    await books.take(await listed(connector))
    facts = await books.facts()
    assert set(await books.take(await listed(connector))) == {"same"}
    assert await books.facts() == facts


@pytest.mark.parametrize("verb", ["", "pay", "void", "mark_uncollectible"])
async def test_a_sweep_repairs_what_missed_events_left(twin: Twin, connector: Stripe, verb: str) -> None:
    who = customer(twin)
    invoice = open_invoice(twin, who)
    followed, repaired = Books(connector), Books(connector)
    known = await events(connector)
    await followed.take(known)
    await repaired.take(known)
    twin.control("POST", "clock", {"advance": 60})
    credit(twin, invoice, 300)
    post(twin, f"/v1/customers/{who}", name="Renamed")
    if verb:
        post(twin, f"/v1/invoices/{invoice}/{verb}")
    open_invoice(twin, who)
    await followed.take(await events(connector))
    await repaired.sweep(await listed(connector))
    assert await repaired.shown() == await followed.shown()
    assert (await repaired.shown())["cases"] == []
