"""Look-ups of formulas: one resolver for the engine, replay and proof.

`resolve` is a coroutine that awaits reads and nothing else. Each caller answers the reads from its own source:
the engine from its store, replay from recorded rows, proof from assumptions.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Coroutine, Generator, Iterable, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any, Generic, TypeAlias, TypeVar
from zoneinfo import ZoneInfo

import msgspec

from counterfoil.core import ids
from counterfoil.core.errors import Misconfigured
from counterfoil.core.money import Money, Rounding
from counterfoil.core.people import Person, find_person
from counterfoil.expr import LookupNeeded
from counterfoil.model import Model
from counterfoil.rules.posting_date import POSTABLE
from counterfoil.rules.templates import Lookup, UnusableValue

Question: TypeAlias = tuple[str, tuple[Any, ...]]
Answers: TypeAlias = Mapping[Question, Any]
HeadNames: TypeAlias = dict[str, Any]
"""A head as formulas read it."""
A = TypeVar("A")
T = TypeVar("T")


class LookupsNeeded(LookupNeeded):
    """Several look-ups that one pass needs before it can give a value."""

    def __init__(self, questions: tuple[Question, ...]) -> None:
        super().__init__(*questions[0])
        self.questions = questions

    def __reduce__(self) -> tuple[object, ...]:
        return (type(self), (self.questions,))


def questions_of(needed: LookupNeeded) -> tuple[Question, ...]:
    """Return every look-up that the exception names."""
    return needed.questions if isinstance(needed, LookupsNeeded) else ((needed.name, tuple(needed.args)),)


def qualified(name: str, args: tuple[Any, ...], system: str) -> Question:
    """Return the question with `system` filled in where `canon`, `link` or `xref` names none."""
    return (name, (*args, system) if len(args) == 2 and name in ("canon", "link", "xref") else args)


def at_entity(model: Model, name: str, args: tuple[Any, ...]) -> Question:
    """Return the question about ids in the system that plays the named one's part for the model's legal entity."""
    if len(args) == 3 and name in ("canon", "link", "xref") and args[2] in model.stand_ins_here:
        return (name, (*args[:2], model.stand_ins_here[args[2]]))
    return (name, args)


def lookup_in(answers: Answers, system: str = "") -> Lookup:
    """Return a look-up function over the answers. It raises LookupNeeded for a missing one.

    `canon`, `link` and `xref` without a system mean `system`, if one is given.
    """

    def lookup(name: str, args: tuple[Any, ...]) -> Any:
        question = qualified(name, args, system) if system else (name, args)
        if question not in answers:
            raise LookupNeeded(*question)
        return answers[question]

    return lookup


# ------------------------------------------------------------------ reads


class Read(msgspec.Struct, Generic[A], frozen=True):
    """One primitive read; awaiting it returns the answer of the source."""

    def __await__(self) -> Generator[Read[Any], Any, A]:
        answer: A = yield self
        return answer


class HeadRead(Read[HeadNames | None], frozen=True):
    object: str
    key: str


class HeadsRead(Read[Sequence[HeadNames]], frozen=True):
    object: str


class ExternalIdRead(Read[str | None], frozen=True):
    object: str
    canonical: str
    system: str


class LinkAnswer(msgspec.Struct, frozen=True):
    """The canonical id of a Link. None: the source knows that the external id is not linked."""

    canonical: str | None


class CanonicalIdRead(Read[LinkAnswer | None], frozen=True):
    object: str
    ext_id: str
    system: str
    account: str


class MintedId(Read[None], frozen=True):
    """Report of an id that the resolver minted, because the system of record speaks of a new object."""

    object: str
    canonical: str
    ext_id: str
    system: str


class TableRead(Read[Any], frozen=True):
    table: str
    keys: tuple[Any, ...]


class RateRead(Read[Any], frozen=True):
    """The exchange rate of a pair such as `EUR/USD`."""

    pair: str


class GuardRead(Read[int], frozen=True):
    scope: str
    key: str


class PersonRead(Read[dict[str, Any] | None], frozen=True):
    """The active person whom a system calls by this name, with `id` and `roles`."""

    system: str
    name: str


def run_sync(work: Coroutine[Read[Any], Any, T], answer: Callable[[Read[Any]], Any]) -> T:
    """Run a look-up to its end with a source that answers at once."""
    try:
        read = work.send(None)
        while True:
            read = work.send(answer(read))
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        work.close()


async def run_async(work: Coroutine[Read[Any], Any, T], answer: Callable[[Read[Any]], Awaitable[Any]]) -> T:
    """Run a look-up to its end with a source that is awaited."""
    try:
        read = work.send(None)
        while True:
            read = work.send(await answer(read))
    except StopIteration as end:
        value: T = end.value
        return value
    finally:
        work.close()


def person_named(persons: Iterable[Person], system: str, name: str) -> dict[str, Any] | None:
    """Answer a PersonRead from the persons on file."""
    person = find_person(persons, system, name)
    return None if person is None or not person.active else {"id": person.id, "roles": list(person.roles)}


# ------------------------------------------------------------------ the resolver


def single_read(name: str, args: tuple[Any, ...]) -> Read[Any] | None:
    """Return the one read that answers a look-up as it is, or None if the look-up needs more than that.

    Most look-ups are single reads. A source that answers at once need not start a coroutine for them.
    """
    match name, args:
        case "head", (object_, key):
            return HeadRead(str(object_), str(key))
        case "xref", (object_, canonical, system):
            return ExternalIdRead(str(object_), str(canonical), str(system))
        case "table", (table, *keys):
            return TableRead(str(table), tuple(keys))
        case "guard", (scope, key):
            return GuardRead(str(scope), str(key))
        case "person", (system, name):
            return PersonRead(str(system), str(name))
        case "periods", (object_,):
            return HeadsRead(str(object_))
    return None


async def resolve(model: Model, speaks: str, name: str, args: tuple[Any, ...]) -> Any:
    """Answer one look-up; None where there is no value. `speaks` is the system whose delivery is admitted.

    Raises Misconfigured for a look-up that does not exist.
    """
    name, args = at_entity(model, name, args)
    read = single_read(name, args)
    if read is not None:
        return await read
    match name, args:
        case "xref", (object_, canonical):
            return await _external_id_anywhere(model, str(object_), str(canonical))
        case "link", (object_, ext_id, system):
            account = account_of(model, str(system))
            answer = await CanonicalIdRead(str(object_), str(ext_id), str(system), account)
            return None if answer is None else answer.canonical
        case "canon", (object_, ext_id, system):
            return await _canonical_id(model, speaks, str(object_), str(ext_id), str(system))
        case "period", (entity, day):
            return await _period(_entity(model, entity), day)
        case "cutoff", _:
            return await _cutoff(model, _entity(model, args[0] if args else None))
        case "fx", (money, currency, *_):
            return await _converted(money, str(currency))
    raise Misconfigured(f"no look-up {name}{args!r}")


async def _external_id_anywhere(model: Model, object_: str, canonical: str) -> str | None:
    """Return the first external id; the object's own system of record comes last.

    A formula that names no system means the one that the object was carried to.
    """
    own = model.objects[object_].system if object_ in model.objects else ""
    for system in sorted(model.systems, key=lambda name: (name == own, name)):
        ext_id = await ExternalIdRead(object_, canonical, system)
        if ext_id is not None:
            return ext_id
    return None


async def _canonical_id(model: Model, speaks: str, object_: str, ext_id: str, system: str) -> str | None:
    account = account_of(model, system)
    # A system means its own ids; another one may mean those of each system that plays its part.
    members = [system] if speaks == system else model.members(system)
    linked = {
        m: link for m in members if (link := await CanonicalIdRead(object_, ext_id, m, account_of(model, m)))
    }
    own = model.systems[speaks].legal_entity if speaks in model.systems else None
    of_entity = [m for m in linked if own is not None and model.systems[m].legal_entity == own]
    chosen = of_entity or list(linked)
    if len({linked[m].canonical for m in chosen}) > 1:
        places = " and ".join(chosen)
        raise UnusableValue(
            f"the {object_} {ext_id} exists in {places}: the mapping must say which of them it means"
        )
    if chosen:
        return linked[chosen[0]].canonical
    if not mints(model, object_, system, speaks):
        return None
    canonical = ids.canonical_id(object_, system, account, ext_id)
    await MintedId(object_, canonical, ext_id, system)
    return canonical


def account_of(model: Model, system: str) -> str:
    """Return the account that Links to the system belong to; empty for an unknown system."""
    kind = model.systems.get(system)
    return kind.account if kind is not None else ""


def mints(model: Model, object_: str, system: str, speaks: str) -> bool:
    """Return True if a new external id gets a canonical id: only from the speaking system of record."""
    kind = model.objects.get(object_)
    return kind is not None and kind.system == model.family(system) and speaks == system


def table_value(model: Model, table: str, keys: Sequence[Any], day: date) -> Any:
    """Return the value of a table row that is valid on `day`. Raises Misconfigured for an unknown table."""
    try:
        return model.lookup_table(table, list(keys), day)
    except KeyError:
        raise Misconfigured(f"no table {table}") from None


def _entity(model: Model, named: Any) -> str:
    """Return the legal entity that a look-up names; the default one if it names none that is declared."""
    return named if isinstance(named, str) and named in model.legal_entities else model.default_entity


def of_entity(periods: Iterable[HeadNames], entity: str) -> list[HeadNames]:
    """Return the periods of a legal entity; all of them if none is named. A period without one counts for each."""
    return [p for p in periods if not entity or p.get("legal_entity", "") in ("", entity)]


async def _period(entity: str, day: date) -> HeadNames | None:
    day = day.date() if isinstance(day, datetime) else day
    periods = of_entity(await HeadsRead("period"), entity)
    return next((period for period in periods if period["start"] <= day <= period["end"]), None)


async def _cutoff(model: Model, entity: str) -> datetime | None:
    """Return the end of the first postable period of a legal entity: midnight after its last day, in its zone."""
    periods = of_entity(await HeadsRead("period"), entity)
    ends = [period["end"] for period in periods if period["state"] in POSTABLE]
    if not ends:
        return None
    zone = ZoneInfo(model.legal_entities[entity].zone) if entity else UTC
    return datetime.combine(min(ends) + timedelta(days=1), time(), tzinfo=zone).astimezone(UTC)


async def _converted(money: Money, currency: str) -> Money | None:
    if money.currency == currency:
        return money
    rate = await RateRead(f"{money.currency}/{currency}")
    if rate is None:
        return None
    return Money.from_major(money.major() * Decimal(rate), currency, Rounding.HALF_EVEN)
