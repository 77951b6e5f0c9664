"""Rules by name, with the explanations that the reference quotes: of the form of files, and of the registered checks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeAlias

from counterfoil.core.finding import Finding
from counterfoil.model.model import Model

CheckFunction: TypeAlias = Callable[[Model], Iterator[Finding]]


@dataclass(frozen=True, slots=True)
class CheckRule:
    """A rule of `check`: its name in findings, its function and its explanation."""

    name: str
    check: CheckFunction
    explanation: str


RULES: dict[str, CheckRule] = {}


def rule(name: str, **also: str) -> Callable[[CheckFunction], CheckFunction]:
    """Register a check under the rule name of its findings.

    `also` explains further rules that the check reports, by name with `_` for `-`.
    """

    def register(check: CheckFunction) -> CheckFunction:
        RULES[name] = CheckRule(name, check, " ".join((check.__doc__ or "").split()))
        for other, explanation in also.items():
            further = other.replace("_", "-")
            RULES[further] = CheckRule(further, check, explanation)
        return check

    return register


FORM: dict[str, str] = {
    "syntax": "The text is YAML 1.2. A faulty document does not hide the others of its file.",
    "alias": "Aliases and merge keys are not allowed: each value must be readable where it is.",
    "anchor": "Anchors are not allowed, for the same reason as aliases.",
    "tag": "Tags are not allowed: the text of a value decides its type.",
    "directive": "YAML directives are not allowed.",
    "key": "A key is a plain word: not a list, not a mapping, not `true` or `null` without quotes.",
    "key-on": "A key must not be named `on`: older YAML parsers read it as true.",
    "duplicate-key": "A mapping has each key once.",
    "null": "Every key has a value. A comma or brace in a formula inside {...} often causes an empty value: quote the formula.",
    "unbalanced": "Brackets in a formula are balanced.",
    "number": "Numbers are finite and have at most 60 characters.",
    "too-deep": "Values are nested at most 40 deep.",
    "too-large": "A file has at most 512 KB (a table's CSV 16 MB), a folder at most 5,000 files.",
    "unreadable": "A file is UTF-8 text inside the folder.",
    "not-a-document": "A document is a mapping that begins with its `kind`.",
    "extends": "`extends` names a document of the canonical library and its version. A field of the library keeps its type and values, stays required and stays personal data.",
    "unknown-kind": "`kind` is one of the existing kinds.",
    "missing-key": "A document has all keys that its kind requires.",
    "unknown-key": "A document has only keys of its kind.",
    "wrong-value": "A value has the type and form that its kind requires.",
    "failure-incomplete": "A failure policy has a reaction for every error class and timeout: whether work "
    "queues, partly completes or is undone is a decision in a file.",
    "pattern": "A pattern creates one document or steps, uses each of its parameters and no others, and uses no other "
    "pattern. A use names an existing pattern of the right form and kind, and sets every parameter without a "
    "default, each with a value of its type, and no others.",
    "duplicate-name": "Each name is used once per kind.",
    "table-row": "A table has `file` or `rows`, and the header of a CSV has all its columns. Each row has the key columns and the value. "
    "Its first day is a date, and no other row has the same key and first day.",
    "overlay-form": "An overlay changes existing documents for a known environment, region or legal entity. A region and a legal entity "
    "may differ only in tables and in policies of sort approval, limit and posting_date. Two overlays for one place do "
    "not set the same value.",
    "overlay-loosens": "An overlay that weakens a control gives the reason in `loosens`: other owners, fewer or no "
    "approvers, a higher limit, other steps, another system of record, more permissions.",
    "secret-in-file": "A file contains a secret only by reference: `env:NAME` or `file:PATH`. The finding never shows it.",
}
"""Rules of form, which reading a folder checks before the whole-model checks."""
