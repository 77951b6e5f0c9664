"""Comparison of two schemas, from the side of the clients that send or get the values.

Named components are compared once, at their own place. Two references to the same component are therefore equal.
Schemas are compared field by field (see `view`), so each change has a rule and a place.
"""

from __future__ import annotations

import json
from typing import Any

import msgspec

from counterfoil.contracts.json_parts import as_list, reference_of
from counterfoil.contracts.openapi import constraints, objects, proof, variants
from counterfoil.contracts.openapi.document import ApiDescription, UnresolvedReference
from counterfoil.contracts.openapi.findings import Findings
from counterfoil.contracts.openapi.instances import accepts
from counterfoil.contracts.openapi.lifecycle import Lifecycle
from counterfoil.contracts.openapi.reads import EVERYTHING, FieldSelection
from counterfoil.contracts.openapi.rules import Side
from counterfoil.contracts.openapi.view import View, view_of

_ANNOTATIONS = ("description", "summary", "title")
MAX_PROBE_DEPTH = 6
"""Limit of nested `views_fit` questions; beyond it, recursive schemas count as fitting."""

MAX_OPEN_SCHEMAS = 64
"""Limit of nested schemas, without components."""


class SchemaPlace(msgspec.Struct, frozen=True):
    """Place of two schemas, and the direction in which their values travel."""

    where: str
    side: Side
    form: bool = False
    """True for a form field or a parameter: the value travels as text, so a number may become a text."""
    fields: FieldSelection = EVERYTHING
    """Fields that the consumer declares to use."""

    def into(self, part: str, fields: FieldSelection | None = None) -> SchemaPlace:
        """Return the place of a part of the schema."""
        where = f"{self.where}/{part}"
        return SchemaPlace(where, self.side, self.form, self.fields if fields is None else fields)

    def opposite(self) -> SchemaPlace:
        """Return the same place with the other direction."""
        return msgspec.structs.replace(self, side="response" if self.side == "request" else "request")


