"""Comparison of what two schemas require of the parts of a value: properties, property names and items."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from counterfoil.contracts.json_parts import as_list, escape
from counterfoil.contracts.openapi.constraints import part, share
from counterfoil.contracts.openapi.sample import sample_of
from counterfoil.contracts.openapi.view import View

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.schema import SchemaComparer, SchemaPlace


def compare(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    """Report changes of the constraints on the parts of a value."""
    if share(old, new, "object"):
        _properties(schemas, old, new, place)
        _additional(schemas, old, new, place)
        _names(schemas, old, new, place)
    if share(old, new, "array"):
        _items(schemas, old, new, place)


def _is_hidden(view: View, name: str, schemas: SchemaComparer, place: SchemaPlace, *, fresh: bool) -> bool:
    """Return true if a property does not travel in this direction."""
    if name not in view.properties:
        return False
    carried = schemas.view(view.properties[name], fresh=fresh).carried
    return carried.get("readOnly" if place.side == "request" else "writeOnly") is True


def _properties(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    names = [*old.properties, *(name for name in new.properties if name not in old.properties)]
    names += sorted((old.required | new.required) - set(names))
    for name in names:
        used = place.fields.of(name)
        there = place.into(f"properties/{escape(name)}", used if used is not None else place.fields)
        if name not in old.properties and name not in old.required:
            _compare_added_property(schemas, old, new, name, there)
        elif used is None:
            continue
        elif name in old.properties and name not in new.properties:
            _compare_removed_property(schemas, old, new, name, there)
            if name in new.required and there.side == "request":
                _required(schemas, old, new, name, there)
        else:
            _common_property(schemas, old, new, name, there)


def _has_default(view: View, name: str, schemas: SchemaComparer) -> bool:
    return name in view.properties and "default" in schemas.view(view.properties[name], fresh=True).carried


def _compare_added_property(
    schemas: SchemaComparer, old: View, new: View, name: str, there: SchemaPlace
) -> None:
    if _is_hidden(new, name, schemas, there, fresh=True):
        return
    if there.side == "request" and name in new.required and name not in new.properties:
        message = "the property must be sent now but is not in `properties`"
        schemas.report(there, "required-property-undescribed", message)
    elif there.side == "request" and name in new.required:
        with_default = _has_default(new, name, schemas)
        kind = "required-property-with-default-added" if with_default else "required-property-added"
        example = sample_of(old, schemas.old, kind="object")
        schemas.report(there, kind, "the property must be sent now", example)
    elif there.side == "response" and old.additional is False:
        message = "the property was added; only listed properties were allowed before"
        schemas.report(there, "property-added-to-closed", message)
    else:
        schemas.report(there, "property-added", "the property was added")


def _compare_removed_property(
    schemas: SchemaComparer, old: View, new: View, name: str, there: SchemaPlace
) -> None:
    if _is_hidden(old, name, schemas, there, fresh=False):
        return
    kind, text = "property-not-described", "is not described any more but is still accepted"
    if there.side == "response":
        kind = "property-removed" if name in old.required else "optional-property-removed"
        text = "is not delivered any more"
    elif there.form:
        kind, text = "form-field-removed", "is not read any more"
    elif new.additional is False:
        kind, text = "property-removed", "is not accepted any more"
    elif isinstance(new.additional, dict):
        if schemas.fits(old.properties[name], new.additional, there):
            kind, text = "property-added", "is one of the additional properties now"
        else:
            kind, text = "property-removed", "does not match the schema of additional properties"
    example: Any = msgspec.UNSET
    value = sample_of(old if there.side == "request" else new, schemas.old, kind="object")
    if isinstance(value, dict):
        property_value = sample_of(schemas.view(old.properties[name], fresh=False), schemas.old)
        if there.side == "response":
            example = value
        elif property_value is not msgspec.UNSET:
            example = {**value, name: property_value}
    schemas.report(there, kind, f"the property {text}", example)


def _common_property(schemas: SchemaComparer, old: View, new: View, name: str, there: SchemaPlace) -> None:
    was_hidden = _is_hidden(old, name, schemas, there, fresh=False)
    is_hidden = _is_hidden(new, name, schemas, there, fresh=True)
    word = "read-only" if there.side == "request" else "write-only"
    if was_hidden and is_hidden:
        return
    if is_hidden:
        schemas.report(there, f"property-became-{word}", f"the property became {word}")
        return
    if was_hidden:
        needed = there.side == "request" and name in new.required
        kind = f"{'required-' if needed else ''}property-became-not-{word}"
        schemas.report(
            there, kind, f"the property is not {word} any more{' and must be sent' if needed else ''}"
        )
        return
    _required(schemas, old, new, name, there)
    if name in old.properties and name in new.properties:
        schemas.compare(old.properties[name], new.properties[name], there)
    elif name in new.properties:
        schemas.compare(old.additional, new.properties[name], there)


def _required(schemas: SchemaComparer, old: View, new: View, name: str, there: SchemaPlace) -> None:
    before, after = name in old.required, name in new.required
    if before == after:
        return
    if after:
        kind = "property-became-required"
        if there.side == "request" and _has_default(new, name, schemas):
            kind = "property-with-default-became-required"
        example = sample_of(old, schemas.old, kind="object")
        schemas.report(there, kind, "the property is required now", example)
    else:
        example = sample_of(new, schemas.new, kind="object")
        schemas.report(there, "property-became-optional", "the property is optional now", example)


def _additional(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.additional, new.additional
    if before == after and not schemas.thorough:
        return
    open_before, open_after = before in (True, {}), after in (True, {})
    if open_before and open_after:
        return
    if after is False and before is not False:
        schemas.report(place, "additional-properties-refused", "only listed properties are accepted now")
    elif before is False and after is not False:
        schemas.report(
            place, "additional-properties-allowed", "properties that are not listed are allowed now"
        )
    else:
        before, after = True if open_before else before, True if open_after else after
        schemas.compare(before, after, place.into("additionalProperties"))


def _names(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    part(schemas, old, new, place, "propertyNames", "property-names")
    part(schemas, old, new, place, "unevaluatedProperties", "unevaluated-properties")
    for keyword, kind in (
        ("patternProperties", "pattern-property"),
        ("dependentSchemas", "dependent-schema"),
        ("dependentRequired", "dependent-required"),
    ):
        before, after = old.maps.get(keyword, {}), new.maps.get(keyword, {})
        for name in sorted({*before, *after}):
            there = place.into(f"{keyword}/{escape(str(name))}")
            if before.get(name) == after.get(name):
                continue
            if keyword == "dependentRequired":
                was, now = (set(map(str, as_list(entries.get(name)))) for entries in (before, after))
                for word, names in (("added", now - was), ("removed", was - now)):
                    if names:
                        message = f"the requirement that {name} needs {', '.join(sorted(names))} was {word}"
                        schemas.report(there, f"{kind}-{word}", message)
            elif name not in before:
                schemas.report(there, f"{kind}-added", f"{keyword} {name} was added")
            elif name not in after:
                schemas.report(there, f"{kind}-removed", f"{keyword} {name} was removed")
            else:
                schemas.compare(before[name], after[name], there)


def _items(schemas: SchemaComparer, old: View, new: View, place: SchemaPlace) -> None:
    before, after = old.carried, new.carried
    if before.get("uniqueItems", False) != after.get("uniqueItems", False):
        word = "added" if after.get("uniqueItems") else "removed"
        schemas.report(place, f"unique-items-{word}", f"uniqueItems was {word}")
    part(schemas, old, new, place, "contains", "contains")
    part(schemas, old, new, place, "unevaluatedItems", "unevaluated-items")
    old_prefix, new_prefix = as_list(before.get("prefixItems")), as_list(after.get("prefixItems"))
    for index in range(max(len(old_prefix), len(new_prefix))):
        schemas.compare(
            old_prefix[index] if index < len(old_prefix) else before.get("items", True),
            new_prefix[index] if index < len(new_prefix) else after.get("items", True),
            place.into(f"prefixItems/{index}"),
        )
    old_items, new_items = before.get("items", True), after.get("items", True)
    if old_items != new_items or schemas.thorough:
        schemas.compare(old_items, new_items, place.into("items"))
