"""Legs with `per`: taxes agree code by code, and two codes of the same amount do not."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from counterfoil.core.canonical import CanonicalEvent
from counterfoil.core.foil import Foil
from counterfoil.core.matching import FoilState
from counterfoil.core.money import Money
from counterfoil.core.settle import MatchRows, settle
from counterfoil.model import Model, read
from counterfoil.rules.matching import foil_of, observations_of, owed
from counterfoil.rules.templates import UnusableValue
from counterfoil.web.api.match_words import difference_text
from counterfoil.web.api.names import DocumentName
from counterfoil.web.api.shapes import amount, foil_shape
from tests.companies.base import write

NOW = datetime(2026, 11, 20, tzinfo=UTC)
COMPANY = """
{kind: role, name: lead}
---
{kind: system, name: shop, role: billing, connector: http, owner: lead}
---
{kind: system, name: ledger, role: erp, connector: http, owner: lead}
---
kind: event
name: order.sold.v1
produced: http
data:
  id: id
  total: money
  taxes: {type: list, items: {fields: {code: string, base: money, amount: money, rate?: string}}}
---
{kind: object, name: sale, system: shop, fields: {total: money}}
---
kind: reconciliation
name: sales
owner: lead
object: sale
left: shop
right: ledger
key: event.data.id
shape: SHAPE
legs: {gross: {total: true}, taxes: {per: code, tolerance: 1}}
assert: [{event: order.sold.v1, document: event.data.id, legs: {gross: event.data.total, taxes: event.data.taxes}}]
observe:
  - event: order.sold.v1
    document: event.data.id
    legs: {gross: event.data.total, taxes: TAXES}
