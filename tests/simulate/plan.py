"""Plan of a seed: new facts in systems, actions of persons, and every fault. It is data, so that it can be shrunk.

Faults that belong to a call or a commit name it by its number in the run; the others name a moment.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from counterfoil.core.errors import ErrorClass

LENGTH = 150.0
"""Seconds in which all facts arise and all faults occur."""
ASKER = "ann"
PERSONS = {
    "ann": ("agent",),
    "lea": ("agent", "lead"),
    "leo": ("lead",),
    "fay": ("finance",),
    "flo": ("finance",),
    "fred": ("finance", "lead"),
}
BOUND = {"fay": ("us",), "leo": ("de",)}
"""Persons who act for some entities only."""
LEDGERS = ("bills", "ledger", "stock", "mail")
FIRST, SECOND = "us", "de"
"""Legal entities: the default one, and one with a desk and a ledger of its own."""
STAND_INS = {"desk": "desk-de", "ledger": "ledger-de"}
"""Systems of the second entity, by the system of the first one whose part they play."""
SYSTEMS = ("desk", *LEDGERS, *STAND_INS.values())
SECOND_SHARE = 1 / 3
"""Share of the facts and faults that concern the second entity."""


@dataclass(frozen=True)
class NewFact:
    """A new fact in a system. `arrives` are the delays of its deliveries; if empty, only a poll finds it."""

    at: float
    system: str
    type: str
    body: tuple[tuple[str, Any], ...]
    arrives: tuple[float, ...]


@dataclass(frozen=True)
class Echo:
    """Deliveries of the `nth` document that the ledger shows."""

    nth: int
    arrives: tuple[float, ...]
    short: int = 0
    """Cents by which it is short of the requested amount."""


@dataclass(frozen=True)
class Stray:
    """The ledger of the other entity shows the `nth` document of each ledger: too, or `instead`."""

    nth: int
    arrives: tuple[float, ...]
    instead: bool


@dataclass(frozen=True)
class Votes:
    at: float
    person: str
    approve: bool


@dataclass(frozen=True)
class Resolves:
    at: float
    person: str


@dataclass(frozen=True)
class Attends:
    """A person comes to be active or not."""

    at: float
    person: str
    active: bool


@dataclass(frozen=True)
class AtCall:
    """The `nth` call of a system goes wrong: see systems.py."""

    system: str
    nth: int
    kind: str
    share: float


@dataclass(frozen=True)
class AtLook:
    """The `nth` look-up or read of a system goes wrong."""

    system: str
    nth: int
    kind: str


@dataclass(frozen=True)
class AtCommit:
    """At the `nth` commit: `crash`, `pause` or `again`, `before` it or `after` it (the answer is lost)."""

    nth: int
    kind: str
    after: bool
    seconds: float


@dataclass(frozen=True)
class AtWire:
    """At the `nth` call of all: `crash` or `pause`, before the first byte or after the answer."""

    nth: int
    kind: str
    after: bool
    seconds: float


@dataclass(frozen=True)
class Strikes:
    """At a moment a worker's slot is killed or paused; how long until it is back."""

    at: float
    slot: int
    kind: str
    seconds: float


@dataclass(frozen=True)
class Jumps:
    """The database's clock is moved."""

    at: float
    seconds: float


@dataclass(frozen=True)
class Down:
    """A system cannot be reached for a while."""

    at: float
    system: str
    seconds: float


Item = (
    NewFact | Echo | Stray | Votes | Resolves | Attends | AtCall | AtLook | AtCommit | AtWire | Strikes | Jumps
    | Down
)  # fmt: skip


@dataclass(frozen=True)
class Plan:
    seed: int
    workers: int
    deaf: tuple[bool, ...]
    """Workers that get no wake-ups and only poll."""
    named: tuple[bool, ...]
    """Workers that restart under the same name, and so know the calls of their former process."""
    items: tuple[tuple[int, Item], ...]
    """With the numbers by which `--keep` selects them."""

    def keeping(self, numbers: Sequence[int]) -> Plan:
        selected = set(numbers)
        return replace(self, items=tuple(i for i in self.items if i[0] in selected))


