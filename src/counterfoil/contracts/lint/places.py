"""Lines and columns of the parts of a JSON or YAML text, for findings in files outside the governance folder."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import yaml  # type: ignore[import-untyped]

from counterfoil.contracts.lint.subject import Path

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def places(text: str, paths: Iterable[Path]) -> dict[Path, tuple[int, int]]:
    """Return line and column, both from 1, of the key or item of each path.

    A missing part takes the place of the nearest enclosing part. Empty if the text cannot be read.
    """
    root = compose(text)
    return {} if root is None else {path: place(root, path) for path in paths}


def compose(text: str) -> Any:
    """Return the nodes of a text with their marks; None if it is empty or cannot be read."""
    try:
        return yaml.compose(text, Loader=_Loader)
    except yaml.YAMLError:
        return None


def place(node: Any, path: Path) -> tuple[int, int]:
    """Return line and column, both from 1, of a part below a node, or of the nearest part around it."""
    mark = node.start_mark if node is not None else None
    for part in path:
        if isinstance(node, yaml.MappingNode):
            entry = next(((key, value) for key, value in node.value if key.value == str(part)), None)
            if entry is None:
                break
            mark, node = entry[0].start_mark, entry[1]
        elif isinstance(node, yaml.SequenceNode) and isinstance(part, int) and part < len(node.value):
            node = node.value[part]
            mark = node.start_mark
        else:
            break
    return (mark.line + 1, mark.column + 1) if mark is not None else (1, 1)
