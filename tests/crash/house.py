"""The fast company of the kill rounds: its outside systems as a process, its governance, and the truth outside.

A credit is asked for at the desk (a webhook and, behind it, a feed) and goes through a system of every repeat kind.
What was made there is read from the systems' own file, not through the connectors under test.
"""

from __future__ import annotations

import contextlib
import json
import shutil
import sqlite3
import tempfile
from collections import Counter
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2

from counterfoil.connectors import signature
from counterfoil.core.effect import EffectState
from counterfoil.demo.ports import free_port
from counterfoil.store.dump import Dump
from tests.companies.acme import Program, token_of
from tests.companies.base import write_people
from tests.crash.house_systems import TOKEN

HERE = Path(__file__).parent
GOVERNANCE = HERE / "house_governance"
WORKFLOW = "credit-through-the-house"
WRITES = {
    "billing.credit.issue": "charges",
    "erp.credit.post": "documents",
    "erp.entry.add": "entries",
    "erp.letter.send": "letters",
}
"""Each write with what it makes outside: key, unique, find, blind."""
HOOK_SECRET = "whsec_aG91c2UtaG9vay1zZWNyZXQtMDE="
OWNED = ("find", "blind")
CONTRADICTION = "contradiction"
PERSONS = {"clerk": "clerk", "lead": "lead", "admin": "administrator"}
AUTOMATIC, VOTED = 5_000, 20_000
"""Cents that need no vote, and cents that need one."""


@dataclass(frozen=True)
class Credit:
    """What was asked for."""

    id: str
    customer: str
    cents: int
    letter: bool

    def request(self) -> dict[str, Any]:
        asked = {"id": self.id, "customer": self.customer, "cents": self.cents, "letter": self.letter}
        return {**asked, "agent": "clerk"}


class House:
    """The systems, and what Counterfoil's processes need to work with them."""

    def __init__(self, home: Path, seconds: float = 0.0) -> None:
        self.home = home
        self.port, systems_port = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.systems_url = f"http://127.0.0.1:{systems_port}"
        self.file = home / "systems.sqlite"
        self.systems = Program(
            "systems",
            ["-m", "tests.crash.house_systems", str(systems_port), str(self.file), "--seconds", str(seconds)],
            systems_port, home, {"PYTHONPATH": str(HERE.parents[1])},
        )  # fmt: skip
        tokens = {person: token_of(person) for person in PERSONS}
        roles = {person: [role] for person, role in PERSONS.items()}
        write_people(home / "people.json", tokens, roles, "house.example")

    def environment(self) -> dict[str, str]:
        return {
            "HOUSE_URL": self.systems_url,
            "HOUSE_API": str(HERE / "house_api.yaml"),
            "HOUSE_TOKEN": TOKEN,
            "HOUSE_HOOK_SECRET": HOOK_SECRET,
            "COUNTERFOIL_PEOPLE": str(self.home / "people.json"),
            "PYTHONPATH": str(HERE.parents[1]),
        }

    async def ask(self, http: httpx2.AsyncClient, credit: Credit) -> None:
        """File the request at the desk. Its feed shows it from now on."""
        headers = {"authorization": f"Bearer {TOKEN}"}
        answer = await http.post(f"{self.systems_url}/requests", headers=headers, json=credit.request())
        assert answer.status_code == 201, answer.text

    def callback(self, credit: Credit) -> tuple[dict[str, str], bytes]:
        """The desk's webhook about it: headers and body."""
        body = json.dumps({**credit.request(), "kind": "credit.requested", "revision": 1}).encode()
        return signature.sign(
            "standard-webhooks-v1", HOOK_SECRET, body, datetime.now(UTC), f"hook-{credit.id}"
        ), body

    # ------------------------------------------------------------------ what was made

    def made(self) -> list[tuple[str, str, str, int]]:
        """(kind, reference, credit, cents) of every object outside, oldest first."""
        with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as db:
            return db.execute("select kind, reference, credit, cents from made order by sequence").fetchall()

    def doubled(self, dump: Dump) -> set[tuple[str, str]]:
        """What is there twice and owned by an open Case that says so: kind and credit. Only a system that neither
        refuses nor recognises a repeat can come to that."""
        kinds = {effect.id: WRITES[effect.operation] for effect in dump.effects if effect.repeat in OWNED}
        told = {case.effect for case in dump.cases if case.state == "open" and case.reason == CONTRADICTION}
        return {
            (kind, credit)
            for kind, reference, credit, _ in self.made()
            if reference in told and reference in kinds
        }

    def violations(self, dump: Dump, credits: Collection[Credit]) -> list[str]:
        """Invariant 3, for credits whose Runs have ended: exactly the objects asked for, with the amount asked
        for, under the key of the effect that is confirmed; or an owned Case about the second."""
        found = []
        doubled = self.doubled(dump)
        by_credit = {credit.id: credit for credit in credits}
        made = self.made()
        count = Counter((kind, credit) for kind, _, credit, _ in made)
        effects = {effect.id: effect for effect in dump.effects}
        for credit in credits:
            for kind in WRITES.values():
                expected = int(kind != "letters" or credit.letter)
                if count[kind, credit.id] != expected + ((kind, credit.id) in doubled):
                    found.append(
                        f"3: {kind} of {credit.id}: {count[kind, credit.id]} outside instead of {expected}"
                    )
        for kind, reference, credit_id, cents in made:
            effect, asked = effects.get(reference), by_credit.get(credit_id)
            if effect is None or WRITES[effect.operation] != kind:
                found.append(f"3: {kind} {reference} of {credit_id} was asked for by no effect")
            elif asked is not None and effect.state is not EffectState.CONFIRMED:
                found.append(f"3: {kind} {reference} of {credit_id} is there, its effect is {effect.state}")
            if asked is not None and asked.cents != cents:
                found.append(f"3: {kind} of {credit_id} over {cents} instead of {asked.cents}")
        return found

    def served(self) -> dict[str, list[str]]:
        """The credits of each customer in the order in which their writes came, as often as it changed."""
        with contextlib.closing(sqlite3.connect(f"file:{self.file}?mode=ro", uri=True)) as db:
            rows = db.execute("select customer, credit from made order by sequence").fetchall()
        order: dict[str, list[str]] = {}
        for customer, credit in rows:
            credits = order.setdefault(customer, [])
            if credits[-1:] != [credit]:
                credits.append(credit)
        return order

    def interleaved(self) -> list[str]:
        """Invariant 8 as the outside sees it: one credit of a customer is written to its end before another."""
        return [
            f"8: the writes of {customer}'s credits came mixed: {' '.join(credits)}"
            for customer, credits in self.served().items()
            if len(credits) != len(set(credits))
        ]


@contextlib.contextmanager
def house(seconds: float = 0.0) -> Iterator[House]:
    """The systems, fresh and running; `seconds` is how long each write takes there."""
    home = Path(tempfile.mkdtemp(prefix="counterfoil-house-"))
    made = House(home, seconds)
    try:
        made.systems.up()
        yield made
    finally:
        made.systems.stop()
        shutil.rmtree(home)