def planned(seed: int) -> Plan:
    """The plan of a seed."""
    r = random.Random(seed)
    workers = r.choice((2, 3))
    items = [*_stories(r), *_people(r), *_faults(r, workers)]
    by_entity = random.Random(f"{seed}/entities")
    items = [*_of_entities(by_entity, items), *_strays(by_entity)]
    return Plan(
        seed=seed,
        workers=workers,
        deaf=tuple(r.random() < 0.2 for _ in range(workers)),
        named=tuple(r.random() < 0.5 for _ in range(workers)),
        items=tuple(enumerate(items)),
    )


# ------------------------------------------------------------------ entities


def _of_entities(r: random.Random, items: Sequence[Item]) -> Iterator[Item]:
    """Give each fact and each fault of a system to an entity; facts about one object have the same."""
    entities: dict[tuple[str, str], str] = {}
    credits = dict.fromkeys((FIRST, SECOND), 0)
    for item in items:
        match item:
            case NewFact(type="credit.requested"):
                entity = _entity(r)
                # Each desk counts from zero: the same id of both is two credits.
                name = f"CR{credits[entity]}"
                credits[entity] += 1
                body = tuple({**dict(item.body), "id": name}.items())
                yield replace(item, system=_system(item.system, entity), body=body)
            case NewFact(type="period.reopened"):
                yield replace(item, system=_system(item.system, _entity(r)))
            case NewFact():
                key = (_KINDS[item.type.partition(".")[0]], str(dict(item.body)["id"]))
                entity = entities.setdefault(key, _entity(r))
                yield replace(item, body=(*item.body, ("entity", entity)))
            case AtCall() | AtLook() | Down() if item.system in STAND_INS:
                yield replace(item, system=_system(item.system, _entity(r)))
            case _:
                yield item


_KINDS = {"quote": "contract"} | {kind: kind for kind in ("contract", "invoice", "order", "notice")}
"""The object that a fact is about, by the first word of its type."""


def _entity(r: random.Random) -> str:
    return SECOND if r.random() < SECOND_SHARE else FIRST


def _system(system: str, entity: str) -> str:
    """Return the system that plays the part of a system in an entity."""
    return STAND_INS.get(system, system) if entity == SECOND else system


def _strays(r: random.Random) -> Iterator[Stray]:
    for n in range(3):
        if r.random() < 0.15:
            yield Stray(n + 1, r.choice(((), (0.1,), (0.1, 5.0), (30.0,))), r.random() < 0.5)


# ------------------------------------------------------------------ facts


def _new_fact(r: random.Random, at: float, system: str, type_: str, **body: Any) -> NewFact:
    fate = r.random()
    if fate < 0.65:
        arrives: tuple[float, ...] = (r.uniform(0.01, 0.5),)
    elif fate < 0.75:
        arrives = (r.uniform(0.01, 0.5), r.uniform(0.1, 8.0))  # twice
    elif fate < 0.82:
        arrives = ()  # lost
    else:
        arrives = (r.uniform(1.0, 15.0),)  # late, and behind what came after it
    return NewFact(round(at, 3), system, type_, tuple(body.items()), tuple(round(a, 3) for a in arrives))


