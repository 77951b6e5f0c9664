"""The rules of form: what reading a folder finds before any document is understood."""

from __future__ import annotations

FORM: dict[str, str] = {
    "syntax": "The text is YAML 1.2. A faulty document does not hide the others of its file.",
    "alias": "Aliases and merge keys are refused: a file reads the same wherever one looks.",
    "anchor": "Anchors are refused, as aliases are.",
    "tag": "Tags are refused: a value is what it looks like.",
    "directive": "YAML directives are refused.",
    "key": "A key is a word: not a list, not a mapping, not `true` or `null` without quotes.",
    "key-on": "No key is named `on`: older YAML reads it as true.",
    "duplicate-key": "A key stands once in a mapping.",
    "null": "Every key has a value. A comma or brace in a formula inside {...} often makes an empty one: quote it.",
    "unbalanced": "Brackets in a formula are balanced.",
    "number": "Numbers are finite and have at most 60 characters.",
    "too-deep": "Values are nested at most 40 deep.",
    "too-large": "A file has at most 512 KB (a table's CSV 16 MB), a folder at most 5,000 files.",
    "unreadable": "A file is UTF-8 text inside the folder.",
    "not-a-document": "A document is a mapping that begins with its `kind`.",
    "unknown-kind": "`kind` is one of the kinds that there are.",
    "missing-key": "A document has the keys that its kind demands.",
    "unknown-key": "A document has only keys that its kind knows.",
    "wrong-value": "A value is of the type and form that its kind demands.",
    "failure-incomplete": "A failure policy says for every error class and time-out what happens: whether work "
    "queues, partly completes or is undone is a decision on file.",
    "pattern": "A pattern makes one document or some steps, reads its parameters, all of them and no others, and uses no "
    "pattern itself. Who uses it names one that there is, of the form and kind that goes there, and gives every "
    "parameter without default, each of its type, and no others.",
    "duplicate-name": "A name stands once for each kind.",
    "table-row": "A table has `file` or `rows`, and a CSV's header all its columns; each row has the key columns and the value, a first day that is a "
    "date, and no other row with the same key and first day.",
    "overlay-form": "An overlay changes documents that there are, for an environment, a region or a legal entity that something "
    "tells apart; a region and a legal entity differ in tables and in policies of sort approval, limit and posting_date "
    "alone; and two overlays for one place do not set the same thing.",
    "overlay-loosens": "An overlay that asks less than what it lies over says why, in `loosens`: other owners, an approval "
    "that asks fewer or nobody, a higher limit, other steps, another system of record, more permissions.",
    "secret-in-file": "A secret stands in a file by reference alone: `env:NAME` or `file:PATH`.",
}
