"""Look-ups: one resolver, whatever source answers its reads."""

from __future__ import annotations

from datetime import UTC, date, datetime
from functools import cache
from typing import Any

import pytest

from counterfoil.core.errors import Misconfigured
from counterfoil.core.money import Money
from counterfoil.expr import LookupNeeded
from counterfoil.flow.context.lookups import Lookups
from counterfoil.model import Model
from counterfoil.rules import lookup
from counterfoil.rules.lookup import (
    CanonicalIdRead,
    ExternalIdRead,
    HeadsRead,
    LinkAnswer,
    LookupsNeeded,
    MintedId,
    RateRead,
    Read,
)
from counterfoil.store.memory import MemoryStore
from tests.unit.rules.company import BASE
from tests.unit.rules.driver import MONDAY, model_of


@cache
def model() -> Model:
    return model_of(BASE)


def resolve(
    name: str, *args: Any, answers: dict[Read[Any], Any] | None = None, speaks: str = ""
) -> tuple[Any, list[Read[Any]]]:
    """Return the value of a look-up, and the reads that it makes. Reads without an answer get None."""
    reads: list[Read[Any]] = []

    def answer(read: Read[Any]) -> Any:
        reads.append(read)
        return (answers or {}).get(read)

    return lookup.run_sync(lookup.resolve(model(), speaks, name, args), answer), reads


def test_a_system_of_record_that_speaks_mints_an_id_once_and_others_never() -> None:
    kind = next(kind for kind in model().objects.values() if kind.system)
    value, reads = resolve("canon", kind.name, "x1", kind.system, speaks=kind.system)
    assert isinstance(reads[-1], MintedId)
    assert reads[-1].canonical == value
    other = next(system for system in model().systems if system != kind.system)
    assert resolve("canon", kind.name, "x1", kind.system, speaks=other)[0] is None
    assert resolve("canon", kind.name, "x1", other, speaks=other)[0] is None


def test_a_link_wins_over_a_minted_id_and_may_say_that_there_is_none() -> None:
    kind = next(kind for kind in model().objects.values() if kind.system)
    read = CanonicalIdRead(kind.name, "x1", kind.system, lookup.account_of(model(), kind.system))
    for canonical in ("c1", None):
        value, reads = resolve(
            "canon", kind.name, "x1", kind.system, answers={read: LinkAnswer(canonical)}, speaks=kind.system
        )
        assert (value, reads) == (canonical, [read])


def test_without_a_system_the_objects_own_system_of_record_comes_last() -> None:
    kind = next(kind for kind in model().objects.values() if kind.system)
    _, reads = resolve("xref", kind.name, "c1")
    systems = [read.system for read in reads if isinstance(read, ExternalIdRead)]
    assert sorted(systems) == sorted(model().systems)
    assert systems[-1] == kind.system


def test_the_cutoff_is_the_end_of_the_first_postable_period() -> None:
    closed = {"start": date(2026, 1, 1), "end": date(2026, 1, 31), "state": "closed"}
    open_ = {"start": date(2026, 2, 1), "end": date(2026, 2, 28), "state": "open"}
    periods = {HeadsRead("period"): [open_, closed]}
    assert resolve("cutoff", None, answers=periods)[0] == datetime(2026, 3, 1, tzinfo=UTC)
    assert resolve("period", None, date(2026, 1, 31), answers=periods)[0] == closed
    assert resolve("period", None, date(2026, 3, 1), answers=periods)[0] is None
    assert resolve("cutoff", None, answers={HeadsRead("period"): [closed]})[0] is None


ENTITY = "kind: legal_entity\nname: {0}\ntitle: A\ncountry: DE\ncurrency: EUR\nzone: {1}\n"


@pytest.mark.parametrize(
    ("entity", "end", "cutoff"),
    [
        ("de", date(2026, 2, 28), datetime(2026, 2, 28, 23, tzinfo=UTC)),
        ("de", date(2026, 3, 31), datetime(2026, 3, 31, 22, tzinfo=UTC)),  # summer time has begun
        ("us", date(2026, 2, 28), datetime(2026, 3, 1, 5, tzinfo=UTC)),
        ("fr", date(2026, 2, 28), datetime(2026, 3, 1, tzinfo=UTC)),
        (None, date(2026, 2, 28), datetime(2026, 3, 1, tzinfo=UTC)),
    ],
)
def test_the_cutoff_of_a_declared_entity_is_midnight_in_its_zone(
    entity: str | None, end: date, cutoff: datetime
) -> None:
    entities = [ENTITY.format("de", "Europe/Berlin"), ENTITY.format("us", "America/New_York")]
    declared = model_of(BASE, *entities)
    period = {"start": end.replace(day=1), "end": end, "state": "open"}
    work = lookup.resolve(declared, "", "cutoff", (entity,))
    assert lookup.run_sync(work, {HeadsRead("period"): [period]}.get) == cutoff


def test_an_amount_is_converted_by_the_rate_of_its_pair_and_rounded_half_even() -> None:
    rate = {RateRead("EUR/USD"): "1.1050"}
    assert resolve("fx", Money(10_00, "EUR"), "USD", answers=rate)[0] == Money(11_05, "USD")
    assert resolve("fx", Money(1, "EUR"), "USD", answers={RateRead("EUR/USD"): "2.5"})[0] == Money(2, "USD")
    assert resolve("fx", Money(5, "USD"), "USD") == (Money(5, "USD"), [])
    assert resolve("fx", Money(5, "EUR"), "USD")[0] is None


def test_a_look_up_that_does_not_exist_is_misconfigured() -> None:
    with pytest.raises(Misconfigured, match="no look-up"):
        resolve("weather", "Paris")


async def test_work_is_repeated_until_every_answer_is_there() -> None:
    lookups = Lookups(MemoryStore(clock=lambda: MONDAY), model(), MONDAY)
    questions = (("guard", ("limit", "a")), ("guard", ("limit", "b")))
    tries = 0

    def work() -> int:
        nonlocal tries
        tries += 1
        missing = tuple(q for q in questions if q not in lookups.answers)
        if missing:
            raise LookupsNeeded(missing)
        return sum(lookups.answers[q] for q in questions)

    assert (await lookups.complete(work), tries) == (0, 2)
    ask = lookup.lookup_in(lookups.answers, "billing")
    assert ask("guard", ("limit", "a")) == 0
    with pytest.raises(LookupNeeded) as needed:
        ask("canon", ("invoice", "x"))
    assert lookup.questions_of(needed.value) == (("canon", ("invoice", "x", "billing")),)
