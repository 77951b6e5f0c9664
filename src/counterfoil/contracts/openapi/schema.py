"""Two schemas side by side, seen by those who send the values or by those who get them.

Named components are compared once, at their own place; where two schemas refer to the same component there is nothing
to tell. The comparison is by field of what they say (see `view`), so it names the rule and the place of each change.
"""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.contracts.openapi import constraints, objects, proof, variants
from counterfoil.contracts.openapi.document import Document, listed
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.lifecycle import Lifecycle
from counterfoil.contracts.openapi.reads import EVERYTHING, Fields
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.view import View, look

DEEPEST = 6
"""Questions inside of questions about what fits; beyond these, what names itself is taken to fit."""

NESTED = 64
"""Schemas inside of schemas, components not counted."""


class Place(msgspec.Struct, frozen=True):
    """Where two schemas stand, and how their values travel."""

    where: str
    side: Side
    form: bool = False
    """A field of a form or a parameter: the value travels as text, so a number may become a text."""
    fields: Fields = EVERYTHING
    """What the consumer declares to use of it."""

    def into(self, part: str, fields: Fields | None = None) -> Place:
        return Place(
            where=f"{self.where}/{part}",
            side=self.side,
            form=self.form,
            fields=self.fields if fields is None else fields,
        )

    def turned(self) -> Place:
        return msgspec.structs.replace(self, side="response" if self.side == "request" else "request")


