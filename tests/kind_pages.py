"""Reference pages of the kinds, one for each, from the schemas and their descriptions.

`python -m tests.kind_pages` writes them into `docs/reference/kinds`. The page of a kind shows the file `KIND.yaml` of
`examples/kinds`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from counterfoil.model.editor import Schema, part_schemas
from counterfoil.model.kinds import KINDS
from tests.source import ROOT

EXAMPLES = ROOT / "examples" / "kinds"
PAGES = ROOT / "docs" / "reference" / "kinds"

_WORDS_BY_PATTERN = {
    "%+-]+@": "e-mail address",
    "[A-Za-z0-9.-]*[A-Za-z0-9])": "host name",
    "^[a-z][a-z0-9_]*([.-]": "name",
    "(ms|s|m|h|d)$": "duration",
    "{1,4}d$": "days",
    "(env:": "reference",
    "^(https?|postgresql)://": "http(s) or postgresql address",
    "^(string|id|int": "type",
    "[A-Z]{3}": "currency code",
    "[A-Z]{2}": "country code",
    "T\\d\\d:": "moment in UTC",
    "\\d{4}-": "day",
    ":[a-z]+$": "permission",
    "^(mapping|workflow": "document by kind and name",
    "\\??$": "field name",
    "@[1-9]": "name and version",
    "(\\.[a-z]": "field path",
    "^[a-z][a-z0-9_]*$": "name",
}
_WORDS_BY_TYPE = {
    "string": "text", "integer": "whole number", "boolean": "true or false", "number": "number",
    "object": "mapping", "array": "list",
}  # fmt: skip
_HEAD = "| key | type | default | meaning |\n|---|---|---|---|\n"


def pages(examples: Mapping[str, str]) -> dict[str, str]:
    """Return the text of each page by its file name. `examples` has the text of an example for each kind."""
    return {"README.md": _index(), **_Pages().texts(examples)}


class _Pages:
    """The pages of all kinds. A part that several kinds share is on the page of the first one."""

    def __init__(self) -> None:
        self.definitions: dict[str, Schema] = part_schemas()
        self.page_of: dict[str, str] = {}
        self.parts: dict[str, list[str]] = {}
        for kind, model in KINDS.items():
            self.parts[kind] = []
            self._collect(kind, self.definitions[model.__name__])

    def texts(self, examples: Mapping[str, str]) -> dict[str, str]:
        return {f"{kind}.md": self._page(kind, examples[kind]) for kind in KINDS}

    def _collect(self, kind: str, schema: Schema) -> None:
        for name in _references(schema):
            if name not in self.page_of:
                self.page_of[name] = f"{kind}.md"
                self.parts[kind].append(name)
                self._collect(kind, self.definitions[name])

    def _page(self, kind: str, example: str) -> str:
        definition = self.definitions[KINDS[kind].__name__]
        text = (
            f"# Kind `{kind}`\n\n{_one_line(definition['description'])}\n\n{self._table(kind, definition)}\n"
        )
        text += f"```yaml\n{example.strip()}\n```\n"
        for name in self.parts[kind]:
            part = self.definitions[name]
            text += f"\n## {_heading(name)}\n\n{_one_line(part['description'])}\n\n"
            text += self._table(kind, part) if "properties" in part else self._choices(kind, part)
        return text + "\n[All kinds](README.md)\n"

    def _table(self, kind: str, definition: Schema) -> str:
        required = dict.fromkeys(definition.get("required", []), "required")
        for choice in definition.get("anyOf", []):  # a document that extends the library has its fields
            required |= {key: "required without `extends`" for key in choice["required"] if key != "extends"}
        rows = (
            f"| `{key}` | {self._type(kind, part)} | {required.get(key) or _default(part)} "
            f"| {_cell(part['description'])} |\n"
            for key, part in definition["properties"].items()
        )
        return _HEAD + "".join(rows)

    def _choices(self, kind: str, definition: Schema) -> str:
        return "".join(f"- {self._type(kind, member)}\n" for member in definition["oneOf"])

    def _type(self, kind: str, schema: Schema) -> str:
        """Return the type of a value in words, with a link to each part."""
        if "$ref" in schema:
            name = schema["$ref"].rpartition("/")[2]
            page = self.page_of[name]
            anchor = "#" + _heading(name).lower().replace(" ", "-")
            return f"[{_heading(name).lower()}]({'' if page == f'{kind}.md' else page}{anchor})"
        if "const" in schema:
            return f"`{schema['const']}`"
        if "enum" in schema:
            return " or ".join(f"`{value}`" for value in schema["enum"])
        members = schema.get("anyOf") or schema.get("oneOf")
        if members:
            return " or ".join(dict.fromkeys(self._type(kind, member) for member in members))
        if schema.get("type") == "array":
            items = schema.get("items")
            return f"list of {self._type(kind, items)}" if items else "list"
        if schema.get("type") == "object":
            return self._mapping(kind, schema)
        return _plain_type(schema)

    def _mapping(self, kind: str, schema: Schema) -> str:
        for pattern, values in schema.get("patternProperties", {}).items():
            return f"mapping of {_by_pattern(pattern)} to {self._type(kind, values)}"
        values = schema.get("additionalProperties")
        if isinstance(values, dict):
            return f"mapping of text to {self._type(kind, values)}"
        return "mapping"


def _references(schema: Any) -> Iterator[str]:
    """Yield the names of the definitions that a schema names, in its order."""
    if isinstance(schema, dict):
        if "$ref" in schema:
            yield schema["$ref"].rpartition("/")[2]
        for part in schema.values():
            yield from _references(part)
    elif isinstance(schema, list):
        for part in schema:
            yield from _references(part)


def _plain_type(schema: Schema) -> str:
    if schema.get("x-type"):
        return str(schema["x-type"])
    if "pattern" in schema:
        return _by_pattern(schema["pattern"])
    if "type" not in schema:
        return "any value or formula"
    words = _WORDS_BY_TYPE[schema["type"]]
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is None:
        return words
    return f"{words}, {low} to {high:,}" if high is not None else f"{words} from {low}"


def _by_pattern(pattern: str) -> str:
    return next(words for part, words in _WORDS_BY_PATTERN.items() if part in pattern)


def _default(schema: Schema) -> str:
    value = schema.get("default")
    if isinstance(value, bool):
        return "`true`" if value else "`false`"
    if isinstance(value, list) and value:
        return f"`[{', '.join(map(str, value))}]`"
    return f"`{value}`" if value not in (None, "", [], {}) and not isinstance(value, dict) else ""


def _heading(name: str) -> str:
    """Return the name of a class as words: `UndoCall` is "Undo call"."""
    return re.sub(r"(?<=[a-z])[A-Z]", lambda letter: " " + letter[0].lower(), name)


def _one_line(text: str) -> str:
    return " ".join(text.split())


def _cell(text: str) -> str:
    return _one_line(text).replace("|", "\\|")


def _index() -> str:
    definitions = part_schemas()
    rows = "".join(
        f"| [`{kind}`]({kind}.md) | {_cell(definitions[model.__name__]['description'])} |\n"
        for kind, model in KINDS.items()
    )
    return (
        "# Kinds of governance files\n\n"
        "One page for each kind, with every key. These pages are generated from the classes that read the files\n"
        "(`src/counterfoil/model/kinds`); change the description there, then run\n"
        "`python -m tests.kind_pages`. The examples are one governance folder, `examples/kinds`, which passes `check`.\n\n"
        "[Governance files](../governance.md) explains the form of a file, the names in formulas, and every check.\n\n"
        f"| kind | content |\n|---|---|\n{rows}"
    )


def main(out: Path = PAGES) -> None:
    """Write the pages into a folder."""
    texts = {kind: (EXAMPLES / f"{kind}.yaml").read_text(encoding="utf-8") for kind in KINDS}
    out.mkdir(parents=True, exist_ok=True)
    for name, text in pages(texts).items():
        (out / name).write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
