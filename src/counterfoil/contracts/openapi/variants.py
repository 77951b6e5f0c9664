"""Alternatives: `oneOf` and `anyOf`, and the tag that identifies each alternative.

Alternatives are matched by name, by equality, and by whether one fits the other. Only unmatched ones are compared in
detail or reported as added and removed. A choice in another form is compared by meaning: each alternative of the
narrower side needs one of the wider side that accepts it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, Literal

import msgspec

from counterfoil.contracts.json_parts import Node, as_map, reference_of
from counterfoil.contracts.openapi.sample import sample, sample_of
from counterfoil.contracts.openapi.view import Union, View, join, view_of

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.document import ApiDescription
    from counterfoil.contracts.openapi.schema import SchemaComparer, SchemaPlace

MAX_ALTERNATIVES = 64
"""Limit of combined alternatives that are compared by meaning."""
MAX_UNION_DEPTH = 3
"""Limit of nested choices: an object and its kinds may refer to each other without end."""


def compare_matched(
    schemas: SchemaComparer, old: View, new: View, place: SchemaPlace
) -> Literal["none", "some", "named"]:
    """Report changes of the alternatives of two schemas that have one choice each.

    Named alternatives are kinds of objects: another alternative that accepts the same values does not replace them.
    Returns whether alternatives stay unmatched (`some`), and whether named ones are among them (`named`).
    """
    before, after = old.unions[0], new.unions[0]
    removed, added, pairs = _match(schemas, before.variants, after.variants, place)
    for old_variant, new_variant, position in pairs:
        schemas.compare(old_variant, new_variant, place.into(f"{after.keyword}/{position}"))
    for variant in removed:
        others = after.variants if place.side == "request" and not reference_of(variant) else ()
        if any(schemas.fits(variant, other, place) for other in others):
            continue
        example, name = sample(variant, schemas.old), _name(variant)
        schemas.report(place, "variant-removed", f"alternative {name} was removed", example, detail=name)
    for variant in added:
        others = before.variants if place.side == "response" and not reference_of(variant) else ()
        if any(schemas.fits(other, variant, place) for other in others):
            continue
        example, name = sample(variant, schemas.new), _name(variant)
        schemas.report(place, "variant-added", f"alternative {name} was added", example, detail=name)
    if any(reference_of(variant) for variant in (*removed, *added)):
        return "named"
    return "some" if removed or added else "none"


def _match(
    schemas: SchemaComparer, old: list[Any], new: list[Any], place: SchemaPlace
) -> tuple[list[Any], list[Any], list[tuple[Any, Any, int]]]:
    """Match alternatives. Return the unmatched ones of both sides, and pairs to compare with the new position."""
    left, right = list(old), list(enumerate(new))

    def similar(variant: Any, other: Any) -> bool:
        if reference_of(variant) or reference_of(other):
            return False
        return len(left) == len(right) == 1 or _kind(variant) == _kind(other) is not None

    equal = [*_take(left, right, _same_name), *_take(left, right, _equal)]
    pairs = equal if schemas.thorough else []
    if len(left) * len(right) <= MAX_ALTERNATIVES * MAX_ALTERNATIVES:
        pairs += _take(left, right, lambda variant, other: schemas.fits(variant, other, place) is True)
    tags = {id(variant): tag for variant in left if (tag := _tag(variant, schemas.old))}
    pairs += _take(
        left,
        right,
        lambda variant, other: id(variant) in tags and tags[id(variant)] == _tag(other, schemas.new),
    )
    pairs += _take(left, right, similar)
    return left, [variant for _, variant in right], pairs


def _take(
    left: list[Any], right: list[tuple[int, Any]], same: Callable[[Any, Any], bool]
) -> list[tuple[Any, Any, int]]:
    """Remove the alternatives that match from both lists, and return them with the new position."""
    pairs = []
    for variant in list(left):
        for at, other in right:
            if same(variant, other):
                left.remove(variant)
                right.remove((at, other))
                pairs.append((variant, other, at))
                break
    return pairs


def _kind(variant: Any) -> Any:
    return as_map(variant).get("type")


def _same_name(old: Any, new: Any) -> bool:
    return bool(reference_of(old)) and reference_of(old) == reference_of(new)


def _equal(old: Any, new: Any) -> bool:
    return bool(old == new)


def _tag(variant: Any, document: ApiDescription) -> Any:
    """Return what identifies an alternative: its title, or the one value of a required property."""
    view = view_of(variant, document)
    for name in sorted(view.required):
        inner = view_of(view.properties.get(name, True), document)
        if inner.enum is not None and len(inner.enum) == 1:
            return (name, str(inner.enum[0]))
    return as_map(variant).get("title") or None


def _name(variant: Any) -> str:
    if reference_of(variant):
        return reference_of(variant).rsplit("/", 1)[-1]
    if isinstance(variant, dict):
        return str(variant.get("title") or variant.get("type") or "without a name")
    return str(variant)


def is_covered(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> bool | None:
    """Return whether the wider side accepts all values of the narrower one; None if undecided or too large."""
    old_views, new_views = alternatives(old, schemas.old), alternatives(new, schemas.new)
    if old_views is None or new_views is None:
        return None
    if len(old_views) * len(new_views) > MAX_ALTERNATIVES * MAX_ALTERNATIVES:
        return None
    if place.side == "request":
        rows = [[schemas.views_fit(before, after, place) for after in new_views] for before in old_views]
    else:
        rows = [[schemas.views_fit(before, after, place) for before in old_views] for after in new_views]
    best = [True if True in row else None if None in row else False for row in rows]
    return False if False in best else None if None in best else True


def alternatives(view: View, document: ApiDescription, depth: int = 0) -> list[View] | None:
    """Return a view for each combination of alternatives and types; None if there are too many."""
    if depth > MAX_UNION_DEPTH:
        return None
    views = [msgspec.structs.replace(view, unions=[])]
    for union in view.unions:
        views = [join(partial, variant) for partial in views for variant in _variant_views(union, document)]
        if len(views) > MAX_ALTERNATIVES:
            return None
    split = []
    for partial in views:
        if partial.unions:
            inner = alternatives(partial, document, depth + 1)
            if inner is None:
                return None
            split += inner
        elif partial.types is not None and len(partial.types) > 1:
            kinds = sorted(partial.types)
            split += [msgspec.structs.replace(partial, types=frozenset((k,)), split=True) for k in kinds]
        else:
            split.append(partial)
    return split if len(split) <= MAX_ALTERNATIVES else None


def _variant_views(union: Union, document: ApiDescription) -> Iterable[View]:
    for variant in union.variants:
        yield view_of(variant, document)
    if union.null:
        yield View(types=frozenset(), null=True)


def compare_rearranged(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    """Report changes of two schemas whose choices cannot be matched one to one."""
    if _report_named(schemas, old, new, place):
        return
    verdict = is_covered(schemas, old, new, place)
    turned = is_covered(schemas, old, new, place.opposite())
    discriminator(schemas, old, new, place)
    if verdict is None or turned is None:
        message = "the alternatives changed their form; whether they mean the same is not decided"
        schemas.report(place, "union-unclear", message)
        return
    if verdict:
        kind = "union-widened" if place.side == "request" else "union-narrowed"
        if not turned:
            schemas.report(place, kind, "the alternatives changed their form and cover all earlier values")
        return
    if not turned:
        kind, message = "union-changed", "the alternatives before and after do not cover each other"
    elif place.side == "request":
        kind, message = "union-narrowed", "the alternatives do not cover all earlier values"
    else:
        kind, message = "union-widened", "the alternatives allow values that were not allowed before"
    schemas.report(place, kind, message, _find_uncovered(schemas, old, new, place))


def discriminator(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    """Report changes of the discriminator of alternatives."""
    before, after = old.carried.get("discriminator"), new.carried.get("discriminator")
    if before is None and after is None:
        return
    report = schemas.report
    if not isinstance(before, dict):
        report(place, "discriminator-added", "a property identifies the alternatives now")
        return
    if not isinstance(after, dict):
        report(place, "discriminator-removed", "no property identifies the alternatives any more")
        return
    if before.get("propertyName") != after.get("propertyName"):
        message = f"discriminator property {before.get('propertyName')} became {after.get('propertyName')}"
        report(place, "discriminator-property-changed", message)
    property_name = str(after.get("propertyName", ""))
    was = _targets(old, as_map(before.get("mapping")), property_name, schemas.old)
    now = _targets(new, as_map(after.get("mapping")), property_name, schemas.new)
    _mapping(schemas, was, now, place)


def _mapping(schemas: SchemaComparer, was: dict[str, str], now: dict[str, str], place: SchemaPlace) -> None:
    """Report changes of the alternatives that the values of a discriminator identify."""

    def fits(before: str, after: str) -> bool | None:
        return before == after or schemas.fits({"$ref": before}, {"$ref": after}, place)

    for value in sorted({*was, *now}):
        before, after = was.get(value, ""), now.get(value, "")
        if before == after:
            continue
        old_name, new_name = (target.rpartition("/")[2] for target in (before, after))
        kind, message = "changed", f"identified {old_name} and identifies {new_name} now"
        if not before:
            if after not in was.values() and not any(fits(other, after) for other in was.values()):
                continue  # the alternative itself was added
            kind, message = "added", f"identifies {new_name} now"
        elif not after:
            if before not in now.values() and not any(fits(before, other) for other in now.values()):
                continue  # the alternative itself was removed
            others = sorted(name for name, target in now.items() if target == before)
            kind, message = "removed", f"does not identify {old_name} any more"
            message += f", which {' or '.join(others)} identifies now" if others else ""
        else:
            fit = fits(before, after) if before not in now.values() else False
            if fit:
                continue
            kind = "changed" if fit is False else "unclear"
        schemas.report(
            place, f"discriminator-mapping-{kind}", f"discriminator value {value} {message}", detail=value
        )


def _targets(view: View, mapping: Node, property_name: str, document: ApiDescription) -> dict[str, str]:
    """Return the reference to the alternative that each value of the discriminator identifies.

    An alternative that no value of `mapping` names is identified by its own name. Values that an alternative excludes
    by its own list are left out.
    """
    targets = {
        str(value): str(target)
        if "/" in str(target) or "." in str(target)
        else f"#/components/schemas/{target}"
        for value, target in mapping.items()
    }
    variants = [reference_of(variant) for union in view.unions for variant in union.variants]
    for reference in variants:
        if reference and reference not in targets.values():
            targets.setdefault(reference.rpartition("/")[2], reference)

    def excludes(target: str, value: str) -> bool:
        tag = view_of({"$ref": target}, document).properties.get(property_name, True)
        values = view_of(tag, document).enum
        return values is not None and value not in values

    return {value: target for value, target in targets.items() if not excludes(target, value)}


def _report_named(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> bool:
    """Report named alternatives that clients may not send any more, or that they get newly.

    Applies where some alternatives stay, or where there was no choice before. Returns false if it does not apply.
    """
    before, after = _component_names(old), _component_names(new)
    changed, verb = (before - after, "removed") if place.side == "request" else (after - before, "added")
    new_choice = place.side == "response" and not old.unions and len(new.unions) == 1 and not before
    whole = (
        new_choice
        and is_covered(schemas, old, new, place) is not True
        and all(reference_of(variant) for variant in new.unions[0].variants)
    )
    if not changed or not (before & after or whole):
        return False
    for name in sorted(changed):
        message = f"alternative {name.rsplit('/', 1)[-1]} was {verb}"
        schemas.report(place, f"variant-{verb}", message, detail=name)
    return True


def _component_names(view: View) -> set[str]:
    return view.names | {reference_of(variant) for union in view.unions for variant in union.variants} - {""}


def _find_uncovered(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> Any:
    old_views, new_views = alternatives(old, schemas.old) or [], alternatives(new, schemas.new) or []
    if place.side == "request":
        for before in old_views:
            if not any(schemas.views_fit(before, after, place) for after in new_views):
                return sample_of(before, schemas.old)
    for after in new_views:
        if not any(schemas.views_fit(before, after, place) for before in old_views):
            return sample_of(after, schemas.new)
    return msgspec.UNSET
