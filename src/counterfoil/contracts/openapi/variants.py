"""Alternatives: `oneOf` and `anyOf`, and the tag that tells them apart.

Alternatives are matched by name, by equality, and by whether one can stand for the other; only what is left is
compared in detail or told as added and removed. A choice that took another form is compared by what it means: each
alternative of the side that must be contained needs one of the other side that takes it.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from counterfoil.contracts.openapi import constraints
from counterfoil.contracts.openapi.sample import sample, sample_of
from counterfoil.contracts.openapi.view import Union, View, join, look

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.document import Document
    from counterfoil.contracts.openapi.schema import Place, Schemas

MANY = 64
"""More alternatives than these, multiplied out, are not compared by their meaning."""
DEEPEST = 3
"""Choices inside of choices: a thing and its kinds may name each other without end."""


def matched(schemas: Schemas, old: View, new: View, place: Place) -> Literal["none", "some", "named"]:
    """Tell of the alternatives of two schemas that have one choice each. Named alternatives are kinds of things: that
    another one takes their values too does not make up for them. Answers whether alternatives were left without a
    match, and whether named ones were among them."""
    before, after = old.unions[0], new.unions[0]
    left, right, pairs = _pair(schemas, before.variants, after.variants, place)
    for one, other, at in pairs:
        schemas.compare(one, other, place.into(f"{after.keyword}/{at}"))
    for variant in left:
        if (
            not _ref(variant)
            and place.side == "request"
            and any(schemas.fits(variant, each, place) for each in after.variants)
        ):
            continue
        schemas.findings.schema(
            place.side, "variant-removed", place.where, f"alternative {_name(variant)} is gone",
            sample(variant, schemas.old), detail=_name(variant),
        )  # fmt: skip
    for variant in right:
        if (
            not _ref(variant)
            and place.side == "response"
            and any(schemas.fits(each, variant, place) for each in before.variants)
        ):
            continue
        schemas.findings.schema(
            place.side, "variant-added", place.where, f"alternative {_name(variant)} is new",
            sample(variant, schemas.new), detail=_name(variant),
        )  # fmt: skip
    if any(_ref(variant) for variant in (*left, *right)):
        return "named"
    return "some" if left or right else "none"


def _pair(
    schemas: Schemas, old: list[Any], new: list[Any], place: Place
) -> tuple[list[Any], list[Any], list[tuple[Any, Any, int]]]:
    """What stays unmatched on either side, and the pairs to compare in detail with their index."""
    left = list(old)
    right = list(enumerate(new))
    told: list[tuple[Any, Any, int]] = []
    for same in (_same_name, _equal):
        for variant in list(left):
            for at, other in right:
                if same(variant, other):
                    left.remove(variant)
                    right.remove((at, other))
                    if schemas.thorough:
                        told.append((variant, other, at))
                    break
    if len(left) * len(right) <= MANY * MANY:
        for variant in list(left):
            for at, other in right:
                if schemas.fits(variant, other, place):
                    left.remove(variant)
                    right.remove((at, other))
                    told.append((variant, other, at))
                    break
    for variant in list(left):
        tag = _tag(variant, schemas.old)
        for at, other in right:
            if tag and tag == _tag(other, schemas.new):
                left.remove(variant)
                right.remove((at, other))
                told.append((variant, other, at))
                break
    for variant in list(left):
        for at, other in right:
            alone = len(left) == len(right) == 1
            if (
                not _ref(variant)
                and not _ref(other)
                and (alone or _kind(variant) == _kind(other) is not None)
            ):
                left.remove(variant)
                right.remove((at, other))
                told.append((variant, other, at))
                break
    return left, [variant for _, variant in right], told


def _ref(variant: Any) -> str:
    reference = variant.get("$ref") if isinstance(variant, dict) else None
    return reference if isinstance(reference, str) else ""


def _kind(variant: Any) -> Any:
    return variant.get("type") if isinstance(variant, dict) else None


def _same_name(one: Any, other: Any) -> bool:
    return bool(_ref(one)) and _ref(one) == _ref(other)


def _equal(one: Any, other: Any) -> bool:
    return bool(one == other)


def _tag(variant: Any, document: Document) -> Any:
    """What tells an alternative from its neighbours: its title, or the one value of a needed property."""
    view = look(variant, document)
    for name in sorted(view.required):
        inner = look(view.properties.get(name, True), document)
        if inner.enum is not None and len(inner.enum) == 1:
            return (name, str(inner.enum[0]))
    title = variant.get("title") if isinstance(variant, dict) else None
    return title or None


def _name(variant: Any) -> str:
    if _ref(variant):
        return _ref(variant).rsplit("/", 1)[-1]
    if isinstance(variant, dict):
        return str(variant.get("title") or variant.get("type") or "without a name")
    return str(variant)


def covered(schemas: Schemas, old: View, new: View, place: Place) -> bool | None:
    """Whether all that must be contained is, by meaning; None where it is not decided, or too much to compare."""
    ours, theirs = alternatives(old, schemas.old), alternatives(new, schemas.new)
    if ours is None or theirs is None or len(ours) * len(theirs) > MANY * MANY:
        return None
    if place.side == "request":
        found = [[schemas.views_fit(one, other, place) for other in theirs] for one in ours]
    else:
        found = [[schemas.views_fit(one, other, place) for one in ours] for other in theirs]
    best = [True if True in row else None if None in row else False for row in found]
    return False if False in best else None if None in best else True


def alternatives(view: View, document: Document, depth: int = 0) -> list[View] | None:
    """A schema without choices for each way to choose and each type; None where there are too many."""
    if depth > DEEPEST:
        return None
    found = [msgspec.structs.replace(view, unions=[])]
    for union in view.unions:
        found = [join(each, variant) for each in found for variant in _flat(union, document)]
        if len(found) > MANY:
            return None
    split = []
    for each in found:
        if each.unions:
            inner = alternatives(each, document, depth + 1)
            if inner is None:
                return None
            split += inner
        elif each.types is not None and len(each.types) > 1:
            split += [
                msgspec.structs.replace(each, types=frozenset((kind,)), split=True)
                for kind in sorted(each.types)
            ]
        else:
            split.append(each)
    return split if len(split) <= MANY else None


def _flat(union: Union, document: Document) -> Iterable[View]:
    for variant in union.variants:
        yield look(variant, document)
    if union.null:
        yield View(types=frozenset(), null=True)


def rearranged(schemas: Schemas, old: View, new: View, place: Place) -> None:
    """Tell of two schemas whose choices do not stand side by side."""
    if _kinds(schemas, old, new, place):
        return
    verdict = covered(schemas, old, new, place)
    turned = covered(schemas, old, new, place.turned())
    constraints.discriminator(schemas, old, new, place)
    if verdict is None or turned is None:
        schemas.findings.schema(
            place.side,
            "union-unclear",
            place.where,
            "the alternatives took another form; whether they mean the same is not decided",
        )
        return
    if verdict:
        kind = "union-widened" if place.side == "request" else "union-narrowed"
        said = "the alternatives took another form, and cover what there was"
        if not turned:
            schemas.findings.schema(place.side, kind, place.where, said)
        return
    if turned:
        kind = "union-narrowed" if place.side == "request" else "union-widened"
        said = (
            "the alternatives do not cover all that there was"
            if place.side == "request"
            else ("the alternatives go beyond what there was")
        )
    else:
        kind, said = "union-changed", "the alternatives before and after do not cover each other"
    schemas.findings.schema(place.side, kind, place.where, said, _uncovered(schemas, old, new, place))


def _kinds(schemas: Schemas, old: View, new: View, place: Place) -> bool:
    """Tell of named alternatives that went from what clients send, or came to what they get, beside some that stay or
    where there was no choice before. Readers that knew one kind must tell several apart."""
    before, after = _named(old), _named(new)
    some, verb = (before - after, "removed") if place.side == "request" else (after - before, "added")
    fresh = place.side == "response" and not old.unions and len(new.unions) == 1 and not before
    whole = fresh and all(_ref(variant) for variant in new.unions[0].variants)
    if not some or not (before & after or whole):
        return False
    for name in sorted(some):
        said = "is gone" if verb == "removed" else "is new"
        schemas.findings.schema(
            place.side, f"variant-{verb}", place.where, f"alternative {name.rsplit('/', 1)[-1]} {said}",
            detail=name,
        )  # fmt: skip
    return True


def _named(view: View) -> set[str]:
    return view.names | {_ref(variant) for union in view.unions for variant in union.variants} - {""}


def _uncovered(schemas: Schemas, old: View, new: View, place: Place) -> Any:
    ours, theirs = alternatives(old, schemas.old) or [], alternatives(new, schemas.new) or []
    if place.side == "request":
        for one in ours:
            if not any(schemas.views_fit(one, other, place) for other in theirs):
                return sample_of(one, schemas.old)
    for other in theirs:
        if not any(schemas.views_fit(one, other, place) for one in ours):
            return sample_of(other, schemas.new)
    return msgspec.UNSET