class Schemas:
    """Compares schemas of two documents. `thorough` also compares components that both sides name: for a declared
    consumer, whose fields are known only along the way from its operation."""

    def __init__(
        self,
        old: Document,
        new: Document,
        findings: Findings,
        lifecycle: Lifecycle,
        *,
        thorough: bool = False,
        probing: bool = False,
    ) -> None:
        self.old = old
        self.new = new
        self.findings = findings
        self.lifecycle = lifecycle
        self.thorough = thorough
        self._probing = probing
        self._depth = 0
        self._open: set[tuple[int, int, Side]] = set()
        self._done: set[tuple[int, int, Place]] = set()
        self._ahead: list[tuple[Any, Any, Place]] = []
        self._kept: list[Any] = []  # what ids stand for must live as long as they are remembered
        self._views: dict[tuple[int, bool], View] = {}
        self._fits: dict[tuple[int, int, Side, bool], bool | None] = {}

    def compare(self, old: Any, new: Any, place: Place) -> None:
        """Tell what changes between two schemas at a place."""
        if not self.thorough:
            if old is new or old == new:
                return
            if _same_reference(old, new):
                return
        elif not self._probing and (name := _reference(old)) and name == _reference(new):
            # A component is told at its own place, however it was reached, and not on top of what reaches it.
            self._ahead.append((old, new, msgspec.structs.replace(place, where=name.removeprefix("#"))))
            return
        self._pair(old, new, place)

    def finish(self) -> None:
        """Compare the components that a thorough comparison has come upon."""
        while self._ahead:
            self._pair(*self._ahead.pop())

    def _pair(self, old: Any, new: Any, place: Place) -> None:
        key_place = msgspec.structs.replace(place, where="") if self._probing else place
        name = _reference(old)
        key = (id(old), id(new), key_place)
        if name and name == _reference(new):
            key = (hash(name), hash(name), key_place)
        way = (id(old), id(new), place.side)
        if key in self._done or way in self._open:
            return
        self._done.add(key)
        self._kept.append((old, new))
        if len(self._open) >= NESTED:
            said = f"nested deeper than {NESTED} schemas, which is not compared"
            self.findings.schema(place.side, "too-deep", place.where, said)
            return
        self._open.add(way)
        try:
            self._settled(old, new, place)
        except RecursionError:
            if len(self._open) > 1:
                raise
            said = "alternatives nested so deep that they are not compared"
            self.findings.schema(place.side, "too-deep", place.where, said)
        finally:
            self._open.discard(way)

    def _settled(self, old: Any, new: Any, place: Place) -> None:
        """Compare, and ask for a proof where only something hard is told."""
        views = self._look(old, new)
        if self._probing or self.thorough or not any(_hard(view) for view in views):
            self.views(*views, place)
            return
        aside = self._aside()
        aside.views(*views, place)
        told = aside.findings.changes()
        proved = proof.settle(told, old, new, place.side, (self.old, self.new))
        if proved is not None and proved.verdict == "yes":
            return
        self.findings.take(aside.findings)
        if proved is not None and proved.verdict == "no" and proved.example is not msgspec.UNSET:
            self.findings.show(told, proved.example)

    def _look(self, old: Any, new: Any) -> tuple[View, View]:
        both = set() if self.thorough else _parts(old) & _parts(new)
        if both:
            return look(old, self.old), look(new, self.new, dict.fromkeys(both, self.old))
        return self.view(old, fresh=False), self.view(new, fresh=True)

    def view(self, schema: Any, *, fresh: bool) -> View:
        """The view of a schema of the new document (`fresh`) or of the old one."""
        key = (id(schema), fresh)
        if key not in self._views:
            self._kept.append(schema)
            self._views[key] = look(schema, self.new if fresh else self.old)
        return self._views[key]

    def views(self, old: View, new: View, place: Place) -> None:
        """Tell what changes between what two schemas say; where alternatives are moved about, only what they mean
        as a whole counts."""
        if not old.unions and not new.unions:
            self._fields(old, new, place)
            return
        aside = self._aside()
        if len(old.unions) == len(new.unions) == 1:
            aside._fields(old, new, place)
            moved = aside.findings.breaking
            left = variants.matched(aside, old, new, place)
            # Where every alternative found its own, the whole says no more than the parts.
            whole = (moved or left == "some") and left != "named" and aside.findings.breaking
            if not whole or variants.covered(self, old, new, place) is not True:
                self.findings.take(aside.findings)
        else:
            variants.rearranged(aside, old, new, place)
            self.findings.take(aside.findings)

    def _fields(self, old: View, new: View, place: Place) -> None:
        for problem in (*old.unresolved, *new.unresolved):
            self.findings.schema(place.side, "reference-unresolved", place.where, problem, detail=problem)
        if old.unresolved or new.unresolved:
            return
        constraints.compare(self, old, new, place)
        objects.compare(self, old, new, place)

    def fits(self, old: Any, new: Any, place: Place) -> bool | None:
        """Whether the change from one schema to the other would break nobody; None where it is not decided. Nothing is
        told."""
        key = (id(old), id(new), place.side, place.form)
        if key not in self._fits:
            self._kept.append((old, new))
            self._fits[key] = True  # met again on its own way down, a pair is taken to fit
            aside = self._beside(self.findings.beside(plain=True), thorough=False, probing=True)
            aside.compare(old, new, msgspec.structs.replace(place, where="", fields=EVERYTHING))
            self._fits[key] = aside.findings.harmless
        return self._fits[key]

    def views_fit(self, old: View, new: View, place: Place) -> bool | None:
        """The same for what two schemas say."""
        aside = self._beside(self.findings.beside(plain=True), thorough=False, probing=True)
        if aside._depth > DEEPEST:
            return True
        aside._fields(old, new, msgspec.structs.replace(place, where="", fields=EVERYTHING))
        return aside.findings.harmless

    def _aside(self) -> Schemas:
        """The same comparison going on, with findings that may be thrown away."""
        aside = self._beside(self.findings.beside(), thorough=self.thorough, probing=self._probing)
        aside._done = set(self._done)
        aside._ahead = self._ahead
        return aside

    def _beside(self, findings: Findings, *, thorough: bool, probing: bool) -> Schemas:
        """The same comparison with findings of its own. What is being asked already, on the way down, counts as
        answered, so that things that name each other come to an end."""
        aside = Schemas(self.old, self.new, findings, self.lifecycle, thorough=thorough, probing=probing)
        aside._views, aside._kept, aside._fits = self._views, self._kept, self._fits
        aside._depth, aside._open = self._depth, self._open
        if self._probing:
            aside._done = set(self._done)
            aside._depth += 1
        return aside


def _hard(view: View) -> bool:
    return bool(view.unions) or "not" in view.carried or "if" in view.carried


def _reference(schema: Any) -> str:
    reference = schema.get("$ref") if isinstance(schema, dict) else None
    return reference if isinstance(reference, str) else ""


def _same_reference(old: Any, new: Any) -> bool:
    reference = _reference(old)
    if not reference or reference != _reference(new):
        return False
    return {k: v for k, v in old.items() if k not in _TOLD} == {
        k: v for k, v in new.items() if k not in _TOLD
    }


_TOLD = ("description", "summary", "title")


def _parts(schema: Any) -> set[str]:
    """The components that a schema is made of: by reference, or as parts of `allOf`."""
    if not isinstance(schema, dict):
        return set()
    found = {_reference(schema)}
    for part in listed(schema.get("allOf")):
        found |= _parts(part)
    return found - {""}
