"""What a consumer declares to use: operations or messages, and of each the fields that it reads and sends.

A declaration has `operations`, by `METHOD /path`, or for events `messages`, by name; each with the lists `reads` and
`sends` of dotted paths.
Items of arrays need no mark: `data.id` is the id of each of `data`. An absent list means everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import msgspec


class Fields(msgspec.Struct, frozen=True):
    """Some of the properties of a value, or all of them."""

    everything: bool
    inner: tuple[tuple[str, Fields], ...] = ()

    def of(self, name: str) -> Fields | None:
        """What is used below a property; None when the property is not used."""
        if self.everything:
            return self
        return dict(self.inner).get(name)


EVERYTHING = Fields(everything=True)


class Use(msgspec.Struct, frozen=True):
    """What a consumer uses of one operation."""

    reads: Fields = EVERYTHING
    sends: Fields = EVERYTHING


class WrongReads(ValueError):
    """A declaration that is not of its form; the message says where."""


def fields(paths: Iterable[str]) -> Fields:
    """Dotted paths as a tree. A path that ends at an object means all of it."""
    tree: dict[str, Any] = {}
    for path in paths:
        at = tree
        for part in path.split("."):
            if part not in ("[]", "*"):
                at = at.setdefault(part, {})
        at[""] = True
    return _frozen(tree)


def _frozen(tree: dict[str, Any]) -> Fields:
    if "" in tree:
        return EVERYTHING
    return Fields(
        everything=False, inner=tuple((name, _frozen(below)) for name, below in sorted(tree.items()))
    )


def uses(declared: Mapping[str, Any]) -> dict[str, Use]:
    """Uses by `METHOD /path`. Raises `WrongReads`."""
    operations = declared.get("operations")
    if not isinstance(operations, Mapping):
        raise WrongReads("`operations` must be an object of `METHOD /path`")
    found = {}
    for name, said in operations.items():
        method, _, path = str(name).partition(" ")
        if not path.strip():
            raise WrongReads(f"operations: {name!r} is no `METHOD /path`")
        found[f"{method.upper()} {path.strip()}"] = _use(str(name), said)
    return found


def messages(declared: Mapping[str, Any]) -> dict[str, Use]:
    """Uses by the name of a message, for a description of events. Raises `WrongReads`."""
    named = declared.get("messages")
    if not isinstance(named, Mapping):
        raise WrongReads("`messages` must be an object of names of messages")
    return {str(name): _use(str(name), said) for name, said in named.items()}


def _use(name: str, said: Any) -> Use:
    if said is None:
        return Use()
    if not isinstance(said, Mapping) or set(said) - {"reads", "sends"}:
        raise WrongReads(f"{name}: only the lists `reads` and `sends` are known")
    lists = {}
    for key in ("reads", "sends"):
        paths = said.get(key)
        if paths is None:
            lists[key] = EVERYTHING
        elif isinstance(paths, list) and all(isinstance(path, str) and path for path in paths):
            lists[key] = fields(paths) if paths else Fields(everything=False)
        else:
            raise WrongReads(f"{name}: `{key}` must be a list of dotted paths")
    return Use(reads=lists["reads"], sends=lists["sends"])
