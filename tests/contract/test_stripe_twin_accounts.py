"""Two accounts in one Stripe twin: two legal entities with a key each, and a platform over both."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import stripe

from counterfoil.connectors.sdk import Confirmed, Rejected, Request, SystemConfig
from counterfoil.connectors.stripe import connect
from tests.contract.stripe_twin_api import customer, opened, refused
from tests.contract.stripe_twin_process import KEY, Hooks, Twin, receiving, running_twin
from tests.contract.trial_stripe import ISSUE, body, config_of

OTHER = "sk_test_of_the_other_entity"


@pytest.fixture
def twin(tmp_path: Path) -> Iterator[Twin]:
    with running_twin(
        tmp_path / "twin.sqlite", "--connect", OTHER, "--spread", "0", "--repeated", "0"
    ) as running:
        yield running


def client(twin: Twin, key: str, account: str | None = None) -> Any:
    return stripe.StripeClient(
        key, base_addresses={"api": twin.url}, max_network_retries=0, stripe_account=account
    ).v1


def test_each_key_sees_its_own_account(twin: Twin) -> None:
    ours, theirs = client(twin, KEY), client(twin, OTHER)
    first, second = (api.accounts.retrieve_current().id for api in (ours, theirs))
    assert first != second
    assert [one.id for one in ours.accounts.list().data] == [second]
    who = customer(ours).id
    assert refused(theirs.customers.retrieve, who).http_status == 404
    invoices = [opened(api, customer(api).id) for api in (ours, theirs)]
    assert all(one.number.endswith("-0001") for one in invoices)
    assert invoices[0].number != invoices[1].number
    assert refused(client(twin, "sk_test_none").customers.list).http_status == 401


def test_a_platform_reaches_a_connected_account_by_its_id(twin: Twin) -> None:
    ours, theirs = client(twin, KEY), client(twin, OTHER)
    id = theirs.accounts.retrieve_current().id
    through = client(twin, KEY, id)
    who = customer(through).id
    assert theirs.customers.retrieve(who).id == who
    assert refused(ours.customers.retrieve, who).http_status == 404
    assert ours.accounts.retrieve(id).id == id
    own = ours.accounts.retrieve_current().id
    assert refused(client(twin, OTHER, own).customers.list).http_status == 403
    assert refused(client(twin, KEY, "acct_none").customers.list).http_status == 403


def test_events_of_a_connected_account_name_it_and_reach_the_endpoints_of_both(twin: Twin) -> None:
    ours, theirs = client(twin, KEY), client(twin, OTHER)
    id = theirs.accounts.retrieve_current().id
    with receiving() as platform, receiving() as connect, receiving() as entity:
        fields = {"enabled_events": ["customer.created"]}
        signing = ours.webhook_endpoints.create({**fields, "url": connect.url, "connect": True}).secret
        ours.webhook_endpoints.create({**fields, "url": platform.url})
        theirs.webhook_endpoints.create({**fields, "url": entity.url})
        who, other = (
            ours.customers.create({"name": "Ours"}).id,
            theirs.customers.create({"name": "Theirs"}).id,
        )
        headers, body = connect.next()
        event = stripe.Webhook.construct_event(body, headers["stripe-signature"], signing)
        assert (event.account, event.data.object.id) == (id, other)
        assert _next(entity) == (id, other)
        assert _next(platform) == (None, who)
        twin.wait_for_deliveries()
        assert [hooks.got.qsize() for hooks in (platform, connect, entity)] == [0, 0, 0]
    assert theirs.events.list().data[0].account == id
    assert "account" not in ours.events.list({"type": "customer.created"}).data[0]


def _next(hooks: Hooks) -> tuple[str | None, str]:
    event = json.loads(hooks.next()[1])
    return event.get("account"), event["data"]["object"]["id"]


def test_the_clock_is_one_and_faults_are_of_one_account(twin: Twin) -> None:
    theirs = client(twin, OTHER)
    id = theirs.accounts.retrieve_current().id
    twin.control("POST", "clock", {"stop": True, "advance": 86_400})
    clocks = [
        twin.json("GET", "/_twin/state", headers=headers)["clock"] for headers in ({}, {"stripe-account": id})
    ]
    assert abs(clocks[0] - clocks[1]) <= 2
    status, _, _ = twin.call("POST", "/_twin/faults", '{"kind": "maintenance"}', {"stripe-account": id})
    assert status == 200
    assert client(twin, KEY).customers.list().data == []
    assert refused(theirs.customers.list).http_status == 503
    customer(theirs)
    twin.control("POST", "reset")
    assert theirs.customers.list().data == []
    assert theirs.accounts.retrieve_current().id == id


def test_every_account_survives_a_restart(tmp_path: Path) -> None:
    state = tmp_path / "twin.sqlite"
    with running_twin(state, "--connect", OTHER) as twin:
        api = client(twin, OTHER)
        id, who = api.accounts.retrieve_current().id, customer(api).id
    with running_twin(state, "--connect", OTHER) as twin:
        api = client(twin, OTHER)
        assert (api.accounts.retrieve_current().id, api.customers.retrieve(who).id) == (id, who)


def test_a_hook_from_the_start_gets_the_events_of_the_first_account(tmp_path: Path) -> None:
    with receiving() as hooks:
        more = ("--hook", hooks.url, "--hook-secret", "whsec_test", "--spread", "0", "--repeated", "0")
        with running_twin(tmp_path / "twin.sqlite", "--connect", OTHER, *more) as twin:
            ours, theirs = client(twin, KEY), client(twin, OTHER)
            theirs.customers.create({"name": "Theirs"})
            first, second = (ours.customers.create({"name": name}).id for name in ("Ours", "Ours too"))
            assert {_next(hooks), _next(hooks)} == {(None, first), (None, second)}


async def test_the_connector_of_an_entity_works_in_its_account_only(twin: Twin) -> None:
    clients = [client(twin, KEY), client(twin, OTHER)]
    ids = [api.accounts.retrieve_current().id for api in clients]
    invoices = [opened(api, customer(api).id).id for api in clients]
    config = config_of(twin)
    for place, id in enumerate(ids):
        connector = connect(SystemConfig(config.name, config.url, id, config.settings, config.secrets))
        try:
            polled = (await connector.poll("events", None, 100, 10.0)).deliveries
            about = {delivery.body["data"]["object"]["id"] for delivery in polled}
            assert (invoices[place] in about, invoices[1 - place] in about) == (True, False)
            outcomes = [
                await connector.send(
                    Request(ISSUE, f"{id}{n}", body(invoice=invoice, amount=100, currency="EUR")), 10.0
                )
                for n, invoice in enumerate((invoices[place], invoices[1 - place]))
            ]
            assert [type(outcome) for outcome in outcomes] == [Confirmed, Rejected]
        finally:
            await connector.close()
