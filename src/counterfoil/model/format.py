"""One layout for governance files: stable indentation, order of keys and comments as they were written."""

from __future__ import annotations

import io
import re

from ruamel.yaml import YAML
from ruamel.yaml.error import YAMLError
from ruamel.yaml.resolver import VersionedResolver

from counterfoil.model.source import parse

WIDTH = 4096
"""Lines are not broken: a break inside `{...}` reads worse than a long line."""

_FLOW_AFTER_START = re.compile(r"^--- (?=[\[{])", re.MULTILINE)


class _Words(VersionedResolver):
    """Numbers, dates and true keep their spelling: here every plain word is only a word."""

    @property
    def versioned_resolver(self) -> dict[str, list[object]]:
        return {}


def format_text(text: str) -> str:
    """The text in the one layout. Text with findings of form is given back as it is, and so is text whose values
    the new layout would change: formatting never means anything."""
    sources, findings = parse(text, "")
    if findings:
        return text
    layout = YAML()
    layout.preserve_quotes = True
    layout.width = WIDTH
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
    again, faults = parse(formatted, "")
    same = not faults and [source.data for source in again] == [source.data for source in sources]
    return formatted if same else text
