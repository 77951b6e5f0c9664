"""Layout of the catalog's graph: columns from source systems over events and workflows to target systems.

It returns nodes, curves and a size; a template draws them. Mappings have no nodes: the curve from a system to its
event stands for them.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from counterfoil.model.catalog import Edge, Key

BOX_WIDTH_PIXELS, BOX_HEIGHT_PIXELS = 178, 26
COLUMN_GAP_PIXELS, ROW_GAP_PIXELS = 58, 8
MAX_LABEL_CHARS = 25


@dataclass(frozen=True, slots=True)
class GraphNode:
    kind: str
    name: str
    x: int
    y: int

    @property
    def label(self) -> str:
        return self.name if len(self.name) <= MAX_LABEL_CHARS else self.name[: MAX_LABEL_CHARS - 1] + "\u2026"


@dataclass(frozen=True, slots=True)
class CatalogGraph:
    nodes: list[GraphNode]
    curves: list[str]
    """SVG paths, each from the right edge of one box to the left edge of another."""
    width: int
    height: int
    lines: list[str]
    """The curves as sentences, for screen readers."""


def build_graph(edges: Iterable[Edge]) -> CatalogGraph | None:
    """Return the graph of a catalog's edges, or None without edges."""
    links = dict.fromkeys(_links(list(edges)))
    if not links:
        return None
    columns: dict[int, dict[Key, None]] = {}
    for left, right, _ in links:
        for column, key in (left, right):
            columns.setdefault(column, {})[key] = None
    rows: dict[GraphPlace, int] = {}
    for column in sorted(columns):
        # Next to its sources: the mean row of its neighbours on the left.
        mean_row = {key: _mean(column, key, links, rows) for key in columns[column]}
        for row, key in enumerate(sorted(mean_row, key=lambda k: (mean_row[k], k[1]))):
            rows[column, key] = row
    shown_columns = sorted(columns)
    tallest = max(map(len, columns.values()))

    def at(column: int, key: Key) -> GraphNode:
        top = (tallest - len(columns[column])) * (BOX_HEIGHT_PIXELS + ROW_GAP_PIXELS) // 2
        y = top + rows[column, key] * (BOX_HEIGHT_PIXELS + ROW_GAP_PIXELS)
        return GraphNode(
            key[0], key[1], shown_columns.index(column) * (BOX_WIDTH_PIXELS + COLUMN_GAP_PIXELS), y
        )

    curves = []
    for left, right, _ in links:
        a, b = at(*left), at(*right)
        begin, end, middle = a.x + BOX_WIDTH_PIXELS, b.x, (a.x + BOX_WIDTH_PIXELS + b.x) // 2
        y1, y2 = a.y + BOX_HEIGHT_PIXELS // 2, b.y + BOX_HEIGHT_PIXELS // 2
        curves.append(f"M{begin} {y1}C{middle} {y1} {middle} {y2} {end} {y2}")
    return CatalogGraph(
        nodes=[at(column, key) for column in shown_columns for key in columns[column]],
        curves=curves,
        width=len(shown_columns) * (BOX_WIDTH_PIXELS + COLUMN_GAP_PIXELS) - COLUMN_GAP_PIXELS,
        height=tallest * (BOX_HEIGHT_PIXELS + ROW_GAP_PIXELS) - ROW_GAP_PIXELS,
        lines=[f"{left[1][1]} {word} {right[1][1]}" for left, right, word in links],
    )


GraphPlace = tuple[int, Key]
"""A column, and the key of an entry in it."""


def _links(edges: list[Edge]) -> Iterable[tuple[GraphPlace, GraphPlace, str]]:
    """Yield the edges between columns, from left to right. The two edges of a mapping become one."""
    producers: dict[Key, list[Key]] = {}
    for edge in edges:
        if edge.source[0] == "system" and edge.word == "produces":
            producers.setdefault(edge.target, []).append(edge.source)
    for edge in edges:
        if edge.word == "produces" and edge.target[0] == "event":
            if edge.source[0] == "mapping":
                yield from (((0, s), (1, edge.target), "produces") for s in producers.get(edge.source, []))
            else:
                # An emitted event is left of its workflow: the graph has one column of events.
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
    column: int, key: Key, links: Iterable[tuple[GraphPlace, GraphPlace, str]], rows: dict[GraphPlace, int]
) -> float:
    sources = [rows[left] for left, right, _ in links if right == (column, key) and left in rows]
    return sum(sources) / len(sources) if sources else float(len(rows))
