"""Table of rules: meaning of each rule, and the profiles under which it counts as breaking.

A change of a schema narrows the set of values, widens it, does neither, or cannot be decided. What clients send must
stay accepted, so narrowing breaks requests. What clients get must stay readable, so widening breaks responses. Policy
exceptions are in the table.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from counterfoil.contracts.report import PROFILES, Profile

Verdict: TypeAlias = Literal["breaks", "relied", "strict", "undecided", "never"]
"""`breaks`: under every profile. `relied`: breaks clients that rely on something optional; a consumer declares that it
does. `strict`: a tolerant client survives it. `undecided`: the descriptions alone do not decide it, so it counts under
`strict`. `never`: information only."""
Side: TypeAlias = Literal["request", "response"]
"""`request`: values that clients send. `response`: values that clients get."""

COUNTS: dict[Verdict, frozenset[Profile]] = {
    "breaks": frozenset(PROFILES),
    "relied": frozenset(("strict", "standard")),
    "strict": frozenset(("strict",)),
    "undecided": frozenset(("strict",)),
    "never": frozenset(),
}


class CompatibilityRule(msgspec.Struct, frozen=True):
    """Stable name of a rule, its verdict and its meaning."""

    name: str
    verdict: Verdict
    meaning: str


# Kind of change of a schema -> verdict where clients send it, verdict where they get it, meaning.
_NARROWS: tuple[Verdict, Verdict] = ("breaks", "never")
_WIDENS: tuple[Verdict, Verdict] = ("never", "breaks")
_NEITHER: tuple[Verdict, Verdict] = ("breaks", "breaks")
_UNKNOWN: tuple[Verdict, Verdict] = ("undecided", "undecided")
_ALIKE: tuple[Verdict, Verdict] = ("never", "never")
_STRICT: tuple[Verdict, Verdict] = ("strict", "strict")

SCHEMA_KINDS: dict[str, tuple[tuple[Verdict, Verdict], str]] = {
    "type-changed": (_NEITHER, "neither type allows all values of the other"),
    "type-narrowed": (_NARROWS, "fewer types are allowed"),
    "type-widened": (_WIDENS, "more types are allowed"),
    "became-nullable": (_WIDENS, "null is allowed now"),
    "became-not-nullable": (_NARROWS, "null is not allowed any more"),
    "format-changed": (_NEITHER, "the format changed"),
    "format-narrowed": (_NARROWS, "a format was added, or a narrower one"),
    "format-widened": (_WIDENS, "the format was removed, or a wider one is used"),
    "became-enum": (_NARROWS, "only listed values are allowed now"),
    "enum-removed": (("never", "relied"), "the values are not limited to a list any more"),
    "enum-value-added": (("never", "relied"), "a value was added to the list"),
    "enum-value-removed": (_NARROWS, "a value was removed from the list"),
    "extensible-enum-value-added": (_ALIKE, "a value was added to an extensible list"),
    "extensible-enum-value-removed": (_NARROWS, "a value was removed from an extensible list"),
    "enum-became-extensible": (("never", "strict"), "the list of values is extensible now"),
    "min-increased": (_NARROWS, "a higher minimum"),
    "min-decreased": (_WIDENS, "a lower minimum"),
    "max-decreased": (_NARROWS, "a lower maximum"),
    "max-increased": (_WIDENS, "a higher maximum"),
    "min-length-increased": (_NARROWS, "a higher minimum length"),
    "min-length-decreased": (_WIDENS, "a lower minimum length"),
    "max-length-decreased": (_NARROWS, "a lower maximum length"),
    "max-length-increased": (_WIDENS, "a higher maximum length"),
    "min-items-increased": (_NARROWS, "more items are required"),
    "min-items-decreased": (_WIDENS, "fewer items are required"),
    "max-items-decreased": (_NARROWS, "fewer items are allowed"),
    "max-items-increased": (_WIDENS, "more items are allowed"),
    "min-properties-increased": (_NARROWS, "more properties are required"),
    "min-properties-decreased": (_WIDENS, "fewer properties are required"),
    "max-properties-decreased": (_NARROWS, "fewer properties are allowed"),
    "max-properties-increased": (_WIDENS, "more properties are allowed"),
    "min-contains-increased": (_NARROWS, "more matching items are required"),
    "min-contains-decreased": (_WIDENS, "fewer matching items are required"),
    "max-contains-decreased": (_NARROWS, "fewer matching items are allowed"),
    "max-contains-increased": (_WIDENS, "more matching items are allowed"),
    "multiple-of-added": (_NARROWS, "only multiples are allowed"),
    "multiple-of-removed": (_WIDENS, "numbers other than multiples are allowed"),
    "multiple-of-changed": (_NEITHER, "multiples of another number are required"),
    "unique-items-added": (_NARROWS, "duplicate items are not allowed any more"),
    "unique-items-removed": (_WIDENS, "duplicate items are allowed"),
    "pattern-added": (_NARROWS, "the text must match a pattern"),
    "pattern-removed": (("never", "strict"), "the text need not match a pattern any more"),
    "pattern-narrowed": (_NARROWS, "the pattern allows fewer texts"),
    "pattern-widened": (("never", "strict"), "the pattern allows more texts"),
    "pattern-replaced": (("breaks", "strict"), "the pattern allows other texts"),
    "pattern-changed": (_UNKNOWN, "the pattern changed, and the effect is undecided"),
    "property-added": (_ALIKE, "an optional property was added"),
    "property-added-to-closed": (("never", "strict"), "a property was added where no other property was allowed"),
    "required-property-added": (("breaks", "never"), "a required property was added"),
    "required-property-with-default-added": (("strict", "never"), "a required property with a default was added"),
    "required-property-undescribed": (("undecided", "never"), "a property that is not in `properties` became required"),
    "property-removed": (("breaks", "breaks"), "a property is not accepted, or not delivered, any more"),
    "optional-property-removed": (("breaks", "relied"), "an optional property is not delivered any more"),
    "property-not-described": (("strict", "never"), "a property is accepted but not described any more"),
    "form-field-removed": (("relied", "breaks"), "a form field is not read any more"),
    "property-became-required": (_NARROWS, "the property is required now"),
    "property-with-default-became-required": (("strict", "never"), "the property is required now and has a default"),
    "property-became-optional": (_WIDENS, "the property is optional now"),
    "property-became-read-only": (("strict", "never"), "clients cannot set the property any more"),
    "property-became-not-read-only": (_ALIKE, "clients can set the property"),
    "required-property-became-not-read-only": (("breaks", "never"), "clients must set the property now"),
    "property-became-write-only": (("never", "strict"), "clients do not get the property any more"),
    "property-became-not-write-only": (_ALIKE, "clients get the property"),
    "additional-properties-refused": (_NARROWS, "only listed properties are allowed now"),
    "additional-properties-allowed": (("never", "strict"), "properties that are not listed are allowed now"),
    "pattern-property-added": (_NARROWS, "properties with matching names are constrained now"),
    "pattern-property-removed": (_WIDENS, "properties with matching names are not constrained any more"),
    "property-names-added": (_NARROWS, "property names are constrained now"),
    "property-names-removed": (_WIDENS, "property names are not constrained any more"),
    "dependent-required-added": (_NARROWS, "a property requires other properties"),
    "dependent-required-removed": (_WIDENS, "a property does not require other properties any more"),
    "dependent-schema-added": (_NARROWS, "a property requires a schema"),
    "dependent-schema-removed": (_WIDENS, "a property does not require a schema any more"),
    "unevaluated-properties-added": (_NARROWS, "unevaluated properties are constrained now"),
    "unevaluated-properties-removed": (_WIDENS, "unevaluated properties are not constrained any more"),
    "unevaluated-items-added": (_NARROWS, "unevaluated items are constrained now"),
    "unevaluated-items-removed": (_WIDENS, "unevaluated items are not constrained any more"),
    "contains-added": (_NARROWS, "a matching item is required"),
    "contains-removed": (_WIDENS, "no matching item is required any more"),
    "condition-added": (_NARROWS, "a condition was added"),
    "condition-removed": (_WIDENS, "a condition was removed"),
    "condition-changed": (_UNKNOWN, "a condition changed"),
    "not-added": (_NARROWS, "some values are excluded now"),
    "not-removed": (_WIDENS, "no values are excluded any more"),
    "not-changed": (_UNKNOWN, "other values are excluded"),
    "variant-added": (_WIDENS, "an alternative was added"),
    "variant-removed": (_NARROWS, "an alternative was removed"),
    "union-changed": (_NEITHER, "the alternatives before and after do not cover each other"),
    "union-narrowed": (_NARROWS, "the alternatives allow fewer values"),
    "union-widened": (_WIDENS, "the alternatives allow more values"),
    "union-overlap": (("undecided", "strict"), "a value may match several alternatives of `oneOf`, which strict servers refuse"),
    "union-unclear": (_UNKNOWN, "the alternatives could not be compared"),
    "discriminator-property-changed": (_NEITHER, "another property identifies the alternatives"),
    "discriminator-added": (_ALIKE, "a property identifies the alternatives now"),
    "discriminator-removed": (_STRICT, "no property identifies the alternatives any more"),
    "discriminator-mapping-added": (("never", "relied"), "a discriminator value was added"),
    "discriminator-mapping-removed": (_NARROWS, "a discriminator value was removed"),
    "discriminator-mapping-changed": (_NEITHER, "a discriminator value means another alternative"),
    "discriminator-mapping-unclear": (_UNKNOWN, "a discriminator value changed, and the effect is undecided"),
    "content-encoding-changed": (_NEITHER, "the encoding of the text changed"),
    "content-media-type-changed": (_NEITHER, "the media type of the text changed"),
    "content-schema-added": (_NARROWS, "the content of the text is constrained now"),
    "content-schema-removed": (_WIDENS, "the content of the text is not constrained any more"),
    "default-changed": (_STRICT, "the default changed"),
    "deprecated": (_ALIKE, "deprecated with a removal date"),
    "deprecated-without-sunset": (_STRICT, "deprecated without a removal date"),
    "reactivated": (_ALIKE, "not deprecated any more"),
    "sunset-invalid": (_NEITHER, "the removal date is not a date"),
    "sunset-too-soon": (_NEITHER, "the removal date is in the past"),
    "sunset-removed": (_NEITHER, "the removal date was removed"),
    "sunset-moved-earlier": (_NEITHER, "the removal date is earlier"),
    "stability-decreased": (_NEITHER, "the stability level was lowered"),
    "too-deep": (_UNKNOWN, "schemas are nested too deep to be compared"),
    "reference-unresolved": (_UNKNOWN, "a reference has no target"),
}  # fmt: skip

_LIFECYCLE = ("deprecated", "deprecated-without-sunset", "reactivated", "sunset-invalid", "sunset-too-soon",
              "sunset-removed", "sunset-moved-earlier")  # fmt: skip
"""Kinds that operations and parameters share with schemas; their verdict does not depend on the side."""


def _lifecycle(name: str) -> dict[str, tuple[Verdict, str]]:
    return {f"{name}-{kind}": (SCHEMA_KINDS[kind][0][0], SCHEMA_KINDS[kind][1]) for kind in _LIFECYCLE}


_OTHER: dict[str, tuple[Verdict, str]] = {
    "path-added": ("never", "a path was added"),
    "path-removed": ("breaks", "all operations of a path were removed, and some were not deprecated"),
    "path-removed-without-date": ("relied", "all operations of a path were removed, deprecated but without a removal date"),
    "operation-added": ("never", "an operation was added"),
    "operation-removed": ("breaks", "the operation was removed without deprecation"),
    "operation-removed-without-date": ("relied", "the operation was removed, deprecated but without a removal date"),
    "operation-removed-before-sunset": ("breaks", "the operation was removed before its removal date"),
    "operation-removed-after-sunset": ("never", "the operation was removed after its removal date"),
    "operation-id-changed": ("strict", "generated clients use another name for the operation"),
    **_lifecycle("operation"),
    "operation-stability-decreased": ("breaks", "the stability level was lowered"),
    "operation-stability-increased": ("never", "the stability level was raised"),
    "operation-stability-unknown": ("breaks", "the stability level is unknown"),
    "parameter-added": ("never", "an optional parameter was added"),
    "required-parameter-added": ("breaks", "a required parameter was added"),
    "parameter-removed": ("relied", "a parameter is not read any more"),
    "parameter-removed-without-date": ("relied", "a parameter was removed, deprecated but without a removal date"),
    "parameter-removed-before-sunset": ("breaks", "a parameter was removed before its removal date"),
    "parameter-removed-after-sunset": ("never", "a parameter was removed after its removal date"),
    "parameter-became-required": ("breaks", "the parameter is required now"),
    "parameter-became-optional": ("never", "the parameter is optional now"),
    "parameter-default-changed": ("breaks", "the default of an omitted parameter changed"),
    "parameter-style-changed": ("breaks", "the serialization of the parameter changed"),
    "parameter-empty-refused": ("breaks", "the parameter cannot be empty any more"),
    "parameter-reserved-refused": ("strict", "reserved characters must be encoded now"),
    **_lifecycle("parameter"),
    "request-body-added": ("never", "a body may be sent"),
    "required-request-body-added": ("breaks", "a body must be sent"),
    "request-body-removed": ("breaks", "the body is not read any more"),
    "request-body-became-required": ("breaks", "a body must be sent"),
    "request-body-became-optional": ("never", "the body is optional now"),
    "request-media-type-added": ("never", "another media type is accepted"),
    "request-media-type-removed": ("breaks", "a media type is not accepted any more"),
    "request-encoding-changed": ("undecided", "the encoding of a part of the body changed"),
    "response-body-added": ("never", "the response has a body now"),
    "response-body-removed": ("breaks", "the response has no body any more"),
    "response-body-became-optional": ("breaks", "the body is optional now"),
    "response-body-became-required": ("never", "the body is always sent now"),
    "response-success-status-added": ("strict", "a success status was added"),
    "response-success-status-removed": ("breaks", "a success status was removed"),
    "response-other-status-added": ("never", "another status was added"),
    "response-other-status-removed": ("strict", "another status was removed"),
    "response-media-type-added": ("never", "another media type is available"),
    "response-media-type-removed": ("breaks", "a media type is not available any more"),
    "response-encoding-changed": ("undecided", "the encoding of a part of the body changed"),
    "response-header-added": ("never", "a header was added"),
    "response-header-removed": ("relied", "an optional header was removed"),
    "required-response-header-removed": ("breaks", "a required header was removed"),
    "response-header-became-optional": ("breaks", "the header is optional now"),
    "response-header-became-required": ("never", "the header is always sent now"),
    "response-header-style-changed": ("breaks", "the serialization of the header changed"),
    "webhook-added": ("never", "a webhook was added"),
    "webhook-removed": ("breaks", "a webhook was removed"),
    "callback-added": ("never", "a callback was added"),
    "callback-removed": ("breaks", "a callback was removed"),
    "schema-added": ("never", "a named schema was added"),
    "schema-removed": ("never", "a named schema was removed"),
    "resource-removed": ("relied", "a kind of object with its own tag is not delivered any more"),
    "security-narrowed": ("breaks", "a combination of credentials is not accepted any more"),
    "security-widened": ("never", "another combination of credentials is accepted"),
    "security-scheme-changed": ("breaks", "credentials are created or sent differently"),
    "security-scheme-added": ("never", "a security scheme was added"),
    "security-scheme-removed": ("never", "a security scheme was removed"),
    "security-scope-added": ("never", "a scope was added"),
    "security-scope-removed": ("breaks", "a scope was removed"),
    "server-added": ("never", "a server was added"),
    "server-removed": ("never", "a server was removed; check it before you upgrade"),
    "channel-added": ("never", "a channel was added"),
    "channel-removed": ("breaks", "a channel was removed"),
    "channel-address-changed": ("breaks", "the address of a channel changed"),
    "channel-parameter-added": ("strict", "a parameter of an address was added"),
    "channel-parameter-removed": ("strict", "a parameter of an address was removed"),
    "channel-binding-changed": ("undecided", "the protocol binding of a channel changed"),
    "channel-servers-changed": ("breaks", "a channel is not on a server any more"),
    "operation-action-changed": ("breaks", "sender and receiver changed"),
    "operation-channel-changed": ("breaks", "the operation uses another channel"),
    "operation-binding-changed": ("undecided", "the protocol binding of an operation changed"),
    "operation-reply-changed": ("breaks", "the address of the reply changed, or there is no reply any more"),
    "request-message-added": ("never", "another kind of message is accepted"),
    "request-message-removed": ("breaks", "a kind of message is not accepted any more"),
    "response-message-added": ("strict", "another kind of message is delivered"),
    "response-message-removed": ("breaks", "a kind of message is not delivered any more"),
    "message-content-type-changed": ("breaks", "the media type of messages changed"),
    "message-schema-format-changed": ("undecided", "the schema format of messages changed"),
    "message-payload-undecided": ("undecided", "the schema format of the payload is not compared"),
    "message-correlation-changed": ("breaks", "the location of the correlation id changed"),
    "message-binding-changed": ("undecided", "the protocol binding of a message changed"),
    "broker-added": ("never", "a server was added"),
    "broker-removed": ("breaks", "a server was removed"),
    "broker-address-changed": ("breaks", "the address of a server changed"),
    "broker-protocol-changed": ("breaks", "the protocol of a server, or its version, changed"),
    "broker-binding-changed": ("undecided", "the protocol binding of a server changed"),
    "info-version-changed": ("strict", "the version of the description changed"),
    "text-changed": ("never", "a text for people changed"),
    "description-unreadable": ("undecided", "a part of the description is malformed"),
}  # fmt: skip


def _table() -> dict[str, CompatibilityRule]:
    rules = {name: CompatibilityRule(name, verdict, meaning) for name, (verdict, meaning) in _OTHER.items()}
    for kind, ((sent, got), meaning) in SCHEMA_KINDS.items():
        for side, verdict in (("request", sent), ("response", got)):
            rules[f"{side}-{kind}"] = CompatibilityRule(f"{side}-{kind}", verdict, meaning)
    return rules


RULES: dict[str, CompatibilityRule] = _table()
"""All rules by name."""


def counts(name: str, profile: Profile, *, declared: bool = False) -> bool:
    """Return true if the rule breaks under the profile; `declared`: the consumer stated what it relies on."""
    verdict = RULES[name].verdict
    return profile in COUNTS[verdict] or (declared and profile == "consumer" and verdict == "relied")
