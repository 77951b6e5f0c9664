"""Layout of the graph of a transaction: a column for each system, causes above their effects; templates draw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from counterfoil.web.api.transaction_graph import TransactionEdge, TransactionGraph, TransactionNode
from counterfoil.web.pages.filters import sums, tone_of, words

BOX_WIDTH_PIXELS, BOX_HEIGHT_PIXELS = 208, 78
COLUMN_GAP_PIXELS, ROW_GAP_PIXELS = 44, 34
HEAD_HEIGHT_PIXELS = 30
"""Height of the names of the systems above the columns."""
BOW_PIXELS = 26
"""How far a curve leaves the side of a box."""
MAX_LINE_CHARS, MAX_NUMBER_CHARS = 28, 22


@dataclass(frozen=True, slots=True)
class Box:
    """One node at its place. `lines` are its number, its kind, its amount and its state."""

    node: TransactionNode
    x: int
    y: int
    tone: str
    label: str
    """The whole text, for screen readers."""

    @property
    def lines(self) -> tuple[str, str, str, str]:
        node = self.node
        others = (words(node.title), sums(node.amounts), words(node.state))
        title, amount, state = (_cut(text, MAX_LINE_CHARS) for text in others)
        return _cut(node.number, MAX_NUMBER_CHARS), title, amount, state


@dataclass(frozen=True, slots=True)
class Curve:
    path: str
    word: str
    label: str


@dataclass(frozen=True, slots=True)
class Drawing:
    boxes: list[Box]
    curves: list[Curve]
    columns: list[tuple[str, int]]
    """Systems with the left edges of their columns, in pixels."""
    width: int
    height: int


def draw(graph: TransactionGraph) -> Drawing:
    """Return the layout of a graph, in pixels."""
    rows = _rows(graph.nodes, graph.edges)
    columns = {system: n * (BOX_WIDTH_PIXELS + COLUMN_GAP_PIXELS) for n, system in enumerate(graph.systems)}
    boxes = {
        node.id: Box(
            node, columns[node.system], HEAD_HEIGHT_PIXELS + rows[node.id] * (BOX_HEIGHT_PIXELS + ROW_GAP_PIXELS),
            tone_of(node.state.rpartition(", ")[2]), label_of(node),
        )
        for node in graph.nodes
    }  # fmt: skip
    return Drawing(
        boxes=list(boxes.values()),
        curves=[_curve(edge, boxes) for edge in graph.edges],
        columns=list(columns.items()),
        width=max(1, len(columns)) * (BOX_WIDTH_PIXELS + COLUMN_GAP_PIXELS),
        height=HEAD_HEIGHT_PIXELS
        + (1 + max(rows.values(), default=0)) * (BOX_HEIGHT_PIXELS + ROW_GAP_PIXELS),
    )


def label_of(node: TransactionNode) -> str:
    """Return a node in one line: `credit CN-12 in billing, 120.00 USD, confirmed`."""
    place = f"{words(node.title)} {node.number} in {node.system}"
    waits = f"waits for {node.waits_for}" if node.waits_for else ""
    return ", ".join(text for text in (place, sums(node.amounts), words(node.state), waits) if text)


def _rows(nodes: Sequence[TransactionNode], edges: Iterable[TransactionEdge]) -> dict[str, int]:
    """Return the row of each node: below all that caused it, in a free place of its column.

    Where causes go in a circle, the earlier node stands above.
    """
    causes: dict[str, set[str]] = {node.id: set() for node in nodes}
    for edge in edges:
        if edge.source != edge.target:
            causes[edge.target].add(edge.source)
    rows: dict[str, int] = {}
    used: set[tuple[str, int]] = set()
    pending = list(nodes)
    while pending:
        ready = [node for node in pending if causes[node.id] <= rows.keys()] or pending[:1]
        for node in ready:
            row = 1 + max((rows[cause] for cause in causes[node.id] if cause in rows), default=-1)
            while (node.system, row) in used:
                row += 1
            rows[node.id] = row
            used.add((node.system, row))
        pending = [node for node in pending if node.id not in rows]
    return rows


def _curve(edge: TransactionEdge, boxes: Mapping[str, Box]) -> Curve:
    """Return the curve of an edge: downwards from box to box, or along the sides where it goes up or far down."""
    a, b = boxes[edge.source], boxes[edge.target]
    middle_a, middle_b = a.x + BOX_WIDTH_PIXELS // 2, b.x + BOX_WIDTH_PIXELS // 2
    below, step = a.y + BOX_HEIGHT_PIXELS, BOX_HEIGHT_PIXELS + ROW_GAP_PIXELS
    is_near = b.y - a.y == step
    if b.y > a.y and (is_near or a.x != b.x):
        bend = max(ROW_GAP_PIXELS, (b.y - below) // 2)
        path = f"M{middle_a} {below}C{middle_a} {below + bend} {middle_b} {b.y - bend} {middle_b} {b.y}"
    else:
        begin, end = a.y + BOX_HEIGHT_PIXELS // 2, b.y + BOX_HEIGHT_PIXELS // 2
        left, right = (a.x + BOX_WIDTH_PIXELS, b.x) if a.x < b.x else (a.x, b.x + BOX_WIDTH_PIXELS)
        if a.x == b.x:
            left = right = a.x + BOX_WIDTH_PIXELS
        out = BOW_PIXELS if a.x <= b.x else -BOW_PIXELS
        back = out if a.x == b.x else -out
        path = f"M{left} {begin}C{left + out} {begin} {right + back} {end} {right} {end}"
    return Curve(path, edge.word, f"{label_of(a.node)} {edge.word} {label_of(b.node)}")


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "\u2026"
