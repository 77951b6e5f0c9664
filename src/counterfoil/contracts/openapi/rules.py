"""The rules as data: what each says, and under which profiles it counts as breaking.

A change of a schema has an effect on the set of values: it narrows it, widens it, does neither or cannot be decided.
What clients send must stay accepted, so narrowing breaks requests; what clients get must stay readable, so widening
breaks responses. Where the policy departs from that, the table says so.
"""

from __future__ import annotations

from typing import Literal, TypeAlias

import msgspec

from counterfoil.contracts.report import PROFILES, Profile

Verdict: TypeAlias = Literal["breaks", "relied", "strict", "undecided", "never"]
"""`breaks`: under every profile. `relied`: it breaks those who rely on what was never certain to be there; a consumer
does where it declares so. `strict`: a tolerant client survives it. `undecided`: nobody can tell from the
descriptions alone, so it counts under `strict`. `never`: information."""
Side: TypeAlias = Literal["request", "response"]
"""`request`: values that clients send. `response`: values that clients get."""

COUNTS: dict[Verdict, frozenset[Profile]] = {
    "breaks": frozenset(PROFILES),
    "relied": frozenset(("strict", "standard")),
    "strict": frozenset(("strict",)),
    "undecided": frozenset(("strict",)),
    "never": frozenset(),
}


class Rule(msgspec.Struct, frozen=True):
    """A rule's stable name, its verdict and what it tells."""

    name: str
    verdict: Verdict
    tells: str


# Kind of change of a schema -> verdict where clients send it, verdict where they get it, what it tells.
_NARROWS: tuple[Verdict, Verdict] = ("breaks", "never")
_WIDENS: tuple[Verdict, Verdict] = ("never", "breaks")
_NEITHER: tuple[Verdict, Verdict] = ("breaks", "breaks")
_UNKNOWN: tuple[Verdict, Verdict] = ("undecided", "undecided")
_ALIKE: tuple[Verdict, Verdict] = ("never", "never")
_STRICT: tuple[Verdict, Verdict] = ("strict", "strict")

