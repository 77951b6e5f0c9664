"""Names with versions: several versions of one event or operation live at once, and this tells which belong together.

An event always says its version (`invoice.finalized.v1`). An operation says it from the second on: `erp.credit.post`
is version 1, `erp.credit.post.v2` the next, so that what is on file keeps its name.
"""

from __future__ import annotations

import re
from collections.abc import Container
from functools import lru_cache

_NAME = re.compile(r"(?P<family>.+)\.v(?P<number>[1-9][0-9]{0,5})")


@lru_cache(maxsize=4096)
def split(name: str) -> tuple[str, int]:
    """What a name calls, and which version of it: `invoice.finalized.v2` gives `invoice.finalized` and 2."""
    match = _NAME.fullmatch(name)
    return (match["family"], int(match["number"])) if match else (name, 1)


def family(name: str) -> str:
    """What all versions of an event or operation have in common."""
    return split(name)[0]


def number(name: str) -> int:
    return split(name)[1]


def first(event: str) -> str:
    """The event's name in its first version. Ids of facts are derived from it, so that one fact has one id in
    whichever version it is told."""
    return f"{family(event)}.v1"


def operation(name: str, version: int) -> str:
    """An operation's name in a version: the first one has no suffix."""
    base = family(name)
    return base if version == 1 else f"{base}.v{version}"


def known_as(operation: str, known: Container[str]) -> str:
    """The name by which a connector does an operation. Versions are those of our contract, and a mapping renders
    each into the vendor's own words; so a connector that knows nothing of a version does it by its plain name."""
    return operation if operation in known or family(operation) not in known else family(operation)
