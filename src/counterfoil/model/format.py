"""The one layout of governance files. Order of keys and comments stay as written."""

from __future__ import annotations

import io
import re

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.resolver import VersionedResolver

from counterfoil.model.source import parse

WIDTH_CHARS = 4096
"""Lines are not broken: a break inside `{...}` reads worse than a long line."""

_FLOW_AFTER_START = re.compile(r"^--- (?=[\[{])", re.MULTILINE)


class _Words(VersionedResolver):
    """Resolver that keeps the spelling of numbers, dates and booleans: every plain word is text."""

    @property
    def versioned_resolver(self) -> dict[str, list[object]]:
        return {}


def format_text(text: str) -> str:
    """Return the text in the one layout; formatting never changes a value.

    Text with findings about its form is returned unchanged, and so is text whose values the layout would change.
    """
    sources, findings = parse(text, "")
    if findings:
        return text
    layout = YAML()
    layout.preserve_quotes = True
    layout.width = WIDTH_CHARS
    layout.brace_single_entry_mapping_in_flow_sequence = True
    layout.indent(mapping=2, sequence=4, offset=2)
    layout.Resolver = _Words
    out = io.StringIO()
    try:
        layout.dump_all(list(layout.load_all(text)), out)
    except YAMLError:
        return text
    lines = _FLOW_AFTER_START.sub("---\n", out.getvalue()).split("\n")
    formatted = "\n".join(line.rstrip() for line in lines)
    parsed, faults = parse(formatted, "")
    same = not faults and [source.data for source in parsed] == [source.data for source in sources]
    return formatted if same else text
