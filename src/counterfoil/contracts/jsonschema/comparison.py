"""Comparison of two JSON Schemas by meaning: what changed, and which changes break.

A change breaks backward if an instance that was valid is rejected now. It breaks forward if an instance that is valid
now was rejected before. The instance becomes the example, after a validator checked it with both schemas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from typing import Any

import msgspec

from counterfoil.contracts.fingerprints import digest, stable_place
from counterfoil.contracts.json_parts import pointer, unescape
from counterfoil.contracts.jsonschema.differences import DifferenceWalk, Path, SchemaDifference
from counterfoil.contracts.jsonschema.document import Dialect, SchemaDocument, stated_dialect
from counterfoil.contracts.jsonschema.inclusion import Formats, Inclusion, SchemaPair, Verdict
from counterfoil.contracts.jsonschema.nodes import PartCondition, Step
from counterfoil.contracts.jsonschema.values import SAMPLES, Existence, pattern_matches
from counterfoil.contracts.report import Change, Direction, Profile, Report

EFFECTS = {
    "backward": "an instance that was valid is rejected now",
    "forward": "an instance that is valid now was rejected before",
}
_INNER_SUBJECTS = frozenset(
    ["property-added", "property-removed", "pattern-property", "item", "additional-properties", "additional-items"]
)  # fmt: skip
"""Subjects whose parts are schemas of a part of the instance, so the whole schema does not apply to it."""
_POSITION = re.compile(r"/\d+$")
"""Position of the first new branch in the place of changed branches."""


def compare_json_schema(
    old: Any,
    new: Any,
    direction: Direction = "backward",
    profile: Profile = "standard",
    *,
    reads: Iterable[str] | None = None,
    dialect: Dialect | None = None,
    formats: Formats = "assert",
) -> Report:
    """Return the changes from one schema to the next.

    `reads` are the fields that a consumer reads, as dotted paths or JSON Pointers; under the profile `consumer` only these
    count. `dialect` is for schemas without `$schema`; without it the other schema's dialect applies, then the one that the
    keywords indicate. References outside the document are not followed.
    """
    default = dialect or stated_dialect(old) or stated_dialect(new)
    fallback = default or stated_dialect(old, guess=True) or stated_dialect(new, guess=True) or "2020-12"
    documents = [SchemaDocument(schema, stated_dialect(schema) or fallback) for schema in (old, new)]
    pair = SchemaPair(documents[0], documents[1], formats=formats)
    fields = None if reads is None else [_split_read(read) for read in reads]
    changes = _SchemaComparison(pair, direction, profile, fields).changes()
    return Report(sorted(changes, key=lambda change: (change.where, change.rule)))


class _SchemaComparison:
    """Rules that turn differences into changes, for one pair of schemas."""

    def __init__(
        self, pair: SchemaPair, direction: Direction, profile: Profile, reads: list[list[str]] | None
    ) -> None:
        self.pair = pair
        self.ways: list[str] = ["backward", "forward"] if direction == "full" else [direction]
        self.profile = profile
        self.reads = reads if profile == "consumer" else None
        self.explained: set[str] = set()
        """Directions whose break a change explains already, counted or not."""

    def changes(self) -> list[Change]:
        pair = self.pair
        overall: dict[str, Inclusion] = {}
        if "backward" in self.ways:
            overall["backward"] = pair.forward(pair.left.root, pair.right.root)
        if "forward" in self.ways:
            overall["forward"] = pair.backward(pair.right.root, pair.left.root)
        outside = self.outside_references()
        differences = list(DifferenceWalk(pair.nodes, pair.left, pair.right).walk())
        changes = [*outside, *(self.change(difference, overall) for difference in differences)]
        for way, inclusion in overall.items():
            if inclusion.verdict == "no" and way not in self.explained:
                changes.extend(self.unexplained(way, inclusion))
            elif inclusion.verdict == "unknown" and all(c.decided and not c.breaking for c in changes):
                # No place is undecided itself, so the whole is.
                changes.append(self.undecided("undecided", "", f"undecided whether {EFFECTS[way]}"))
        return changes

    def outside_references(self) -> list[Change]:
        """Return one undecided change for each reference of both schemas whose target neither document has."""
        if self.pair.left.root == self.pair.right.root:
            return []
        before, after = self.pair.left.unresolved(), self.pair.right.unresolved()
        return [
            self.undecided(
                "reference-unresolved", where, f"{name} is outside the document and is not compared"
            )
            for name, where in after.items()
            if name in before
        ]

    def undecided(self, rule: str, where: str, message: str) -> Change:
        breaking = self.profile == "strict"
        return Change(rule=rule, where=where, breaking=breaking, decided=False, message=message)

    def unexplained(self, way: str, inclusion: Inclusion) -> Iterable[Change]:
        """Yield a change for an instance that breaks without a single difference to explain it."""
        if self.reads is not None and inclusion.where:
            steps = inclusion.where.split("/")[1:]
            path = tuple(Step("property", unescape(step)) for step in steps)
            if not any(_reads_place(read, path) for read in self.reads):
                return
        where, example = inclusion.keyword, inclusion.example
        place = f" (at {inclusion.where} of the example)" if inclusion.where else ""
        message = f"{EFFECTS[way]}: {inclusion.why}{place}"
        yield Change(rule="instance-refused", where=where, breaking=True, message=message, example=example)

    def change(self, difference: SchemaDifference, overall: dict[str, Inclusion]) -> Change:
        """Return the change for a difference. Its identity is the difference and the effect, in one order."""
        change = self.judge(difference, overall)
        branches = difference.subject in ("all-of", "any-of", "one-of")
        old, new = difference.old, difference.new
        side, root = (old, self.pair.left.root) if old.present else (new, self.pair.right.root)
        place = stable_place(_POSITION.sub("", side.where) if branches else side.where, root)
        effect = change.message.removeprefix(_about(difference))
        identity = "\n".join((place, digest(old.part), digest(new.part), effect))
        return msgspec.structs.replace(change, identity=identity)

    def judge(self, difference: SchemaDifference, overall: dict[str, Inclusion]) -> Change:
        subject = difference.subject
        where = difference.new.where if difference.new.present else difference.old.where
        if subject == "annotation":
            where, message = where.rpartition("/")[0], f"{difference.detail} changed; no instance is affected"
            return Change(rule="annotation-changed", where=where, breaking=False, message=message)
        if subject == "content":
            return self.content(difference, where)
        local = self.local_verdicts(difference)
        rule = _rule(subject, local)
        count = self.reads is None or any(_reads_place(read, self.place(difference)) for read in self.reads)
        verdicts = {way: self.effect(difference, way, overall[way].verdict, local) for way in self.ways}
        broken = [way for way, (verdict, _) in verdicts.items() if verdict == "no"]
        self.explained.update(broken)
        if broken and count:
            message = f"{_about(difference)}: {'; '.join(EFFECTS[way] for way in broken)}"
            example = verdicts[broken[0]][1]
            return Change(rule=rule, where=where, breaking=True, message=message, example=example)
        decided = not count or all(verdict != "unknown" for verdict, _ in verdicts.values())
        if not decided:
            message = f"{_about(difference)}: undecided whether {EFFECTS[self.ways[0]]}"
            return self.undecided(rule, where, message)
        why = "no declared field is affected" if not count else _harmless(self.ways)
        return Change(rule=rule, where=where, breaking=False, message=f"{_about(difference)}: {why}")

    def place(self, difference: SchemaDifference) -> Path:
        if difference.subject.startswith("required-"):
            return (*difference.path, Step("property", difference.detail))
        return difference.path

    def local_verdicts(self, difference: SchemaDifference) -> dict[str, Verdict]:
        """Compare the differing keywords alone, in both directions."""
        old, new = difference.old.part, difference.new.part
        verdicts: dict[str, Verdict] = {
            "backward": self.pair.forward(old, new).verdict,
            "forward": self.pair.backward(new, old).verdict,
        }
        if difference.subject == "format" and self.unknown_formats_count():
            for way, side in (("backward", new), ("forward", old)):
                if isinstance(side, dict) and side.get("format") not in [None, *SAMPLES]:
                    verdicts[way] = "unknown"
        return verdicts

    def unknown_formats_count(self) -> bool:
        return self.profile == "strict" and self.pair.formats == "assert"

    def content(self, difference: SchemaDifference, where: str) -> Change:
        """Return the change of the content of a string. No validator checks it, but clients that decode it rely on it."""
        stated = {"backward": difference.new.part, "forward": difference.old.part}
        breaking = any(stated[way] for way in self.ways) and (
            self.reads is None or any(_reads_place(read, difference.path) for read in self.reads)
        )
        effect = "the content is less specified than before"
        if breaking:
            effect = "the string must be decoded differently"
        message = f"{_about(difference)}: {effect}"
        return Change(rule="content-changed", where=where, breaking=breaking, message=message)

    def effect(
        self, difference: SchemaDifference, way: str, overall: Verdict, local: dict[str, Verdict]
    ) -> tuple[Verdict, Any]:
        """Return `no` if the difference makes a whole instance valid on one side only, and such an instance."""
        if difference.subject == "format" and self.profile == "strict" and local[way] == "unknown":
            return "unknown", msgspec.UNSET
        if local[way] == "yes" or overall == "yes":
            return "yes", msgspec.UNSET
        pair = self.pair
        source, target, before, after = pair.left, pair.right, difference.old, difference.new
        if way == "forward":
            source, target, before, after = target, source, after, before
        nodes = pair.nodes
        root = (True, nodes.key(source, source.root))
        here = {(True, nodes.key(source, before.part)), (False, nodes.key(target, after.part))}
        if before.schema is not before.part and difference.subject not in _INNER_SUBJECTS:
            here.add((True, nodes.key(source, before.schema)))
        at_place = (True, _embed(pair, difference.path, here))
        exact = False
        outside = (False, nodes.key(target, target.root))
        for goal in (frozenset([root, at_place]), frozenset([root, at_place, outside])):
            answer = pair.search.ask(goal)
            if answer.existence is Existence.NONE:
                return "yes", msgspec.UNSET
            if answer.has_instance:
                source_accepts = pair.validator(source).accepts(source.root, answer.instance)
                target_accepts = pair.validator(target).accepts(target.root, answer.instance)
                if source_accepts and target_accepts is False:
                    return "no", answer.instance
                unchecked = source_accepts is None or target_accepts is None
                exact = answer.existence is Existence.ONE and unchecked
            elif answer.existence is Existence.ONE and len(goal) == 3:
                exact = True
        return ("no" if exact else "unknown"), msgspec.UNSET


def _embed(pair: SchemaPair, path: Path, literals: Iterable[tuple[bool, int]]) -> int:
    """Return the number of the schema of instances with such a part at that place."""
    key = pair.nodes.inside(PartCondition(Step("here"), tuple(sorted(literals))))
    for step in reversed(path):
        key = pair.nodes.inside(PartCondition(step, ((True, key),)))
    return key


def _rule(subject: str, local: dict[str, Verdict]) -> str:
    """Return the name of the rule for a difference with these verdicts."""
    if local == {"backward": "yes", "forward": "yes"}:
        return f"{subject}-restated" if not _has_own_ending(subject) else subject
    if _has_own_ending(subject):
        return subject
    if local["forward"] == "yes":
        return f"{subject}-tightened"
    if local["backward"] == "yes":
        return f"{subject}-relaxed"
    return f"{subject}-changed"


def _has_own_ending(subject: str) -> bool:
    return subject.endswith(("-added", "-removed"))


def _about(difference: SchemaDifference) -> str:
    subject = difference.subject.replace("-", " ")
    place = pointer([step.name if step.kind == "property" else _step(step) for step in difference.path])
    detail = f" ({difference.detail})" if difference.detail else ""
    return f"{subject}{detail}" + (f" at {place}" if place else "")


def _step(step: Step) -> str:
    match step.kind:
        case "item":
            return str(step.at)
        case "other" if step.must:
            return "{" + step.must[0] + "}"
        case _:
            return "*"


def _harmless(ways: list[str]) -> str:
    if len(ways) == 2:
        return "the same instances are valid"
    if ways == ["backward"]:
        return "what was valid stays valid"
    return "what is valid now was valid before"


def _split_read(read: str) -> list[str]:
    """Split `customer.address` or `/customer/address`; items of a list are `*`, `[]`, a number, or omitted."""
    if read.startswith("/"):
        return [unescape(step) for step in read[1:].split("/")]
    return [step for step in read.replace("[", ".").replace("]", "").removeprefix("$.").split(".") if step]


def _reads_place(read: Sequence[str], path: Sequence[Step]) -> bool:
    """Return true if the place is read, contains something read, or lies inside a part that is read."""
    if not read or not path:
        return True
    name, step = read[0], path[0]
    if step.kind in {"item", "rest"}:
        if name == "*" or name.isdigit():
            return (name == "*" or _reaches(step, int(name))) and _reads_place(read[1:], path[1:])
        return _reads_place(read, path[1:])
    if step.kind == "name":
        return True
    matches = name == "*" or (
        name == step.name
        if step.kind == "property"
        else name not in step.excluded
        and all(pattern_matches(pattern, name) is not False for pattern in step.must)
        and not any(pattern_matches(pattern, name) for pattern in step.must_not)
    )
    return matches and _reads_place(read[1:], path[1:])


def _reaches(step: Step, index: int) -> bool:
    return index == step.at if step.kind == "item" else index >= step.at