SCHEMA_KINDS: dict[str, tuple[tuple[Verdict, Verdict], str]] = {
    "type-changed": (_NEITHER, "neither type admits all values of the other"),
    "type-narrowed": (_NARROWS, "fewer types"),
    "type-widened": (_WIDENS, "more types"),
    "became-nullable": (_WIDENS, "null became possible"),
    "became-not-nullable": (_NARROWS, "null became impossible"),
    "format-changed": (_NEITHER, "another format"),
    "format-narrowed": (_NARROWS, "a format, or a narrower one"),
    "format-widened": (_WIDENS, "no format, or a wider one"),
    "became-enum": (_NARROWS, "only listed values from now on"),
    "enum-removed": (("never", "relied"), "no list of values any more"),
    "enum-value-added": (("never", "relied"), "a value more"),
    "enum-value-removed": (_NARROWS, "a value less"),
    "extensible-enum-value-added": (_ALIKE, "a value more in a list that is declared to grow"),
    "extensible-enum-value-removed": (_NARROWS, "a value less in a list that is declared to grow"),
    "enum-became-extensible": (("never", "strict"), "the list of values may grow from now on"),
    "min-increased": (_NARROWS, "a higher least number"),
    "min-decreased": (_WIDENS, "a lower least number"),
    "max-decreased": (_NARROWS, "a lower greatest number"),
    "max-increased": (_WIDENS, "a higher greatest number"),
    "min-length-increased": (_NARROWS, "longer texts only"),
    "min-length-decreased": (_WIDENS, "shorter texts too"),
    "max-length-decreased": (_NARROWS, "shorter texts only"),
    "max-length-increased": (_WIDENS, "longer texts too"),
    "min-items-increased": (_NARROWS, "more items needed"),
    "min-items-decreased": (_WIDENS, "fewer items needed"),
    "max-items-decreased": (_NARROWS, "fewer items possible"),
    "max-items-increased": (_WIDENS, "more items possible"),
    "min-properties-increased": (_NARROWS, "more properties needed"),
    "min-properties-decreased": (_WIDENS, "fewer properties needed"),
    "max-properties-decreased": (_NARROWS, "fewer properties possible"),
    "max-properties-increased": (_WIDENS, "more properties possible"),
    "min-contains-increased": (_NARROWS, "more matching items needed"),
    "min-contains-decreased": (_WIDENS, "fewer matching items needed"),
    "max-contains-decreased": (_NARROWS, "fewer matching items possible"),
    "max-contains-increased": (_WIDENS, "more matching items possible"),
    "multiple-of-added": (_NARROWS, "multiples only"),
    "multiple-of-removed": (_WIDENS, "other than multiples too"),
    "multiple-of-changed": (_NEITHER, "other multiples"),
    "unique-items-added": (_NARROWS, "no item twice"),
    "unique-items-removed": (_WIDENS, "an item may come twice"),
    "pattern-added": (_NARROWS, "texts of a pattern only"),
    "pattern-removed": (("never", "strict"), "texts of any pattern"),
    "pattern-changed": (_UNKNOWN, "another pattern"),
    "property-added": (_ALIKE, "an optional property more"),
    "property-added-to-closed": (("never", "strict"), "a property more where none was allowed"),
    "required-property-added": (("breaks", "never"), "a property that must be there"),
    "required-property-with-default-added": (("strict", "never"), "a needed property that has a default"),
    "required-property-undescribed": (("undecided", "never"), "a needed property that is described nowhere"),
    "property-removed": (("breaks", "breaks"), "a property that is not accepted, or not delivered, any more"),
    "optional-property-removed": (("breaks", "relied"), "an optional property that is not delivered any more"),
    "property-not-described": (("strict", "never"), "a property that is accepted but not described any more"),
    "form-field-removed": (("relied", "breaks"), "a field of a form that is not read any more"),
    "property-became-required": (_NARROWS, "the property must be there"),
    "property-with-default-became-required": (
        ("strict", "never"),
        "the property must be there and has a default",
    ),
    "property-became-optional": (_WIDENS, "the property may be missing"),
    "property-became-read-only": (("strict", "never"), "clients cannot set the property any more"),
    "property-became-not-read-only": (_ALIKE, "clients can set the property"),
    "required-property-became-not-read-only": (("breaks", "never"), "clients must set the property now"),
    "property-became-write-only": (("never", "strict"), "clients do not get the property any more"),
    "property-became-not-write-only": (_ALIKE, "clients get the property"),
    "additional-properties-refused": (_NARROWS, "no other properties than those listed"),
    "additional-properties-allowed": (("never", "strict"), "other properties than those listed"),
    "pattern-property-added": (_NARROWS, "properties of these names are constrained"),
    "pattern-property-removed": (_WIDENS, "properties of these names are free"),
    "property-names-added": (_NARROWS, "names of properties are constrained"),
    "property-names-removed": (_WIDENS, "names of properties are free"),
    "dependent-required-added": (_NARROWS, "a property asks for others"),
    "dependent-required-removed": (_WIDENS, "a property does not ask for others any more"),
    "dependent-schema-added": (_NARROWS, "a property asks for a shape"),
    "dependent-schema-removed": (_WIDENS, "a property does not ask for a shape any more"),
    "unevaluated-properties-added": (_NARROWS, "properties not described elsewhere are constrained"),
    "unevaluated-properties-removed": (_WIDENS, "properties not described elsewhere are free"),
    "unevaluated-items-added": (_NARROWS, "items not described elsewhere are constrained"),
    "unevaluated-items-removed": (_WIDENS, "items not described elsewhere are free"),
    "contains-added": (_NARROWS, "some item must match"),
    "contains-removed": (_WIDENS, "no item must match"),
    "condition-added": (_NARROWS, "a condition more"),
    "condition-removed": (_WIDENS, "a condition less"),
    "condition-changed": (_UNKNOWN, "another condition"),
    "not-added": (_NARROWS, "values are excluded"),
    "not-removed": (_WIDENS, "values are excluded no more"),
    "not-changed": (_UNKNOWN, "other values are excluded"),
    "variant-added": (_WIDENS, "an alternative more"),
    "variant-removed": (_NARROWS, "an alternative less"),
    "union-changed": (_NEITHER, "alternatives that do not cover what there was"),
    "union-narrowed": (_NARROWS, "fewer alternatives"),
    "union-widened": (_WIDENS, "more alternatives"),
    "union-unclear": (_UNKNOWN, "too many alternatives to compare"),
    "discriminator-property-changed": (_NEITHER, "another property tells the alternatives apart"),
    "discriminator-added": (_ALIKE, "a property tells the alternatives apart"),
    "discriminator-removed": (_STRICT, "no property tells the alternatives apart"),
    "discriminator-mapping-added": (_ALIKE, "a name more for the alternatives"),
    "discriminator-mapping-removed": (_UNKNOWN, "a name less for the alternatives"),
    "discriminator-mapping-changed": (_UNKNOWN, "a name means another alternative"),
    "content-encoding-changed": (_NEITHER, "text that is encoded otherwise"),
    "content-media-type-changed": (_NEITHER, "text that is of another media type"),
    "content-schema-added": (_NARROWS, "the text's content is constrained"),
    "content-schema-removed": (_WIDENS, "the text's content is free"),
    "default-changed": (_STRICT, "another value where none is given"),
    "deprecated": (_ALIKE, "to be removed some day"),
    "deprecated-without-sunset": (_STRICT, "to be removed, without a date"),
    "reactivated": (_ALIKE, "to be removed no more"),
    "sunset-invalid": (_NEITHER, "a date of removal that is no date"),
    "sunset-too-soon": (_NEITHER, "a date of removal that has passed already"),
    "sunset-removed": (_NEITHER, "no date of removal any more"),
    "sunset-moved-earlier": (_NEITHER, "an earlier date of removal"),
    "stability-decreased": (_NEITHER, "a promise of stability is taken back"),
    "too-deep": (_UNKNOWN, "schemas nested so deep that they are not compared"),
    "reference-unresolved": (_UNKNOWN, "a reference that leads nowhere"),
}  # fmt: skip

