"""Descriptions of the keys of governance files, as they stand below each key in `model/kinds`.

They are read from the source, and only when they are needed: a description costs no command its start.
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from functools import cache
from itertools import pairwise
from types import ModuleType

from counterfoil.model.kinds import Part


def description_of(part: type[Part], field: str) -> str:
    """Return the description of a field, in one line; empty if its class and the classes above have none."""
    owners = (owner for owner in part.__mro__ if issubclass(owner, Part))
    return next(
        (text for owner in owners if (text := _texts(inspect.getmodule(owner)).get((owner.__name__, field)))),
        "",
    )


def parts() -> list[type[Part]]:
    """Return every class whose keys a governance file may have."""
    return list(dict.fromkeys(_below(Part)))


def _below(part: type[Part]) -> Iterator[type[Part]]:
    for inner in part.__subclasses__():
        yield inner
        yield from _below(inner)


@cache
def _texts(module: ModuleType | None) -> dict[tuple[str, str], str]:
    """Return the text that follows each annotated field of the classes of a module."""
    assert module is not None
    texts: dict[tuple[str, str], str] = {}
    for node in ast.parse(inspect.getsource(module)).body:
        body = node.body if isinstance(node, ast.ClassDef) else []
        for field, text in pairwise(body):
            match field, text:
                case ast.AnnAssign(target=ast.Name(id=name)), ast.Expr(value=ast.Constant(value=str(words))):
                    assert isinstance(node, ast.ClassDef)
                    texts[node.name, name] = " ".join(words.split())
    return texts
