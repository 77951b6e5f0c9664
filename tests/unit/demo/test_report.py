"""Closing tables of the demonstration: amounts as on the pages, and the ERP's answer to a browser."""

from __future__ import annotations

import io
from decimal import Decimal
from typing import Any

import pytest
from rich.console import Console

from counterfoil.demo.erp.front_page import with_front_page
from counterfoil.demo.report import _effects, _foils


def printed(table: Any) -> str:
    text = io.StringIO()
    Console(width=200, file=text).print(table)
    return text.getvalue()


def foil(state: str, amount: str, residual: str) -> dict[str, Any]:
    leg = {"gross": {"amount": amount, "currency": "USD"}}
    missing = {"gross": {"amount": residual, "currency": "USD"}}
    return {"rule": "invoices", "state": state, "finance": state, "legs": leg, "residual": missing}


def test_the_table_of_counterfoils_groups_amounts_and_shows_what_is_missing() -> None:
    rows = [
        foil("matched", "34000.00", "0.00"),
        foil("matched", "997.50", "0.00"),
        foil("broken", "40.00", "36.00"),
        foil("open", "27062.50", "27062.50"),
    ]
    lines = printed(_foils(rows)).splitlines()
    amounts = {line.split()[3]: line.split() for line in lines if line.startswith("│")}
    assert {"34,997.50"} <= set(amounts["matched"])
    assert {"40.00", "36.00"} <= set(amounts["broken"])
    assert amounts["open"].count("27,062.50") == 2
    assert amounts["matched"].count("USD") == 1


def test_the_table_of_effects_groups_amounts() -> None:
    total = {"amount": "1234567.80", "currency": "USD"}
    effect = {
        "id": "e", "operation": "post", "system": "erp", "state": "confirmed", "attempt": 1, "undoes": None,
        "error": "", "result": {"total": total},
    }  # fmt: skip
    trace = {"run": {"id": "run_1"}, "effects": [effect], "timeline": []}
    assert f"{Decimal(total['amount']):,f} USD" in printed(_effects([trace]))


@pytest.mark.parametrize("path", ["/", "", "/erp", "/erp/"])
def test_a_browser_learns_which_client_opens_the_erp(path: str) -> None:
    statuses: list[str] = []
    app = with_front_page(lambda *_: [b"inner"], "erp")
    environ = {"REQUEST_METHOD": "GET", "PATH_INFO": path, "HTTP_HOST": "127.0.0.1:8000"}
    (text,) = app(environ, lambda status, _: statuses.append(status))
    assert statuses == ["200 OK"]
    assert b"Tryton desktop client 8.0" in text
    assert b"127.0.0.1:8000" in text
    assert list(app({**environ, "REQUEST_METHOD": "POST"}, lambda *_: None)) == [b"inner"]
    assert list(app({**environ, "PATH_INFO": "/erp/rpc/"}, lambda *_: None)) == [b"inner"]
