"""The picture of who produces and consumes what: columns from the systems that tell to the systems that are told.

Only the layout: nodes, curves and a size, for a template to draw. Mappings are left out, they stand behind the lines
from a system to its events.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from counterfoil.model.catalog import Edge, Key

COLUMNS = ("system", "event", "taker", "operation", "told")
WIDTH, HEIGHT = 178, 26
"""Of one box, in pixels."""
ACROSS, DOWN = 58, 8
"""Space between columns and between boxes."""
_LETTERS = 25
"""Of a name that a box has room for."""


@dataclass(frozen=True, slots=True)
class Node:
    kind: str
    name: str
    x: int
    y: int

    @property
    def label(self) -> str:
        return self.name if len(self.name) <= _LETTERS else self.name[: _LETTERS - 1] + "\u2026"


@dataclass(frozen=True, slots=True)
class Picture:
    nodes: list[Node]
    curves: list[str]
    """Paths of SVG, each from the right edge of one box to the left edge of another."""
    width: int
    height: int
    lines: list[str]
    """The same in words, for who cannot see it."""


def picture(edges: Iterable[Edge]) -> Picture | None:
    """The picture of a catalog's flow; None where nothing flows."""
    joined = dict.fromkeys(_joined(list(edges)))
    if not joined:
        return None
    columns: dict[int, dict[Key, None]] = {}
    for left, right, _ in joined:
        for column, key in (left, right):
            columns.setdefault(column, {})[key] = None
    places: dict[tuple[int, Key], int] = {}
    for column in sorted(columns):
        # Beside what it comes from: the mean place of its neighbours on the left.
        near = {key: _mean(column, key, joined, places) for key in columns[column]}
        for row, key in enumerate(sorted(near, key=lambda k: (near[k], k[1]))):
            places[column, key] = row
    used = sorted(columns)
    tallest = max(map(len, columns.values()))

    def at(column: int, key: Key) -> Node:
        spare = (tallest - len(columns[column])) * (HEIGHT + DOWN) // 2
        y = spare + places[column, key] * (HEIGHT + DOWN)
        return Node(key[0], key[1], used.index(column) * (WIDTH + ACROSS), y)

    curves = []
    for left, right, _ in joined:
        a, b = at(*left), at(*right)
        begin, end, middle = a.x + WIDTH, b.x, (a.x + WIDTH + b.x) // 2
        y1, y2 = a.y + HEIGHT // 2, b.y + HEIGHT // 2
        curves.append(f"M{begin} {y1}C{middle} {y1} {middle} {y2} {end} {y2}")
    return Picture(
        nodes=[at(column, key) for column in used for key in columns[column]],
        curves=curves,
        width=len(used) * (WIDTH + ACROSS) - ACROSS,
        height=tallest * (HEIGHT + DOWN) - DOWN,
        lines=[f"{left[1][1]} {word} {right[1][1]}" for left, right, word in joined],
    )


Place = tuple[int, Key]


def _joined(edges: list[Edge]) -> Iterable[tuple[Place, Place, str]]:
    """Edges between the places of the columns, from left to right; a mapping's two become one."""
    tellers: dict[Key, list[Key]] = {}
    for edge in edges:
        if edge.source[0] == "system" and edge.word == "produces":
            tellers.setdefault(edge.target, []).append(edge.source)
    for edge in edges:
        if edge.word == "produces" and edge.target[0] == "event":
            if edge.source[0] == "mapping":
                yield from (((0, s), (1, edge.target), "produces") for s in tellers.get(edge.source, []))
            else:
                # What a workflow says stands to its left again: the picture has one column of events.
                yield (1, edge.target), (2, edge.source), "is emitted by"
        elif edge.word == "consumes" and edge.target[0] == "event":
            yield (1, edge.target), (2, edge.source), "goes to"
        elif edge.word == "calls" and edge.target[0] == "operation":
            yield (2, edge.source), (3, edge.target), "calls"
        elif edge.word == "consumes" and edge.target[0] == "operation":
            yield (2, edge.source), (3, edge.target), "is started by"
        elif edge.word == "calls" and edge.target[0] == "system":
            yield (3, edge.source), (4, edge.target), "writes to"


def _mean(
    column: int, key: Key, joined: Iterable[tuple[Place, Place, str]], places: dict[tuple[int, Key], int]
) -> float:
    rows = [places[left] for left, right, _ in joined if right == (column, key) and left in places]
    return sum(rows) / len(rows) if rows else float(len(places))