"""
AS_SHOWN = "event.data.taxes"
TAKEN_BACK = '\'event.data.taxes.map(t, {"code": t.code, "base": -t.base, "amount": -t.amount})\''


def company(folder: Path, taxes: str = AS_SHOWN, shape: str = "1:1") -> Model:
    model, findings = read(write(folder, COMPANY.replace("TAXES", taxes).replace("SHAPE", f"'{shape}'")))
    assert [f for f in findings if f.severity == "error"] == []
    return model


@pytest.fixture(scope="module")
def sales(tmp_path_factory: pytest.TempPathFactory) -> Model:
    return company(tmp_path_factory.mktemp("sales"))


def eur(minor: int) -> Money:
    return Money(minor, "EUR")


def tax(code: str, base: int, amount: int) -> dict[str, Any]:
    return {"code": code, "base": eur(base), "amount": eur(amount), "rate": "19"}


def sold(taxes: list[dict[str, Any]], id_: str = "S-1", total: int = 11900) -> CanonicalEvent:
    return CanonicalEvent(
        id=f"e-{id_}", type="order.sold.v1", system="shop", object="sale", key=id_, version=1,
        data={"id": "S-1", "total": eur(total), "taxes": taxes}, occurred_at=NOW, effective_at=NOW, received_at=NOW,
    )  # fmt: skip


def settled(model: Model, asserted: list[dict[str, Any]], *shown: CanonicalEvent) -> Foil:
    (left,), (right,) = model.foils_by_event("order.sold.v1"), model.foils_by_observation("order.sold.v1")
    (mine,) = owed(left, sold(asserted), None)
    foil = foil_of(mine, None)
    items = [item for event in shown for item in observations_of(right, event, None)]
    rows = [msgspec.structs.replace(item, id=f"o{n}", document=f"E-{n}") for n, item in enumerate(items)]
    return next(iter(settle(MatchRows([foil], rows), NOW).foils), foil)


NINETEEN, SEVEN = tax("DE-19", 10000, 1900), tax("DE-7", 10000, 1900)
FREE = tax("EXEMPT", 10000, 0)
TWO_CODES = (
    "leg: taxes[DE-19].amount less by 19.00 EUR, taxes[DE-19].base less by 100.00 EUR, "
    "taxes[DE-7].amount more by 19.00 EUR, taxes[DE-7].base more by 100.00 EUR"
)


@pytest.mark.parametrize(
    ("asserted", "shown", "reason"),
    [
        ([NINETEEN], [NINETEEN], ""),
        ([], [], ""),
        ([FREE], [FREE], ""),
        ([NINETEEN, FREE], [FREE, NINETEEN], ""),
        ([tax("DE-19", 6000, 1140), tax("DE-19", 4000, 760)], [NINETEEN], ""),
        ([NINETEEN], [tax("DE-19", 10000, 1901)], ""),
        ([NINETEEN], [SEVEN], TWO_CODES),
        ([NINETEEN], [tax("DE-19", 10000, 1902)], "leg: taxes[DE-19].amount more by 0.02 EUR"),
        ([], [FREE], "leg: taxes[EXEMPT].base more by 100.00 EUR"),
        ([FREE], [], "leg: taxes[EXEMPT].base less by 100.00 EUR"),
        ([NINETEEN], [NINETEEN, FREE], "leg: taxes[EXEMPT].base more by 100.00 EUR"),
    ],
)
def test_both_sides_agree_code_by_code(
    sales: Model, asserted: list[dict[str, Any]], shown: list[dict[str, Any]], reason: str
) -> None:
    foil = settled(sales, asserted, sold(shown))
    assert foil.reason == reason
    assert foil.state is (FoilState.BROKEN if reason else FoilState.MATCHED)


def test_people_read_what_only_the_other_side_shows(sales: Model) -> None:
    foil = settled(sales, [], sold([NINETEEN]))
    assert difference_text(foil) == (
        "taxes DE-19 amount 19.00 EUR more than asserted, taxes DE-19 base 100.00 EUR more than asserted"
    )
    shape = foil_shape(foil, DocumentName())
    assert shape.residual["taxes[DE-19].base"] == amount(eur(-10000))
    assert shape.observed["taxes[DE-19].base"] == amount(eur(10000))


codes = st.sampled_from(["A", "B", "C"])
lists = st.lists(st.builds(tax, codes, st.integers(-300, 300), st.integers(-300, 300)), max_size=4)


@given(asserted=lists, shown=lists)
def test_it_matches_exactly_if_each_code_differs_within_the_tolerance(
    sales: Model, asserted: list[dict[str, Any]], shown: list[dict[str, Any]]
) -> None:
    def sums(entries: list[dict[str, Any]], code: str, field: str) -> int:
        return sum(entry[field].minor for entry in entries if entry["code"] == code)

    alike = all(
        abs(sums(asserted, code, field) - sums(shown, code, field)) <= 1
        for code in "ABC"
        for field in ("base", "amount")
    )
    foil = settled(sales, asserted, sold(shown))
    assert (foil.state is FoilState.MATCHED) is alike, foil.reason


def test_parts_of_a_document_show_parts_of_its_taxes(tmp_path: Path) -> None:
    model = company(tmp_path, shape="1:n")
    halves = [sold([tax("DE-19", 5000, 950)], f"S-{n}", 5950) for n in (1, 2)]
    assert settled(model, [NINETEEN], *halves).state is FoilState.MATCHED
    others = [halves[0], sold([tax("DE-7", 5000, 950)], "S-2", 5950)]
    foil = settled(model, [NINETEEN], *others)
    assert (foil.state, foil.reason.partition(":")[0]) == (FoilState.BROKEN, "leg")


def test_an_entry_can_show_taxes_with_the_opposite_sign(tmp_path: Path) -> None:
    model = company(tmp_path, TAKEN_BACK)
    foil = settled(model, [NINETEEN], sold([tax("DE-19", -10000, -1900)]))
    assert foil.state is FoilState.MATCHED


def test_a_document_without_the_leg_asserts_nothing_about_its_parts(sales: Model) -> None:
    foil = settled(sales, [NINETEEN], sold([NINETEEN, FREE]))
    alone = msgspec.structs.replace(foil, legs={"gross": eur(11900)}, state=FoilState.OPEN, partners=())
    (right,) = sales.foils_by_observation("order.sold.v1")
    (item,) = observations_of(right, sold([NINETEEN, FREE]), None)
    (changed,) = settle(MatchRows([alone], [item]), NOW + timedelta(days=1)).foils
    assert changed.state is FoilState.MATCHED


@pytest.mark.parametrize(
    ("taxes", "reason"),
    [
        ([{"code": "", "base": eur(1)}], "has no text in code"),
        ([{"code": "A", "rate": "19"}], "A has no money"),
        ([tax("A", 1, 1), {"code": "A", "base": Money(1, "USD")}], "A is in two currencies"),
        ({"code": "A"}, "is no list of parts per code"),
    ],
)
def test_what_has_no_parts_is_refused(sales: Model, taxes: Any, reason: str) -> None:
    (left,) = sales.foils_by_event("order.sold.v1")
    with pytest.raises(UnusableValue, match=reason):
        owed(left, sold(taxes), None)


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("taxes: {per: code", "taxes: {per: kode", "have no field `kode`"),
        ("taxes: {per: code", "taxes: {per: base", "is a string and no money"),
        ("taxes: {per: code", "taxes: {kind: equal, per: code", "is a sum, and not the total"),
        ("taxes: event.data.taxes}}]", "taxes: event.data.total}}]", "expected a list"),
    ],
)
def test_check_finds_a_leg_whose_parts_cannot_be_named(
    tmp_path: Path, old: str, new: str, message: str
) -> None:
    text = COMPANY.replace("TAXES", AS_SHOWN).replace("SHAPE", "'1:1'")
    assert old in text
    _, findings = read(write(tmp_path, text.replace(old, new)))
    assert any(message in f.message for f in findings), [str(f) for f in findings]


@pytest.mark.parametrize(("leg", "legs"), [("taxes", {"gross"}), ("gross", None)])
def test_a_document_lacks_a_leg_that_is_null_and_always_has_a_total(
    tmp_path: Path, leg: str, legs: set[str] | None
) -> None:
    text = COMPANY.replace("TAXES", AS_SHOWN).replace("SHAPE", "'1:1'")
    value = "event.data.taxes" if leg == "taxes" else "event.data.total"
    model, findings = read(
        write(tmp_path, text.replace(f"{leg}: {value}", f"{leg}: \"event.data.id != '' ? null : {value}\""))
    )
    assert [f for f in findings if f.severity == "error"] == []
    (left,) = model.foils_by_event("order.sold.v1")
    if legs is None:
        with pytest.raises(UnusableValue, match="leg gross of sales is neither money"):
            owed(left, sold([NINETEEN]), None)
    else:
        (mine,) = owed(left, sold([NINETEEN]), None)
        assert mine.legs.keys() == legs


def test_a_count_that_only_the_other_side_shows_is_no_money(sales: Model) -> None:
    foil = settled(sales, [NINETEEN], sold([NINETEEN]))
    assert foil.of_leg("rate_difference", 5) == 5
    assert foil.of_leg("taxes[DE-7].base", 5) == eur(5)
