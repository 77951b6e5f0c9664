"""Expressions of the three hardest workflows and two mappings, with realistic bindings."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest

from counterfoil.core.money import Money
from counterfoil.expr import LookupNeeded, compile


def usd(minor):
    return Money(minor, "USD")


def answer(name, args):
    answers = {
        ("head", ("credit",)): {"applied": usd(0)},
        ("head", ("quote",)): {"signed": True},
        ("cutoff", ("acme-us",)): datetime(2026, 2, 5, tzinfo=UTC),
        ("canon", ("invoice", "in_1")): "inv_1",
        ("canon", ("customer", "cus_1")): "cust_1",
        ("table", ("stripe_entity", "acct_1")): "acme-us",
        ("table", ("tax_in", "txr_1")): "VAT20",
        ("table", ("gl", "acme-us", "prod_1")): "4000",
        ("xref", ("customer", "cust_1")): 42,
    }
    return answers[name, args]


SUPPORT = {
    "event": {
        "data": {
            "credit_id": "cr_1",
            "revision": 1,
            "customer_id": "cust_1",
            "invoice_id": "inv_1",
            "amount": usd(12_000),
            "incident_id": "inc_1",
            "incident_on": date(2026, 1, 30),
        }
    },
    "inv": {"id": "inv_1", "status": "open", "currency": "USD", "open": usd(5_000)},
    "run": {"id": "run_1"},
    "memo": {"id": "cm_1", "issued_on": date(2026, 2, 1)},
    "open_part": usd(5_000),
    "paid_part": usd(7_000),
    "post": {"id": "erp_1"},
}

USAGE = {
    "object": {
        "id": "w_1",
        "ends_at": datetime(2026, 2, 1, tzinfo=UTC),
        "grace": timedelta(hours=6),
        "subscription_id": "s",
    },
    "event": {"data": {"window_id": "w_1", "window_ids": ["w_0", "w_1"]}},
    "w": {
        "id": "w_1",
        "raw": {"hash": "h"},
        "accepted": {"hash": "h", "quantity": Decimal("10.5")},
        "watermark": datetime(2026, 2, 1, 1, tzinfo=UTC),
        "starts_at": datetime(2026, 1, 1, 8, tzinfo=UTC),
        "ends_at": datetime(2026, 2, 1, 8, tzinfo=UTC),
        "absorb_below": usd(100),
        "invoiced": True,
        "legal_entity": "acme-us",
    },
    "run": {"generation": 1},
    "preview": {"delta": usd(-50), "amount": usd(31_00)},
    "part": {
        "period": "2026-01",
        "amount": usd(10),
        "next_start": date(2026, 2, 1),
        "end": date(2026, 1, 31),
    },
}

RENEWAL = {
    "object": {"id": "g_1", "term_end": date(2026, 7, 1), "subscription_ids": ["s1", "s2"]},
    "g": {
        "lines": [
            {"product": "a", "amount": usd(36_500), "start": date(2026, 1, 1), "end": date(2027, 1, 1)},
            {"product": "b", "amount": usd(10_000), "start": date(2026, 4, 1), "end": date(2026, 10, 1)},
        ],
        "term_end": date(2026, 7, 1),
        "grace": timedelta(days=14),
        "subscription_ids": ["s1", "s2"],
    },
    "quote": {"digest": "d"},
    "left": 60,
    "s": "s1",
}

STRIPE = {
    "body": {"account": "acct_1", "data": {"object": {"id": "in_1"}}},
    "fetched": {"id": "in_1"},
    "i": {
        "id": "in_1",
        "currency": "usd",
        "total": 1_200,
        "customer": "cus_1",
        "effective_at": None,
        "status_transitions": {"finalized_at": 1_769_900_400},
        "lines": {"data": []},
    },
    "c": "USD",
    "entity": {"zone": "Europe/Berlin"},
    "l": {
        "amount": 1_500,
        "price": {"unit_amount_decimal": "0.4"},
        "discount_amounts": [{"amount": 300}],
        "tax_amounts": [
            {"inclusive": True, "amount": 200, "tax_rate": "txr_1"},
            {"inclusive": False, "amount": 100},
        ],
    },
    "t": {"tax_rate": "txr_1", "amount": 200},
    "data": {"lines": [{"net": usd(1_000), "taxes": [{"amount": usd(200)}]}], "total": usd(1_200)},
}

TRYTON = {
    "input": {"customer_id": "cust_1", "invoice_id": "inv_1", "legal_entity": "acme-us", "lines": []},
    "dates": {"document": date(2026, 1, 31), "posting": date(2026, 2, 1)},
    "l": {"net": usd(1_234), "product_id": "prod_1"},
    "result": {"id": 7},
}

NET = (
    "minor(l.amount - sum(l.discount_amounts.map(d, d.amount))"
    " - sum(l.tax_amounts.filter(t, t.inclusive).map(t, t.amount)), c)"
)
TOTAL = "sum(data.lines.map(l, l.net + sum(l.taxes.map(t, t.amount)))) == data.total"

CASES = [
    (SUPPORT, "event.data.credit_id", "cr_1"),
    (SUPPORT, "min(event.data.amount, inv.open)", usd(5_000)),
    (SUPPORT, "event.data.amount - open_part", usd(7_000)),
    (SUPPORT, "inv.status != 'draft' && inv.currency == event.data.amount.currency", True),
    (SUPPORT, "head('credit').applied.minor == 0", True),
    (SUPPORT, "open_part.minor > 0", True),
    (SUPPORT, "memo.issued_on", date(2026, 2, 1)),
    (SUPPORT, "event.data.incident_on", date(2026, 1, 30)),
    (USAGE, "object.ends_at + object.grace", datetime(2026, 2, 1, 6, tzinfo=UTC)),
    (USAGE, "event.data.window_id == object.id", True),
    (USAGE, "w.raw.hash == w.accepted.hash && w.watermark >= w.ends_at", False),
    (USAGE, "run.generation > 0 && abs(preview.delta.minor) < w.absorb_below.minor", True),
    (USAGE, "run.generation > 0 && preview.delta.minor < 0 && w.invoiced", True),
    (USAGE, "-preview.delta", usd(50)),
    (USAGE, "w.id in event.data.window_ids", True),
    (USAGE, "cutoff(w.legal_entity)", datetime(2026, 2, 5, tzinfo=UTC)),
    (USAGE, "w.id + '/' + part.period", "w_1/2026-01"),
    (USAGE, "split_by_period(preview.amount, w).map(p, p.amount.minor)", [3067, 33]),
    (USAGE, "split_by_period(preview.amount, w).map(p, p.period)", ["2026-01", "2026-02"]),
    (USAGE, "split_by_period(preview.amount, w)[0].next_start", date(2026, 2, 1)),
    (RENEWAL, "object.term_end - days(90)", date(2026, 4, 2)),
    (RENEWAL, "object.id + '/' + string(object.term_end)", "g_1/2026-07-01"),
    (RENEWAL, "coterm(g.lines, g.term_end, 'daily').map(l, l.amount)", [usd(18_100), usd(4_973)]),
    (RENEWAL, "head('quote').signed", True),
    (RENEWAL, "g.term_end - days(left)", date(2026, 5, 2)),
    (RENEWAL, "g.term_end + g.grace", date(2026, 7, 15)),
    (STRIPE, "body.data.object.id", "in_1"),
    (STRIPE, "i.currency.upperAscii()", "USD"),
    (STRIPE, "i.total < 0 ? 'credit.issued.v1' : 'invoice.finalized.v1'", "invoice.finalized.v1"),
    (STRIPE, "i.status_transitions.finalized_at", 1_769_900_400),
    (STRIPE, "canon('invoice', i.id)", "inv_1"),
    (STRIPE, "table('stripe_entity', body.account)", "acme-us"),
    (STRIPE, "canon('customer', i.customer)", "cust_1"),
    (STRIPE, "date(first(i.effective_at, i.status_transitions.finalized_at), entity.zone)", date(2026, 2, 1)),
    (STRIPE, "minor(i.total, c)", usd(1_200)),
    (STRIPE, "price(l.price.unit_amount_decimal, c)", Decimal("0.004")),
    (STRIPE, NET, usd(1_000)),
    (STRIPE, "table('tax_in', t.tax_rate)", "VAT20"),
    (STRIPE, "minor(t.amount, c)", usd(200)),
    (STRIPE, TOTAL, True),
    (TRYTON, "xref('customer', input.customer_id)", 42),
    (TRYTON, "dates.document", date(2026, 1, 31)),
    (TRYTON, "major(l.net)", Decimal("12.34")),
    (TRYTON, "table('gl', input.legal_entity, l.product_id)", "4000"),
    (TRYTON, "result.id", 7),
]


@pytest.mark.parametrize(("bindings", "text", "expected"), CASES, ids=[text for _, text, _ in CASES])
def test_expression_of_the_language(bindings, text, expected):
    expression = compile(text)
    assert expression(bindings, answer) == expected
    assert expression.names <= bindings.keys()


def test_every_lookup_of_a_mapping_is_known_before_it_is_answered():
    expression = compile(
        "table('gl', input.legal_entity, l.product_id) + string(xref('customer', input.customer_id))"
    )
    assert expression.lookup_calls == {"table", "xref"}
    lookups = []

    def ask(name, args):
        lookups.append((name, args))
        raise LookupNeeded(name, args)

    with pytest.raises(LookupNeeded) as needed:
        expression(TRYTON, ask)
    assert (needed.value.name, needed.value.args) == ("table", ("gl", "acme-us", "prod_1"))
    assert lookups == [("table", ("gl", "acme-us", "prod_1"))]


def test_routing_finds_what_an_event_must_equal():
    expression = compile(
        "event.data.window_id == object.id && (object.a + 'x') == event.data.key && event.data.n > 1"
    )
    assert [(path, other.text) for path, other in expression.equalities("event")] == [
        ("data.window_id", "object.id"),
        ("data.key", "(object.a + 'x')"),
    ]
    path, other = compile("w.id in event.data.window_ids").memberships("event")[0]
    assert (path, other(USAGE)) == ("data.window_ids", "w_1")
    assert compile("event.a == event.b || event.a == x").equalities("event") == []
    assert compile("event.a == event.b").equalities("event") == []
