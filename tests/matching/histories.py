"""Random histories of documents in the JSON form of `counterfoil match FILE`.

Left documents are drawn first, right ones mostly echo them, then events change both sides. What the specification leaves
open is not drawn: two pairings of one document, and cycles of reversals.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from random import Random
from typing import Any

from hypothesis import strategies as st

from tests.matching.oracle import WAIVABLE, judge

Record = dict[str, Any]

SHAPES = ("1:1", "1:n", "n:1", "n:m")
CURRENCIES = ("USD", "EUR", "JPY")
ENTITIES = ("AT01", "US01")
MAX_DOCUMENTS = 5
START = datetime(2026, 3, 2, 9, 15, tzinfo=UTC)
WHOLE_AMOUNTS = ("100", "60", "40", "20", "120", "7")
FINE_AMOUNTS = ("100.00", "60.00", "40.00", "99.97", "0.03", "25.50")
TAX_CODES = ("standard", "reverse charge", "exempt")
PERIODS = ("2026-02", "2026-03")
TOLERANCES = ("0", "0.01", "0.05", "1")


def random_history(seed: int) -> dict[str, Any]:
    """Return the history of this seed: one to three matches, the documents shuffled."""
    return _Author(Random(seed)).write()


@st.composite
def histories(draw: st.DrawFn) -> dict[str, Any]:
    """Draw one history; a failing one is made smaller by Hypothesis."""
    return _Author(draw(st.randoms(use_true_random=False))).write()


def _text(amount: Decimal) -> str:
    return format(amount, "f")


@dataclass
class _Author:
    """Draws one history: documents, then events, then a person's pairings and waivers."""

    random: Random
    legs: dict[str, dict[str, Any]] = field(default_factory=dict)
    shape: str = "1:1"
    documents: list[Record] = field(default_factory=list)

    def write(self) -> dict[str, Any]:
        self.shape = self._one_of(SHAPES)
        self.legs = self._legs()
        keys = ["INV-1", "INV-2", "INV-3"][: self._one_of([1, 1, 1, 2, 3])]
        dues = {key: self._due() for key in keys}
        for _ in range(self._one_of([0, 1, 1, 2, 2, 3, 4, 4])):
            self._assert(self._one_of(keys), dues)
        for original in self._newest("left"):
            for _ in range(self.random.choice([0, 1, 1, 1, 1, 2])):
                self._echo(original)
        if self._chance(4):
            self._add("right", self._one_of(keys), self._amounts(), *self._owner(keys[0]))
        if self._chance(10):
            self._add("right", self._one_of(keys), self._with_total(Decimal("0.00")), *self._owner(keys[0]))
        for _ in range(self.random.randint(0, 5)):
            if self.documents:
                self._change(keys)
        if self._chance(3):
            self._cap(keys)
        return self._finish()

    def _finish(self) -> dict[str, Any]:
        history: dict[str, Any] = {
            "legs": self.legs,
            "shape": self.shape,
            "grace_s": 86400,
            "documents": self._shuffled(self.documents),
        }
        if not self.documents or not self._chance(4):
            # Due times are whole days after START: one of three moments is exactly due.
            moment = START + timedelta(days=self.random.randint(1, 12), minutes=self._one_of([0, 20, 20]))
            history["now"] = moment.isoformat()
        pairings = self._pairings()
        if pairings:
            history["pairings"] = pairings
        if self._chance(3):
            history["window_days"] = self._one_of([0, 1, 2, 4])
        if self._chance(3):
            history["rest"] = "on_account"
        waivers = self._waivers(history)
        if waivers:
            history["waivers"] = waivers
        return history

    # Choices

    def _one_of(self, options: Any) -> Any:
        return self.random.choice(list(options))

    def _chance(self, of: int) -> bool:
        return bool(self.random.randint(1, of) == of)

    def _shuffled(self, items: list[Any]) -> list[Any]:
        return self.random.sample(items, len(items))

    def _at(self) -> str:
        return (START + timedelta(hours=self.random.randint(0, 240))).isoformat()

    def _due(self) -> str | None:
        if self._chance(6):
            return None
        return (START + timedelta(days=self.random.randint(0, 12))).isoformat()

    def _legs(self) -> dict[str, dict[str, Any]]:
        names = self._one_of([["gross"], ["gross"], ["gross", "net", "tax"]])
        legs: dict[str, dict[str, Any]] = {name: {"kind": "sum"} for name in names}
        legs["gross"]["total"] = True
        for leg in legs.values():
            if self._chance(2):
                leg["tolerance"] = self._one_of(TOLERANCES)
                if self._chance(3):
                    leg["absorbs"] = "short"
        if self._chance(3):
            legs["period"] = {"kind": "equal"}
        if self._chance(3):
            legs["tax code"] = {"kind": "equal"}
        if self._chance(4):
            legs["version"] = {"kind": "at_least"}
        return legs

    def _amounts(self, currency: str = "USD") -> dict[str, str]:
        amounts = WHOLE_AMOUNTS if currency == "JPY" else FINE_AMOUNTS
        sign = self._one_of([1, 1, -1])
        gross = Decimal(self._one_of(amounts)) * sign
        return self._with_total(gross)

    def _with_total(self, gross: Decimal) -> dict[str, str]:
        """Return all legs of a document with this total; net and tax add up to it."""
        legs = {"gross": _text(gross)}
        if "net" in self.legs:
            tax = (gross / 5).quantize(gross) if self._chance(2) else gross * 0
            legs |= {"net": _text(gross - tax), "tax": _text(tax)}
        if "period" in self.legs:
            legs["period"] = PERIODS[-1]
        if "tax code" in self.legs:
            legs["tax code"] = self._one_of(TAX_CODES[:2])
        if "version" in self.legs:
            legs["version"] = str(self.random.randint(8, 11))
        return legs

    def _owner(self, key: str) -> tuple[str, str]:
        """Return entity and currency; mostly those of the match."""
        currency = CURRENCIES[int(key[-1]) - 1]
        return self._one_of([ENTITIES[0]] * 4 + [ENTITIES[1]]), currency

    # Documents

    def _newest(self, side: str) -> list[Record]:
        newest: dict[str, Record] = {}
        for record in self.documents:
            if (
                record["side"] == side
                and record["version"] >= newest.get(record["document"], record)["version"]
            ):
                newest[record["document"]] = record
        return list(newest.values())

    def _is_full(self, side: str) -> bool:
        return len(self._newest(side)) >= MAX_DOCUMENTS

    def _add(
        self, side: str, key: str, legs: dict[str, str], entity: str, currency: str, **more: Any
    ) -> Record | None:
        if self._is_full(side):
            return None
        day = self.random.randint(1, 6)
        record = {
            "side": side,
            "document": f"{side[0].upper()}{len(self._newest(side))}",
            "version": 1,
            "at": self._at(),
            "effective": f"2026-03-{day:02}",
            "key": key,
            "entity": entity,
            "currency": currency,
            "legs": legs,
            **more,
        }
        self.documents.append(record)
        return record

    def _assert(self, key: str, dues: dict[str, str | None]) -> None:
        entity, currency = self._owner(key)
        due = dues[key] if self._chance(2) else self._due()
        more: Record = {"due": due} if due else {}
        if self._chance(5):
            more["provisional"] = True
        legs = self._with_total(Decimal("0.00")) if self._chance(12) else self._amounts(currency)
        self._add("left", key, legs, entity, currency, **more)

    def _echo(self, original: Record) -> None:
        """Add what the right side shows of a left document: the same, a part, more, or something else."""
        gross = Decimal(original["legs"]["gross"])
        if gross == 0:
            return
        legs = dict(original["legs"])
        owner = {"entity": original["entity"], "currency": original["currency"]}
        kind = self._one_of(
            ["same"] * 6
            + [
                "less",
                "less",
                "less",
                "more",
                "more",
                "cent",
                "cent",
                "swap",
                "leg",
                "entity",
                "currency",
                "lack",
            ]
        )
        if kind == "less":
            legs = self._with_total((gross / 2).quantize(gross) or gross)
        elif kind == "more":
            legs = self._with_total(gross * 2)
        elif kind == "cent" and original["currency"] != "JPY":
            legs["gross"] = _text(gross + Decimal("0.01"))
        elif kind == "swap" and "net" in legs:
            legs["net"], legs["tax"] = legs["tax"], legs["net"]
        elif kind == "leg" and "tax code" in legs:
            legs["tax code"] = TAX_CODES[2]
        elif kind == "leg" and "version" in legs:
            legs["version"] = "9"
        elif kind == "entity":
            owner["entity"] = ENTITIES[original["entity"] == ENTITIES[0]]
        elif kind == "currency":
            owner["currency"] = self._one_of(CURRENCIES)
        elif kind == "lack" and len(legs) > 1:
            legs.pop(self._one_of([name for name in legs if name != "gross"]))
        more: Record = {}
        if self._chance(5):
            more["names"] = original["document"]
        elif self._chance(5):
            more["names"] = sorted(
                {r["document"] for r in self._newest("left") if r["key"] == original["key"]}
            )
        self._add("right", original["key"], legs, owner["entity"], owner["currency"], **more)

    # Events

    def _change(self, keys: list[str]) -> None:
        record = self._one_of(self.documents)
        newest = next(r for r in self._newest(record["side"]) if r["document"] == record["document"])
        event = self._one_of(
            [
                "void",
                "void",
                "reverse",
                "reverse",
                "reissue",
                "rekey",
                "relegs",
                "equal",
                "repeat",
                "tie",
                "split",
            ]
        )
        if event == "void":
            self._version(newest, stands=False)
        elif event == "reverse":
            self._reverse(newest)
        elif event == "reissue":
            self._version(newest, stands=False)
            self._copy(newest, newest["legs"])
        elif event == "rekey":
            self._version(newest, key=self._one_of(keys))
        elif event == "relegs" and Decimal(newest["legs"]["gross"]) != 0:
            self._version(newest, legs=self._amounts(newest["currency"]))
        elif event == "equal":
            self._version(newest)
        elif event == "repeat":
            self.documents.append({**record, "at": self._at()})
        elif event == "tie":
            self._tie(newest)
        elif event == "split":
            self._split(newest)

    def _version(self, newest: Record, **changes: Any) -> None:
        """Add the next version; its time of arrival is free, so that it may come before the former."""
        record = {**newest, "version": newest["version"] + 1, "at": self._at(), **changes}
        record.pop("provisional", None)
        self.documents.append(record)

    def _copy(self, original: Record, legs: dict[str, str], **more: Any) -> Record | None:
        if "due" in original:
            more["due"] = original["due"]
        return self._add(
            original["side"], original["key"], legs, original["entity"], original["currency"], **more
        )

    def _reverse(self, original: Record) -> None:
        """Add a document with opposite legs, or a part of them; sometimes the original is flagged as cancelled as well."""
        part = self._one_of([1, 1, 1, 2])
        legs = {
            name: _text((-Decimal(text) / part).quantize(Decimal(text)))
            if self._is_amount(name, text)
            else text
            for name, text in original["legs"].items()
        }
        owner = (
            self._owner(original["key"]) if self._chance(6) else (original["entity"], original["currency"])
        )
        due = {"due": original["due"]} if "due" in original else {}
        reversal = self._add(
            original["side"], original["key"], legs, *owner, reverses=original["document"], **due
        )
        if reversal and self._chance(3):
            self._version(original, stands=False)
        if reversal and self._chance(4):
            self._copy(reversal, original["legs"], reverses=reversal["document"])

    def _is_amount(self, name: str, text: str) -> bool:
        return bool(self.legs[name]["kind"] == "sum" and Decimal(text))

    def _tie(self, newest: Record) -> None:
        """Add another content under the same version number."""
        tie = {**newest, "at": self._at()}
        if self._chance(2):
            tie["stands"] = False
        elif Decimal(newest["legs"]["gross"]) != 0:
            tie["legs"] = self._amounts(newest["currency"])
        self.documents.append(tie)

    def _split(self, newest: Record) -> None:
        """Replace a document of the right by a part of it, and add the rest as another document."""
        gross = Decimal(newest["legs"]["gross"])
        part = (gross / 4).quantize(gross)
        if newest["side"] == "right" and part and gross != part:
            self._version(newest, legs=self._with_total(part))
            self._copy(newest, self._with_total(gross - part))

    def _cap(self, keys: list[str]) -> None:
        """Let left documents use up totals of matches, all versions of a document the same."""
        for document in self._newest("left"):
            chosen = self.random.sample(keys, self.random.randint(0, len(keys)))
            within = [{"key": key, "negate": self._chance(4)} for key in chosen]
            for record in self.documents:
                if within and (record["side"], record["document"]) == ("left", document["document"]):
                    record["within"] = within

    # A person's part

    def _pairings(self) -> list[list[str]]:
        if not self._chance(3):
            return []
        lefts = self._shuffled([r["document"] for r in self._newest("left")])
        rights = self._shuffled([r["document"] for r in self._newest("right")])
        count = self.random.randint(0, 2)
        return [list(pair) for pair in zip(lefts[:count], rights, strict=False)]

    def _waivers(self, history: dict[str, Any]) -> list[Record]:
        if not self._chance(3):
            return []
        foils = [foil for foil in judge(history)["foils"] if foil["state"] in WAIVABLE]
        waivers = []
        for foil in foils[:2]:
            residual = {leg: text for leg, text in foil["residual"].items() if Decimal(text) != 0}
            if self._chance(3):
                residual["gross"] = "0.01"
            waivers.append({"document": foil["document"], "residual": residual})
        return waivers
