"""The Stripe twin as a process: how it starts and ends, and that no call makes it fail."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
from pathlib import Path
from urllib.parse import urlencode

from counterfoil.demo.ports import free_port
from counterfoil.twins.stripe.routes import ROUTES
from tests.contract.stripe_twin_process import Twin, running_twin
from tests.patience import PATIENCE_SECONDS

COMMAND = [sys.executable, "-m", "counterfoil.twins.stripe"]
WORDS = ("", "0", "1", "-1", "7", "100000000000000", "0.5", "true", "false", "eur", "usd", "month", "x", "é", "'",
         "list", "custom_line_item", "invoice_line_item", "send_invoice", "include", "2", "[]", "null")  # fmt: skip


def test_it_starts_within_a_second_and_ends_cleanly(tmp_path: Path) -> None:
    command = [*COMMAND, "--port", "0", "--state", str(tmp_path / "twin.sqlite")]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        twin = Twin(int(line.strip().rsplit(":", 1)[1]), tmp_path)
        assert twin.control("GET", "state")["objects"] == {}
        process.send_signal(signal.SIGINT)
        _, errors = process.communicate(timeout=PATIENCE_SECONDS)
    finally:
        process.kill()
        process.communicate()
    assert (process.returncode, errors) == (0, "")


def test_a_taken_port_is_told_and_not_a_traceback(tmp_path: Path) -> None:
    with running_twin(tmp_path / "one.sqlite") as twin:
        command = [*COMMAND, "--port", str(twin.port), "--state", str(tmp_path / "two.sqlite")]
        done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE_SECONDS)
    assert done.returncode == 2
    assert f"port {twin.port}" in done.stderr
    assert "Traceback" not in done.stderr


def test_a_port_of_ones_choice_is_taken(tmp_path: Path) -> None:
    port = free_port()
    with running_twin(tmp_path / "twin.sqlite", "--port", str(port)) as twin:
        assert twin.port == port


def test_no_call_makes_it_fail(tmp_path: Path) -> None:
    """Every route with parameters that mean nothing, or nearly something: an answer, never a 5xx."""
    chance = random.Random(11)
    with running_twin(tmp_path / "twin.sqlite") as twin:
        ids = made(twin)
        for number in range(2500):
            route = chance.choice(ROUTES)
            path = route.pattern.pattern.removesuffix("/?\\Z")
            while "([^/]+)" in path:
                path = path.replace("([^/]+)", chance.choice(ids), 1)
            form = {}
            for name, kind in route.shape.items():
                if name.endswith("!") or chance.random() < 0.3:
                    form.update(value_of(chance, name.rstrip("!"), kind, ids))
            text = urlencode(form)
            if route.method == "POST":
                status, _, answer = twin.call("POST", path, text)
            else:
                status, _, answer = twin.call(route.method, f"{path}?{text}")
            assert status < 500, (number, route.method, path, form, answer)


def made(twin: Twin) -> list[str]:
    api = twin.client().v1
    card = {"payment_method": "pm_card_visa", "invoice_settings": {"default_payment_method": "pm_card_visa"}}
    who = api.customers.create({"name": "Acme", **card}).id  # type: ignore[typeddict-item]
    product = api.products.create({"name": "Plan"}).id
    price = api.prices.create({"product": product, "currency": "eur", "unit_amount": 500,
                               "recurring": {"interval": "month"}}).id  # fmt: skip
    rate = api.tax_rates.create({"display_name": "VAT", "inclusive": False, "percentage": 7.7}).id
    subscription = api.subscriptions.create({"customer": who, "items": [{"price": price}]})
    meter = api.billing.meters.create(
        {"display_name": "Calls", "event_name": "calls", "default_aggregation": {"formula": "sum"}}
    ).id
    quote = api.quotes.create({"customer": who, "line_items": [{"price": price}]}).id
    schedule = api.subscription_schedules.create({"from_subscription": subscription.id}).id
    vat = api.customers.tax_ids.create(who, {"type": "eu_vat", "value": "DE000000000"}).id
    draft = api.invoices.create({"customer": who, "currency": "eur"}).id
    api.invoice_items.create({"customer": who, "invoice": draft, "amount": 500, "currency": "eur"})
    open_ = api.invoices.create({"customer": who, "currency": "eur"}).id
    api.invoice_items.create({"customer": who, "invoice": open_, "amount": 90_000, "currency": "eur"})
    line = api.invoices.finalize_invoice(open_).lines.data[0].id
    note = api.credit_notes.create({"invoice": open_, "amount": 1}).id
    item = subscription["items"].data[0].id
    charge = api.charges.list().data[0]
    refund = api.refunds.create({"charge": charge.id, "amount": 1}).id
    disputed = {"amount": 500, "currency": "eur", "confirm": True, "payment_method": "pm_card_createDispute"}
    intent = api.payment_intents.create(
        {"amount": 500, "currency": "eur", "payment_method": "pm_card_visa"}
    ).id
    api.payment_intents.create(disputed)  # type: ignore[arg-type]
    api.payment_intents.create({**disputed, "amount": 9000, "payment_method": "pm_card_bypassPending"})  # type: ignore[arg-type]
    payout = api.payouts.create({"amount": 1, "currency": "eur"})
    dispute = api.disputes.list().data[0].id
    return [meter, quote, schedule, vat, who, product, price, rate, subscription.id, draft, open_, line, note, item, charge.id,
            str(charge.payment_intent), refund, intent, dispute, payout.id, str(payout.balance_transaction), "none",
            "pm_card_visa", "x%20y"]  # fmt: skip


def value_of(chance: random.Random, name: str, kind: object, ids: list[str]) -> dict[str, str]:
    """Form fields for a parameter: of its shape most of the time, of its kind some of the time."""
    if chance.random() < 0.1:
        return {f"{name}[{chance.choice(WORDS)}]": chance.choice(WORDS)}
    if isinstance(kind, dict):
        found: dict[str, str] = {}
        for below, inner in kind.items():
            if chance.random() < 0.6:
                found |= value_of(chance, f"{name}[{below.rstrip('!')}]", inner, ids)
        return found
    if isinstance(kind, list):
        return value_of(chance, f"{name}[0]", kind[0], ids)
    if isinstance(kind, tuple):
        return {name: chance.choice((*kind, "x"))}
    return {name: chance.choice((*WORDS, *ids) if kind in ("str", "any") else WORDS)}
