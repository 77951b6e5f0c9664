"""Comparison of what two schemas require of a single value: type, enum, bounds, pattern, format, conditions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from counterfoil.contracts.json_parts import as_list
from counterfoil.contracts.jsonschema.values import pattern_matches
from counterfoil.contracts.openapi import proof, variants
from counterfoil.contracts.openapi.lifecycle import STABILITY
from counterfoil.contracts.openapi.sample import number, sample_of, text
from counterfoil.contracts.openapi.view import View, has, json_type, tighter

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.schema import SchemaComparer, SchemaPlace

ABSENT = msgspec.UNSET
# Numeric format -> wider formats that include all of its numbers.
_WIDER_FORMATS = {
    "int8": {"int16", "int32", "int64", "float", "double"}, "int16": {"int32", "int64", "float", "double"},
    "int32": {"int64", "double"}, "float": {"double"},
}  # fmt: skip
_BYTES = {"byte": ("contentEncoding", "base64"), "binary": ("contentMediaType", "application/octet-stream")}
_DISPLAY_FORMATS = frozenset(("password", ""))
"""Formats that describe the display of a value and do not constrain it."""


def compare(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    """Report changes of the constraints on single values."""
    narrow, wide = (old, new) if place.side == "request" else (new, old)
    _types(schemas, old, new, place)
    if narrow.types != frozenset() or narrow.null:
        _null(schemas, old, new, place)
    if narrow.types == frozenset():
        if narrow.null:
            _conditions(schemas, old, new, place)
        return  # only null is valid, so there is nothing to bound
    _enum(schemas, old, new, place)
    _annotations(schemas, old, new, place)
    if narrow.enum is not None and all(_within(value, wide) for value in narrow.enum):
        return  # every listed value meets the other constraints
    if share(old, new, "integer", "number"):
        _range(schemas, old, new, place)
        _multiples(schemas, old, new, place)
    if share(old, new, "string"):
        _patterns(schemas, old, new, place)
    if not _same_bytes(old, new):
        if share(old, new, "string"):
            _content(schemas, old, new, place)
        if share(old, new, "string", "integer", "number"):
            _format(schemas, old, new, place)
    _sizes(schemas, old, new, place)
    _conditions(schemas, old, new, place)
    variants.discriminator(schemas, old, new, place)


def share(old: View, new: View, *kinds: str) -> bool:
    """Return true if values of some of these types may be valid on both sides.

    A bound counts even next to a type that it does not apply to: the author meant it.
    """
    if old.types == new.types and not old.split and not new.split:
        return True
    return any(old.admits(kind) for kind in kinds) and any(new.admits(kind) for kind in kinds)


def _types_text(types: frozenset[str] | None) -> str:
    return "any type" if types is None else " or ".join(sorted(types)) or "no value"


def _types(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    if old.types == new.types or (old.unions and old.types is None) or (new.unions and new.types is None):
        return
    lost = missing(old, new, place.form and place.side == "request")
    gained = missing(new, old, place.form and place.side == "response")
    message = f"type {_types_text(old.types)} became {_types_text(new.types)}"
    old_sample = sample_of(old, schemas.old, kind=lost[0]) if lost and old.types is not None else ABSENT
    new_sample = sample_of(new, schemas.new, kind=gained[0]) if gained and new.types is not None else ABSENT
    if lost and gained:
        example = old_sample if place.side == "request" else new_sample
        schemas.report(place, "type-changed", message, example)
    elif lost:
        schemas.report(place, "type-narrowed", message, old_sample)
    elif gained:
        schemas.report(place, "type-widened", message, new_sample)


def missing(view: View, other: View, as_text: bool) -> list[str]:
    """Return the types that one view allows and another does not. A value in text form fits wherever text does."""
    if other.types is None:
        return []
    if view.types is None:
        return ["any"]
    lost = [kind for kind in sorted(view.types) if not other.admits(kind)]
    if as_text and "string" in other.types and other.enum is None:
        lost = [kind for kind in lost if kind not in ("integer", "number", "boolean", "string")]
    if as_text and "array" in other.types and lost and "array" not in view.types:
        lost = lost if not _items_accept(view, other) else []
    return lost


def _items_accept(view: View, other: View) -> bool:
    """Return true if an array accepts the single value: one form field is an array of one item."""
    items = other.carried.get("items", True)
    if other.sizes.get("minItems", 0) > 1 or other.carried.get("x-joined"):
        return False
    if items is True:
        return True
    if not isinstance(items, dict) or set(items) - {"type", "title", "description", "example", "format"}:
        return False
    kinds = items.get("type")
    kinds = {kinds} if isinstance(kinds, str) else set(map(str, as_list(kinds)))
    return "string" in kinds or (view.types is not None and view.types <= kinds)


def _null(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.null, new.null
    if before is None or after is None or before == after:
        return
    if after:
        schemas.report(place, "became-nullable", "null is allowed now", None)
    else:
        schemas.report(place, "became-not-nullable", "null is not allowed any more", None)


def _enum(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    _extensible_enum(schemas, old, new, place)
    if old.enum is None and new.enum is None:
        return
    if old.enum is None:
        if proof.texts_listed(old, new.enum or []):
            return
        values = ", ".join(str(value) for value in (new.enum or ())[:5])
        schemas.report(place, "became-enum", f"only {values} are allowed now", _outside(old, new, schemas))
        return
    if new.enum is None:
        if proof.texts_listed(new, old.enum):
            return
        if new.extensible is not None and all(has(new.extensible, value) for value in old.enum):
            schemas.report(place, "enum-became-extensible", "the list of values may grow now")
        elif missing(new, old, place.form):
            return  # the change of type reports it
        else:
            message = "the values are not limited to a list any more"
            schemas.report(place, "enum-removed", message, _outside(new, old, schemas))
        return
    for value in old.enum:
        if not has(new.enum, value) and new.admits(json_type(value)):
            _report_value(schemas, place, "enum-value-removed", value)
    for value in new.enum:
        if not has(old.enum, value) and old.admits(json_type(value)):
            kind = "enum-value-added" if new.extensible is None else "extensible-enum-value-added"
            _report_value(schemas, place, kind, value)


def _extensible_enum(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    if old.extensible is None or new.extensible is None or (old.enum is not None and new.enum is not None):
        return
    for value in old.extensible:
        if not has(new.extensible, value):
            _report_value(schemas, place, "extensible-enum-value-removed", value)
    for value in new.extensible:
        if not has(old.extensible, value):
            _report_value(schemas, place, "extensible-enum-value-added", value)


def _report_value(schemas: SchemaComparer, place: SchemaPlace, kind: str, value: Any) -> None:
    verb = kind.rpartition("-")[2]
    schemas.report(place, kind, f"value {value!r} was {verb}", value, detail=repr(value))


def _outside(wide: View, narrow: View, schemas: SchemaComparer) -> Any:
    """Return a value that the wider view allows and the enum of the narrower one does not."""
    value = sample_of(wide, schemas.old)
    return ABSENT if value is ABSENT or has(narrow.enum or (), value) else value


def _within(value: Any, view: View) -> bool:
    """Return true if a single value meets the bounds of a view; false if that is not simple to decide."""
    if any(key in view.carried for key in ("not", "if", "contentSchema", "contentEncoding")):
        return False
    if isinstance(value, str):
        if not all(pattern_matches(pattern, value) for pattern in view.patterns):
            return False
        size = len(value)
        formatted = view.carried.get("format", "") not in _DISPLAY_FORMATS
        return not formatted and view.sizes.get("minLength", 0) <= size <= view.sizes.get("maxLength", size)
    if isinstance(value, bool) or value is None:
        return True
    if isinstance(value, dict | list):
        return False
    low, high = view.low, view.high
    if low is not None and (value < low[0] or (low[1] and value == low[0])):
        return False
    if high is not None and (value > high[0] or (high[1] and value == high[0])):
        return False
    step = view.carried.get("multipleOf")
    return not view.carried.get("format") and (not step or _divides(step, value))


def _range(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    for name, low, before, after in (("min", True, old.low, new.low), ("max", False, old.high, new.high)):
        if before == after:
            continue
        narrower = after is not None and (before is None or tighter(after, before, low))
        words = ("increased", "decreased") if low else ("decreased", "increased")
        view, bound = (old, before) if narrower else (new, after)
        other = after if narrower else before
        example: Any = ABSENT
        if other is not None and not view.patterns:
            # The bound itself if it is excluded now, else the next number beyond it.
            example = other[0] if other[1] else other[0] - 1 if low else other[0] + 1
            if bound is not None and tighter((example, False), bound, not low):
                example = bound[0] if not bound[1] else number(view)
        kind = f"{name}-{words[0] if narrower else words[1]}"
        message = f"{'minimum' if low else 'maximum'} {_bound(before)} became {_bound(after)}"
        schemas.report(place, kind, message, example)


def _bound(bound: tuple[float, bool] | None) -> str:
    if bound is None:
        return "none"
    return f"{bound[0]}{' (excluded)' if bound[1] else ''}"


def _multiples(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.carried.get("multipleOf"), new.carried.get("multipleOf")
    if before == after or before == 0 or after == 0:
        return
    kind = "multiple-of-changed"
    if before is None or (after is not None and _divides(before, after)):
        kind = "multiple-of-added"
    elif after is None or _divides(after, before):
        kind = "multiple-of-removed"
    schemas.report(place, kind, f"multipleOf {before or 'none'} became {after or 'none'}")


def _divides(part: Any, whole: Any) -> bool:
    try:
        return bool(whole % part == 0)
    except (TypeError, ArithmeticError):
        return False


def _patterns(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    if old.patterns == new.patterns:
        return
    before, after = (", ".join(sorted(view.patterns)) or "none" for view in (old, new))
    lost, gained = proof.texts_included(old, new), proof.texts_included(new, old)
    verdicts = lost.verdict, gained.verdict
    if verdicts == ("yes", "yes"):
        return
    message = f"pattern {before} became {after}"
    if "unknown" in verdicts:
        schemas.report(place, "pattern-changed", f"{message}; whether both allow the same is not decided")
    elif verdicts == ("no", "no"):
        example = lost.example if place.side == "request" else gained.example
        schemas.report(place, "pattern-replaced", f"{message}; neither covers the other", example)
    elif lost.verdict == "no":
        kind = "pattern-narrowed" if old.patterns else "pattern-added"
        schemas.report(place, kind, f"{message}, which allows fewer texts", lost.example)
    else:
        kind = "pattern-widened" if new.patterns else "pattern-removed"
        schemas.report(place, kind, f"{message}, which allows more texts", gained.example)


def _format(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = str(old.carried.get("format", "")), str(new.carried.get("format", ""))
    before = "" if before in _DISPLAY_FORMATS else before
    after = "" if after in _DISPLAY_FORMATS else after
    if before == after:
        return
    # A numeric format does not apply to a text, so it disappears with the type.
    if missing(old, new, False) and missing(new, old, False):
        return
    message = f"format {before or 'none'} became {after or 'none'}"
    was, now = (set(name.split(" and ")) for name in (before, after))
    if not before or was < now or (after in _WIDER_FORMATS and before in _WIDER_FORMATS[after]):
        kind = "format-narrowed"
    elif not after or now < was or after in _WIDER_FORMATS.get(before, ()):
        kind = "format-widened"
    else:
        kind = "format-changed"
    schemas.report(place, kind, message)


_SIZES = (
    ("minLength", "min-length", "string"), ("maxLength", "max-length", "string"),
    ("minItems", "min-items", "array"), ("maxItems", "max-items", "array"),
    ("minProperties", "min-properties", "object"), ("maxProperties", "max-properties", "object"),
    ("minContains", "min-contains", "array"), ("maxContains", "max-contains", "array"),
)  # fmt: skip


def _sizes(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    for keyword, name, type_ in _SIZES:
        minimum = keyword.startswith("min")
        default = (1 if keyword == "minContains" else 0) if minimum else None
        before, after = old.sizes.get(keyword, default), new.sizes.get(keyword, default)
        if before == after or not share(old, new, type_):
            continue
        if name.endswith("contains") and not ("contains" in old.carried and "contains" in new.carried):
            continue
        grew = not minimum if after is None else before is not None and after > before
        kind = f"{name}-{'increased' if grew else 'decreased'}"
        texts = ["none" if limit is None else str(limit) for limit in (before, after)]
        example = _text_beyond(keyword, old, new, grew == minimum)
        schemas.report(place, kind, f"{keyword}: {texts[0]} became {texts[1]}", example)


def _text_beyond(keyword: str, old: View, new: View, narrower: bool) -> Any:
    """Return a text of a length that only one side allows."""
    view, other = (old, new) if narrower else (new, old)
    if keyword == "minLength":
        return text(view, view.sizes.get(keyword, 0))
    if keyword == "maxLength":
        return text(view, view.sizes.get(keyword, other.sizes.get(keyword, 0) + 1))
    return ABSENT


def _same_bytes(old: View, new: View) -> bool:
    """Return true if one view has a format of OpenAPI 3.0 for bytes, and the other the keyword of 3.1 for it."""
    pairs = ((old, new), (new, old))
    return any(
        view.carried.get("format") == name
        and other.carried.get(keyword) == value
        and "format" not in other.carried
        for name, (keyword, value) in _BYTES.items()
        for view, other in pairs
    )


def _content(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    for keyword, name in (("contentEncoding", "encoding"), ("contentMediaType", "media-type")):
        before, after = old.carried.get(keyword), new.carried.get(keyword)
        if before != after:
            schemas.report(
                place, f"content-{name}-changed", f"{keyword} {before or 'none'} became {after or 'none'}"
            )
    part(schemas, old, new, place, "contentSchema", "content-schema")


def _annotations(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.carried.get("default", ABSENT), new.carried.get("default", ABSENT)
    if before != after and place.side == "request":
        texts = ["none" if value is ABSENT else repr(value) for value in (before, after)]
        schemas.report(place, "default-changed", f"default {texts[0]} became {texts[1]}")
    levels = [carried.get("x-stability-level") for carried in (old.carried, new.carried)]
    ranks = [STABILITY.index(level) if level in STABILITY else None for level in levels]
    if ranks[0] is not None and ranks[1] is not None and ranks[1] < ranks[0]:
        schemas.report(place, "stability-decreased", f"stability: {levels[0]} became {levels[1]}")
    schemas.lifecycle.compare(old.carried, new.carried, lambda kind, text: schemas.report(place, kind, text))


def _conditions(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.carried, new.carried
    if before.get("not") != after.get("not"):
        _negation(schemas, old, new, place)
    if any(before.get(word) != after.get(word) for word in ("if", "then", "else")):
        if "if" not in before:
            schemas.report(place, "condition-added", "a condition was added")
        elif "if" not in after:
            schemas.report(place, "condition-removed", "a condition was removed")
        elif before["if"] != after["if"]:
            schemas.report(place, "condition-changed", "a condition changed; its effect is not decided")
        else:
            for word in ("then", "else"):
                schemas.compare(before.get(word, True), after.get(word, True), place.into(word))


def _negation(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.carried.get("not"), new.carried.get("not")
    if before is None:
        schemas.report(place, "not-added", "some values are excluded now")
    elif after is None:
        schemas.report(place, "not-removed", "no values are excluded any more")
    elif not schemas.fits(before, after, place.opposite()):
        # Exclusion reverses the direction: excluding more values leaves fewer.
        decided = schemas.fits(before, after, place)
        kind = "not-changed" if not decided else "not-added" if place.side == "request" else "not-removed"
        schemas.report(place, kind, "other values are excluded")


def part(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace, keyword: str, kind: str) -> None:
    """Compare a schema inside the schema that adds a constraint where it is present."""
    before, after = old.carried.get(keyword), new.carried.get(keyword)
    if before == after:
        return
    if before is None or before is True:
        schemas.report(place, f"{kind}-added", f"{keyword} was added")
    elif after is None or after is True:
        schemas.report(place, f"{kind}-removed", f"{keyword} was removed")
    else:
        schemas.compare(before, after, place.into(keyword))
