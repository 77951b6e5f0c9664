"""Versioned names of events and operations, several versions of which are active at once.

An event name always ends with its version (`invoice.finalized.v1`). An operation name does so from version 2 on:
`erp.credit.post` is version 1, `erp.credit.post.v2` the next. So existing names stay valid.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache

_NAME = re.compile(r"(?P<family>.+)\.v(?P<number>[1-9][0-9]{0,5})")


@lru_cache(maxsize=4096)
def split(name: str) -> tuple[str, int]:
    """Return the name without its version, and the version: `invoice.finalized.v2` gives `invoice.finalized` and 2."""
    match = _NAME.fullmatch(name)
    return (match["family"], int(match["number"])) if match else (name, 1)


def family(name: str) -> str:
    """Return the name that all versions of an event or operation share."""
    return split(name)[0]


def number(name: str) -> int:
    """Return the version number; 1 if the name has none."""
    return split(name)[1]


def first(event: str) -> str:
    """Return the event name in version 1.

    Ids of facts are derived from it, so that one fact has one id in every version of its event.
    """
    return f"{family(event)}.v1"


def operation(name: str, version: int) -> str:
    """Return the name of an operation in a version; version 1 has no suffix."""
    base = family(name)
    return base if version == 1 else f"{base}.v{version}"


def known_as(operation: str, supported: Container[str]) -> str:
    """Return the name by which a connector performs an operation.

    Versions belong to our contract, and a mapping renders each for the vendor. A connector that does not list the version
    performs the operation by its name without version.
    """
    return operation if operation in supported or family(operation) not in supported else family(operation)