_OTHER: dict[str, tuple[Verdict, str]] = {
    "path-added": ("never", "a path more"),
    "path-removed": ("breaks", "all operations of a path are gone, and some were not deprecated"),
    "path-removed-without-date": ("relied", "all operations of a path are gone, deprecated but without a date to plan for"),
    "operation-added": ("never", "an operation more"),
    "operation-removed": ("breaks", "the operation is gone, and was not deprecated"),
    "operation-removed-without-date": ("relied", "the operation is gone, deprecated but without a date to plan for"),
    "operation-removed-before-sunset": ("breaks", "the operation is gone before the date that was promised"),
    "operation-removed-after-sunset": ("never", "the operation is gone after the date that was promised"),
    "operation-id-changed": ("strict", "generated clients call the operation by another name"),
    "operation-deprecated": ("never", "to be removed some day"),
    "operation-deprecated-without-sunset": ("strict", "to be removed, without a date"),
    "operation-reactivated": ("never", "to be removed no more"),
    "operation-sunset-invalid": ("breaks", "a date of removal that is no date"),
    "operation-sunset-too-soon": ("breaks", "a date of removal that has passed already"),
    "operation-sunset-removed": ("breaks", "no date of removal any more"),
    "operation-sunset-moved-earlier": ("breaks", "an earlier date of removal"),
    "operation-stability-decreased": ("breaks", "a promise of stability is taken back"),
    "operation-stability-increased": ("never", "a promise of stability is given"),
    "operation-stability-unknown": ("breaks", "a level of stability that nobody knows"),
    "parameter-added": ("never", "an optional parameter more"),
    "required-parameter-added": ("breaks", "a parameter that must be sent"),
    "parameter-removed": ("relied", "a parameter that is not read any more"),
    "parameter-removed-without-date": ("relied", "a parameter is gone, deprecated but without a date to plan for"),
    "parameter-removed-before-sunset": (
        "breaks",
        "a parameter is gone before the date that was promised",
    ),
    "parameter-removed-after-sunset": ("never", "a parameter is gone after the date that was promised"),
    "parameter-became-required": ("breaks", "the parameter must be sent"),
    "parameter-became-optional": ("never", "the parameter may be left out"),
    "parameter-default-changed": ("breaks", "another value where the parameter is left out"),
    "parameter-style-changed": ("breaks", "the parameter is written otherwise"),
    "parameter-empty-refused": ("breaks", "the parameter cannot be empty any more"),
    "parameter-reserved-refused": ("strict", "reserved characters must be encoded now"),
    "parameter-deprecated": ("never", "to be removed some day"),
    "parameter-deprecated-without-sunset": ("strict", "to be removed, without a date"),
    "parameter-reactivated": ("never", "to be removed no more"),
    "parameter-sunset-invalid": ("breaks", "a date of removal that is no date"),
    "parameter-sunset-too-soon": ("breaks", "a date of removal that has passed already"),
    "parameter-sunset-removed": ("breaks", "no date of removal any more"),
    "parameter-sunset-moved-earlier": ("breaks", "an earlier date of removal"),
    "request-body-added": ("never", "a body may be sent"),
    "required-request-body-added": ("breaks", "a body must be sent"),
    "request-body-removed": ("breaks", "the body is not read any more"),
    "request-body-became-required": ("breaks", "a body must be sent"),
    "request-body-became-optional": ("never", "the body may be left out"),
    "request-media-type-added": ("never", "a media type more is accepted"),
    "request-media-type-removed": ("breaks", "a media type is accepted no more"),
    "request-encoding-changed": ("undecided", "a part of the body is encoded otherwise"),
    "response-body-added": ("never", "a body is delivered"),
    "response-body-removed": ("breaks", "no body is delivered any more"),
    "response-body-became-optional": ("breaks", "the body may be missing"),
    "response-body-became-required": ("never", "the body is always there"),
    "response-success-status-added": ("strict", "another answer that means success"),
    "response-success-status-removed": ("breaks", "an answer that means success is gone"),
    "response-other-status-added": ("never", "another answer that does not mean success"),
    "response-other-status-removed": ("strict", "an answer that does not mean success is gone"),
    "response-media-type-added": ("never", "a media type more can be asked for"),
    "response-media-type-removed": ("breaks", "a media type is delivered no more"),
    "response-encoding-changed": ("undecided", "a part of the body is encoded otherwise"),
    "response-header-added": ("never", "a header more"),
    "response-header-removed": ("relied", "a header that might come is gone"),
    "required-response-header-removed": ("breaks", "a header that always came is gone"),
    "response-header-became-optional": ("breaks", "the header may be missing"),
    "response-header-became-required": ("never", "the header is always there"),
    "response-header-style-changed": ("breaks", "the header is written otherwise"),
    "webhook-added": ("never", "a call more that the service makes"),
    "webhook-removed": ("breaks", "a call that the service makes no more"),
    "callback-added": ("never", "a call back more that the service makes"),
    "callback-removed": ("breaks", "a call back that the service makes no more"),
    "schema-added": ("never", "a named schema more"),
    "schema-removed": ("never", "a named schema less"),
    "resource-removed": ("relied", "a kind of thing that carries its own tag is delivered no more"),
    "security-narrowed": ("breaks", "what let a client in does so no more"),
    "security-widened": ("never", "another way in"),
    "security-scheme-changed": ("breaks", "credentials are made or sent otherwise"),
    "security-scheme-added": ("never", "a security scheme more"),
    "security-scheme-removed": ("never", "a security scheme less"),
    "security-scope-added": ("never", "a scope more can be asked for"),
    "security-scope-removed": ("breaks", "a scope can be asked for no more"),
    "server-added": ("never", "another address"),
    "server-removed": ("never", "an address less; read it before you move"),
    "channel-added": ("never", "a channel more"),
    "channel-removed": ("breaks", "a channel is gone"),
    "channel-address-changed": ("breaks", "a channel is found at another address"),
    "channel-parameter-added": ("strict", "a parameter of an address more"),
    "channel-parameter-removed": ("strict", "a parameter of an address less"),
    "channel-binding-changed": ("undecided", "the protocol's own settings of a channel changed"),
    "channel-servers-changed": ("breaks", "a channel is not on a server any more"),
    "operation-action-changed": ("breaks", "who sends and who receives changed"),
    "operation-channel-changed": ("breaks", "the operation uses another channel"),
    "operation-binding-changed": ("undecided", "the protocol's own settings of an operation changed"),
    "operation-reply-changed": ("breaks", "replies come on another channel, or no more"),
    "request-message-added": ("never", "a kind of message more is accepted"),
    "request-message-removed": ("breaks", "a kind of message is accepted no more"),
    "response-message-added": ("strict", "a kind of message more is delivered"),
    "response-message-removed": ("breaks", "a kind of message is delivered no more"),
    "message-content-type-changed": ("breaks", "messages are of another media type"),
    "message-schema-format-changed": ("undecided", "messages are described in another language"),
    "message-payload-undecided": ("undecided", "the payload is described in a language that is not compared"),
    "message-correlation-changed": ("breaks", "the correlation id stands at another place"),
    "message-binding-changed": ("undecided", "the protocol's own settings of a message changed"),
    "broker-added": ("never", "a server more"),
    "broker-removed": ("breaks", "a server is gone"),
    "broker-address-changed": ("breaks", "a server is found at another address"),
    "broker-protocol-changed": ("breaks", "a server speaks another protocol, or another version of it"),
    "broker-binding-changed": ("undecided", "the protocol's own settings of a server changed"),
    "info-version-changed": ("strict", "the description has another version"),
    "text-changed": ("never", "words for people changed"),
    "description-unreadable": ("undecided", "a part of the description that is not of its form"),
}  # fmt: skip


def _table() -> dict[str, Rule]:
    rules = {name: Rule(name, verdict, tells) for name, (verdict, tells) in _OTHER.items()}
    for kind, ((sent, got), tells) in SCHEMA_KINDS.items():
        for side, verdict in (("request", sent), ("response", got)):
            rules[f"{side}-{kind}"] = Rule(f"{side}-{kind}", verdict, tells)
    return rules


RULES: dict[str, Rule] = _table()
"""Every rule by its name."""


def counts(name: str, profile: Profile, *, declared: bool = False) -> bool:
    """Whether the rule breaks under the profile; `declared` when the consumer said what it relies on."""
    verdict = RULES[name].verdict
    return profile in COUNTS[verdict] or (declared and profile == "consumer" and verdict == "relied")