def _stories(r: random.Random) -> Iterator[Item]:
    invoices = r.choice((1, 2))
    for n in range(invoices):
        for version in range(r.choice((1, 1, 2, 3))):
            at = 0.0 if version == 0 else r.uniform(0, LENGTH * 0.6)
            status = "open" if r.random() < 0.9 else "draft"
            cents = r.choice((40_000, 90_000))
            yield _new_fact(
                r, at, "bills", "invoice.changed", id=f"I{n}", version=version + 1, status=status, cents=cents
            )
    customers = [f"C{n}" for n in range(r.choice((1, 2)))]
    for n in range(r.choice((1, 2, 3))):
        yield _new_fact(
            r, r.uniform(0.5, 60), "desk", "credit.requested", id=f"CR{n}", version=1, customer=r.choice(customers),
            invoice=f"I{r.randrange(invoices)}", cents=r.choice((5_000, 9_900, 60_000, 90_000, 180_000)),
            incident=f"X{r.choice((n, n, n, 0))}", by=f"{r.choice((ASKER, ASKER, 'lea'))}@sim.example",
        )  # fmt: skip
    for n in range(r.choice((0, 1, 1, 2))):
        at = r.uniform(0.5, 60)
        yield _new_fact(
            r, at, "desk", "order.placed", id=f"O{n}", version=1, customer=r.choice(customers),
            cents=r.choice((12_000, 45_000)), by=f"{ASKER}@sim.example",
            items=tuple(f"item{k}" for k in range(r.choice((0, 1, 2, 3)))), express=r.random() < 0.4,
        )  # fmt: skip
        if r.random() < 0.7:
            yield _new_fact(r, at + r.uniform(0, 60), "desk", "order.shipped", id=f"O{n}", version=1)
        if r.random() < 0.35:
            yield _new_fact(r, at + r.uniform(0, 40), "desk", "order.cancelled", id=f"O{n}", version=1)
    for n in range(r.choice((0, 0, 1))):
        for version in range(r.choice((1, 2, 3))):
            yield _new_fact(
                r, r.uniform(0, 50), "desk", "contract.changed", id=f"K{n}", version=version + 1,
                ends_at=r.choice(("2026-01-05T09:00:30Z", "2026-01-05T09:01:40Z", "2026-01-05T09:02:20Z")),
                seats=r.choice((1, 2, 3)), cents=r.choice((20_000, 30_000)),
            )  # fmt: skip
        if r.random() < 0.7:
            yield _new_fact(r, r.uniform(20, LENGTH), "desk", "quote.signed", id=f"K{n}", version=1)
    for n in range(r.choice((0, 1, 1))):
        yield _new_fact(
            r, r.uniform(0.5, 60), "desk", "notice.asked", id=f"N{n}", version=1, item=r.choice("AB")
        )
    if r.random() < 0.5:
        yield _new_fact(r, r.uniform(20, LENGTH), "ledger", "period.reopened", id="P1", version=1)
    for n in range(6):
        if r.random() < 0.5:
            fates: tuple[tuple[float, ...], ...] = ((), (0.2, 4.0), (20.0,), (0.01,))
            yield Echo(n + 1, r.choice(fates), 1 if r.random() < 0.1 else 0)


def _people(r: random.Random) -> Iterator[Item]:
    for _ in range(r.randrange(4, 14)):
        yield Votes(round(r.uniform(1, LENGTH), 3), r.choice([*PERSONS]), r.random() < 0.85)
    for _ in range(r.randrange(0, 5)):
        yield Resolves(round(r.uniform(5, LENGTH), 3), r.choice([*PERSONS]))
    for _ in range(r.choice((0, 0, 1, 2))):
        person, at = r.choice([*PERSONS]), r.uniform(1, LENGTH)
        yield Attends(round(at, 3), person, False)
        if r.random() < 0.6:
            yield Attends(round(at + r.uniform(1, 60), 3), person, True)


# ------------------------------------------------------------------ faults

CALL_FAULTS = (
    "drop", "drop", "lost", "late", "late", "error done", "error not", "stored error", "slow", "slow done", "throttled",
    "bad body", *(f"refused {c}" for c in ErrorClass),
)  # fmt: skip


def _faults(r: random.Random, workers: int) -> Iterator[Item]:
    level = r.choice((0.2, 1.0, 1.0, 2.0))

    def some(most: int) -> range:
        return range(r.randint(0, round(most * level)))

    for _ in some(5):
        yield AtCall(r.choice(LEDGERS), r.randint(1, 6), r.choice(CALL_FAULTS), round(r.random(), 3))
    for _ in some(2):
        yield AtLook(r.choice(LEDGERS), r.randint(1, 5), r.choice(("dark", "dark", "begun")))
    for _ in some(3):
        kind = r.choice(("crash", "crash", "pause", "again", "again"))
        yield AtCommit(r.randint(1, 90), kind, r.random() < 0.5, _length(r))
    for _ in some(2):
        yield AtWire(r.randint(1, 16), r.choice(("crash", "pause")), r.random() < 0.5, _length(r))
    for _ in some(2):
        yield Strikes(
            round(r.uniform(0, LENGTH), 3), r.randrange(workers), r.choice(("crash", "pause")), _length(r)
        )
    if r.random() < 0.2 * level:
        yield Jumps(round(r.uniform(0, LENGTH), 3), r.choice((-700.0, -20.0, -3.0, 4.0, 20.0, 700.0)))
    for _ in some(1):
        yield Down(round(r.uniform(0, LENGTH), 3), r.choice(SYSTEMS), round(r.uniform(2, 60), 3))


def _length(r: random.Random) -> float:
    return round(r.choice((0.5, 3.0, 8.0, 14.0, 40.0)) * r.uniform(0.5, 1.5), 3)