class SchemaComparer:
    """Comparison of schemas of two documents.

    `thorough` also compares components that both sides refer to. A declared consumer needs that: its fields are known only
    on the path from its operation. `probing` answers a question: its findings are never reported.
    """

    def __init__(
        self,
        old: ApiDescription,
        new: ApiDescription,
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
        self._inside = probing
        """True inside a question or a whole: its parts are not compared as wholes again, which would not end."""
        self._depth = 0
        self._open: set[tuple[int, int, Side]] = set()
        self._done: set[tuple[int, int, SchemaPlace]] = set()
        self._queue: list[tuple[Any, Any, SchemaPlace]] = []
        self._alive: list[Any] = []  # keeps objects alive whose ids are used as keys
        self._views: dict[tuple[int, bool], View] = {}
        self._changed: dict[str, bool] = {}
        self._fits: dict[tuple[int, int, Side, bool], bool | None] = {}

    def compare(self, old: Any, new: Any, place: SchemaPlace) -> None:
        """Report changes between two schemas at a place."""
        if not self.thorough:
            if old is new or old == new or _same_reference(old, new):
                return
        elif not self._probing and (name := reference_of(old)) and name == reference_of(new):
            # A component is reported at its own place, not at the place that refers to it.
            self._queue.append((old, new, msgspec.structs.replace(place, where=name.removeprefix("#"))))
            return
        self._compare_pair(old, new, place)

    def report(
        self, place: SchemaPlace, kind: str, message: str, example: Any = msgspec.UNSET, *, detail: str = ""
    ) -> None:
        """Add a finding at a place; `kind` is the name of the rule without its side."""
        self.findings.schema(place.side, kind, place.where, message, example, detail=detail)

    def finish(self) -> None:
        """Compare the components that a thorough comparison has queued."""
        while self._queue:
            self._compare_pair(*self._queue.pop())

    def _compare_pair(self, old: Any, new: Any, place: SchemaPlace) -> None:
        key_place = msgspec.structs.replace(place, where="") if self._probing else place
        name = reference_of(old)
        key = (id(old), id(new), key_place)
        if name and name == reference_of(new):
            key = (hash(name), hash(name), key_place)
        open_key = (id(old), id(new), place.side)
        if key in self._done or open_key in self._open:
            return
        self._done.add(key)
        self._alive.append((old, new))
        if len(self._open) >= MAX_OPEN_SCHEMAS:
            message = f"schemas nested deeper than {MAX_OPEN_SCHEMAS} are not compared"
            self.report(place, "too-deep", message)
            return
        self._open.add(open_key)
        try:
            self._compare_or_prove(old, new, place)
            if not self._probing and not place.form:
                self.findings.check_examples(
                    place.where, lambda example: self._shows(old, new, place, example)
                )
        except RecursionError:
            if len(self._open) > 1:
                raise
            message = "alternatives nested too deep are not compared"
            self.report(place, "too-deep", message)
        finally:
            self._open.discard(open_key)

    def _compare_or_prove(self, old: Any, new: Any, place: SchemaPlace) -> None:
        """Compare two schemas, and try a proof where only rules in `proof.HARD` apply."""
        if not self._inside and not self.thorough and self.has_changed_parts(old, new):
            whole, trial = self.whole(old, new, place), self._trial()
            trial._compare_alone(old, new, place)
            trial.findings.keep(whole.is_serious)
            self.findings.merge(trial.findings)
        else:
            self._compare_alone(old, new, place)
        views = self.view_pair(old, new)
        if not self._inside and views[0].unions != views[1].unions:
            self.overlap(old, new, place)

    def overlap(self, old: Any, new: Any, place: SchemaPlace) -> None:
        """Report that a value which was valid matches several alternatives of a `oneOf` now."""
        views = self.view_pair(old, new)
        sides = (old, self.old), (new, self.new)
        if place.side == "request":
            inclusion = proof.overlap(*sides, views[1])
        else:
            inclusion = proof.overlap(sides[1], sides[0], views[0])
        if inclusion is None or inclusion.verdict == "yes" or self.findings.breaks_at(place.where):
            return
        if inclusion.example is msgspec.UNSET:
            message = f"whether values match several alternatives of oneOf is not decided: {inclusion.why}"
        else:
            value = json.dumps(inclusion.example, ensure_ascii=False)
            message = (
                f"{value} matches several alternatives of oneOf; whether it is refused depends on the server"
            )
        self.report(place, "union-overlap", message)

    def _compare_alone(self, old: Any, new: Any, place: SchemaPlace) -> None:
        """Compare two schemas as if the components that both are made of had not changed."""
        views = self._views_of(old, new)
        if self._probing or self.thorough or not any(_needs_proof(view) for view in views):
            self.views(*views, place)
            return
        trial = self._trial()
        trial.views(*views, place)
        changes = trial.findings.changes()
        inclusion = proof.settle(changes, old, new, place.side, (self.old, self.new))
        if inclusion is not None and inclusion.verdict == "yes":
            return
        self.findings.merge(trial.findings)
        if inclusion is not None and inclusion.verdict == "no" and inclusion.example is not msgspec.UNSET:
            self.findings.set_example(changes, inclusion.example)

    def _shows(self, old: Any, new: Any, place: SchemaPlace, example: Any) -> bool:
        """Return true if an example is valid on one side alone: that of the sender."""
        before, after = accepts(old, example, self.old), accepts(new, example, self.new)
        return (before, after) == ((True, False) if place.side == "request" else (False, True))

    def has_changed_parts(self, old: Any, new: Any) -> bool:
        """Return true if a component that both schemas are made of changed, or a part of it."""
        return any(self._has_changed(reference) for reference in parts(old) & parts(new))

    def _has_changed(self, reference: str) -> bool:
        if reference not in self._changed:
            self._changed[reference] = False  # a component cannot be made of itself
            try:
                old, new = self.old.step(reference), self.new.step(reference)
            except UnresolvedReference:
                return False
            self._changed[reference] = old != new or self.has_changed_parts(old, new)
        return self._changed[reference]

    def whole(self, old: Any, new: Any, place: SchemaPlace) -> Findings:
        """Return the findings about two schemas together with everything that they are made of."""
        trial = self._trial()
        trial._done, trial._inside = set(), True
        trial.views(*self.view_pair(old, new), place)
        trial.findings.check_examples(place.where, lambda example: self._shows(old, new, place, example))
        return trial.findings

    def separately(self, old: Any, new: Any, place: SchemaPlace) -> Findings:
        """Return the findings about two schemas without adding them to those of this comparison."""
        trial = self._trial()
        trial.compare(old, new, place)
        return trial.findings

    def _views_of(self, old: Any, new: Any) -> tuple[View, View]:
        shared = set() if self.thorough else parts(old) & parts(new)
        if shared:
            return view_of(old, self.old), view_of(new, self.new, dict.fromkeys(shared, self.old))
        return self.view_pair(old, new)

    def view(self, schema: Any, *, fresh: bool) -> View:
        """Return the view of a schema of the new document (`fresh`) or of the old one."""
        key = (id(schema), fresh)
        if key not in self._views:
            self._alive.append(schema)
            self._views[key] = view_of(schema, self.new if fresh else self.old)
        return self._views[key]

    def view_pair(self, old: Any, new: Any) -> tuple[View, View]:
        """Return the views of a schema of the old document and of one of the new document."""
        return self.view(old, fresh=False), self.view(new, fresh=True)

    def views(self, old: View, new: View, place: SchemaPlace) -> None:
        """Report changes between two views. Rearranged alternatives are compared as a whole."""
        if not old.unions and not new.unions:
            self._fields(old, new, place)
            return
        trial = self._trial()
        if len(old.unions) == len(new.unions) == 1:
            trial._fields(old, new, place)
            fields_break = trial.findings.breaking
            unmatched = variants.compare_matched(trial, old, new, place)
            # If every alternative has a match, comparing the whole adds nothing to comparing the parts.
            whole = (fields_break or unmatched == "some") and unmatched != "named" and trial.findings.breaking
            if not whole or variants.is_covered(self, old, new, place) is not True:
                self.findings.merge(trial.findings)
            else:
                # Equal alternatives may have other names, which identify them.
                variants.discriminator(self, old, new, place)
        else:
            variants.compare_rearranged(trial, old, new, place)
            self.findings.merge(trial.findings)

    def _fields(self, old: View, new: View, place: SchemaPlace) -> None:
        for problem in (*old.unresolved, *new.unresolved):
            self.report(place, "reference-unresolved", problem, detail=problem)
        if old.unresolved or new.unresolved:
            return
        constraints.compare(self, old, new, place)
        objects.compare(self, old, new, place)

    def fits(self, old: Any, new: Any, place: SchemaPlace) -> bool | None:
        """Return whether the change between two schemas breaks nothing; None if undecided. Reports no findings."""
        key = (id(old), id(new), place.side, place.form)
        if key not in self._fits:
            self._alive.append((old, new))
            self._fits[key] = True  # a recursive pair counts as fitting
            probe = self._with_findings(self.findings.empty_copy(plain=True), thorough=False, probing=True)
            probe.compare(old, new, msgspec.structs.replace(place, where="", fields=EVERYTHING))
            self._fits[key] = probe.findings.harmless
        return self._fits[key]

    def views_fit(self, old: View, new: View, place: SchemaPlace) -> bool | None:
        """Return the answer of `fits` for two views."""
        probe = self._with_findings(self.findings.empty_copy(plain=True), thorough=False, probing=True)
        if probe._depth > MAX_PROBE_DEPTH:
            return True
        probe._fields(old, new, msgspec.structs.replace(place, where="", fields=EVERYTHING))
        return probe.findings.harmless

    def _trial(self) -> SchemaComparer:
        """Return a copy that continues this comparison with findings that may be discarded."""
        copy = self._with_findings(self.findings.empty_copy(), thorough=self.thorough, probing=self._probing)
        copy._done = set(self._done)
        copy._queue = self._queue
        return copy

    def _with_findings(self, findings: Findings, *, thorough: bool, probing: bool) -> SchemaComparer:
        """Return a comparer with its own findings. Pairs that are being compared count as equal, so recursion ends."""
        documents = self.old, self.new
        copy = SchemaComparer(*documents, findings, self.lifecycle, thorough=thorough, probing=probing)
        copy._views, copy._alive, copy._fits = self._views, self._alive, self._fits
        copy._changed, copy._inside = self._changed, probing or self._inside
        copy._depth, copy._open = self._depth, self._open
        if self._probing:
            copy._done = set(self._done)
            copy._depth += 1
        return copy


def _needs_proof(view: View) -> bool:
    return bool(view.unions) or "not" in view.carried or "if" in view.carried


def _same_reference(old: Any, new: Any) -> bool:
    reference = reference_of(old)
    if not reference or reference != reference_of(new):
        return False
    plain = ({k: v for k, v in side.items() if k not in _ANNOTATIONS} for side in (old, new))
    return next(plain) == next(plain)


def parts(schema: Any) -> set[str]:
    """Return the components that a schema is made of: its reference and the parts of its `allOf`."""
    return set(parts_of(schema))


def parts_of(schema: Any) -> list[str]:
    """Return the references to the components that a schema is made of, with repetitions."""
    if not isinstance(schema, dict):
        return []
    own = [reference_of(schema)] if reference_of(schema) else []
    return own + [reference for part in as_list(schema.get("allOf")) for reference in parts_of(part)]
