"""Where the parts of a JSON or YAML text stand: path to line and column, for findings in files that are not ours."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml  # type: ignore[import-untyped]

from counterfoil.contracts.lint.fields import Path

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def places(text: str, paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Line and column, both from 1, of each path's key (or item); of the nearest part around it where it is not
    written there. Empty for a text that cannot be read."""
    try:
        root = yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return {}
    return {path: _place(root, path) for path in paths}


def _place(node: Any, path: Path) -> tuple[int, int]:
    mark = node.start_mark if node is not None else None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            found = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if found is None:
                break
            mark, node = found[0].start_mark, found[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
