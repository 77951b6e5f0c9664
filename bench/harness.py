"""Runs rounds of both sides of a benchmark in turn. Writes a table, bench/results.json and the tables of two documents.

Machines are noisy, so both sides run alternately. The result has the median of each side and the median of the ratios of
single rounds. A figure is a rate, a time or a percentile of times, as `unit` says.
"""

from __future__ import annotations

import json
import platform
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from math import ceil
from pathlib import Path
from statistics import median
from typing import Any, Protocol, runtime_checkable

from rich.console import Console
from rich.table import Table

ROUNDS = 3
RESULTS = Path(__file__).with_name("results.json")
README = Path(__file__).parents[1] / "README.md"
PAGE = Path(__file__).parents[1] / "docs" / "explanation" / "benchmarks.md"
HEADLINES = ("w1_vs_limit", "latency_added_p99", "impact_events", "prove", "cold_start")
"""The rows that the README shows; the page shows all."""
BEGIN, END = "<!-- bench/results.json -->", "<!-- end of bench/results.json -->"
"""Lines of a document around the table of the results."""


class Unavailable(Exception):
    """Error of a row that cannot be measured on this machine; the message says what is missing."""


class Benchmark(Protocol):
    """Two sides of one comparison, measured in `unit`. More is better unless the target has an upper limit."""

    unit: str
    peer: str
    """Description of the other side."""
    target: str | None
    """None if the figure is only printed."""

    def ours(self) -> float: ...

    def against(self) -> float: ...

    def met(self, ours: float, ratio: float) -> bool | None: ...

    def note(self) -> str:
        """Return further details, after the last round."""
        ...


@runtime_checkable
class Closable(Protocol):
    """Benchmark with a resource between its rounds, such as a database server."""

    def close(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Row:
    """One line of the results. `ratio` is ours divided by against."""

    name: str
    ours: float
    against: float
    ratio: float
    target: str | None
    met: bool | None
    note: str


def measure(name: str, benchmark: Benchmark, rounds: int = ROUNDS) -> Row:
    """Run both sides in turn and return the medians. Raises ValueError for less than three rounds."""
    if rounds < ROUNDS:
        raise ValueError(f"a median of {rounds} rounds is not reliable; run at least {ROUNDS}")
    try:
        pairs = [(benchmark.ours(), benchmark.against()) for _ in range(rounds)]
        ours = median(a for a, _ in pairs)
        ratio = median(a / b for a, b in pairs)
        return Row(
            name=name,
            ours=_short(ours),
            against=_short(median(b for _, b in pairs)),
            ratio=_short(ratio),
            target=benchmark.target,
            met=benchmark.met(ours, ratio),
            note=f"{benchmark.unit}, relative to {benchmark.peer}. {benchmark.note()}".strip(),
        )
    finally:
        if isinstance(benchmark, Closable):
            benchmark.close()


def percentile(values: Sequence[float], share: float) -> float:
    """Return the value that `share` of the values do not exceed, by nearest rank. Raises ValueError for too few values."""
    if len(values) * (1 - share) < 1:
        raise ValueError(f"{len(values)} values are too few for a percentile of {share:.0%}")
    return sorted(values)[ceil(len(values) * share) - 1]


def _short(value: float) -> float:
    """Round to four digits; further digits are noise."""
    return float(f"{value:.4g}")


def machine() -> str:
    """Return the class of this machine: processor, cores, memory, system, Python. It contains no host name."""
    facts = Path("/proc/cpuinfo"), Path("/proc/meminfo")
    text = [path.read_text("utf-8") if path.exists() else "" for path in facts]
    cores = text[0].count("processor\t")
    models = [
        line.partition(":")[2].strip() for line in text[0].splitlines() if line.startswith("model name")
    ]
    kilobytes = [line.split()[1] for line in text[1].splitlines() if line.startswith("MemTotal")]
    parts = [
        models[0] if models else platform.machine(),
        f"{cores} cores" if cores else "",
        f"{int(kilobytes[0]) / 2**20:.0f} GB" if kilobytes else "",
        f"{platform.system()}, Python {platform.python_version()}",
    ]
    return ", ".join(part for part in parts if part)


def write(rows: Sequence[Row], path: Path, at: datetime, about: str) -> dict[str, Any]:
    """Write the results of one run and return them, with former rows of the same machine that it did not measure."""
    date = at.isoformat(timespec="seconds")
    measured = {row.name: {**asdict(row), "measured": date} for row in rows}
    kept = [measured.pop(row["name"], row) for row in _former(path, about)]
    content = {"date": date, "machine": about, "rows": [*kept, *measured.values()]}
    path.write_text(json.dumps(content, indent=2, ensure_ascii=False) + "\n", "utf-8")
    return content


def _former(path: Path, about: str) -> list[dict[str, Any]]:
    content = json.loads(path.read_text("utf-8")) if path.exists() else {}
    return content["rows"] if content.get("machine") == about else []


def markdown(content: Mapping[str, Any]) -> str:
    """Format the results for a document: the machine and one line for each row."""
    lines = [
        f"{content['machine']}.",
        "",
        "| row | what | ours | against | ratio | target | met | measured |",
        "|---|---|--:|--:|--:|---|---|---|",
    ]
    for row in content["rows"]:
        what = row["note"].partition(". ")[0]
        figures = " | ".join(
            f"{row[name]:,.4g}" if row[name] < 10_000 else f"{row[name]:,.0f}" for name in FIGURES
        )
        verdict = {True: "yes", False: "no", None: "-"}[row["met"]]
        end = f"{row['target'] or '-'} | {verdict} | {row['measured'][:10]}"
        lines.append(f"| `{row['name']}` | {what} | {figures} | {end} |")
    return "\n".join(lines)


FIGURES = ("ours", "against", "ratio")


def headlines(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return the results of the rows that the README shows."""
    return {**content, "rows": [row for row in content["rows"] if row["name"] in HEADLINES]}


def show_in(document: Path, content: Mapping[str, Any]) -> None:
    """Put the results between the two marks of a document. Raises ValueError without the marks."""
    before, begin, rest = document.read_text("utf-8").partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{document.name} has no place for the results: {BEGIN} ... {END}")
    document.write_text(f"{before}{begin}\n\n{markdown(content)}\n\n{end}{after}", "utf-8")


def table(rows: Sequence[Row], about: str) -> Table:
    results = Table(title=f"Counterfoil benchmarks\n{about}", show_lines=True)
    for heading in ("row", "ours", "against", "ratio", "target", "met"):
        results.add_column(heading, justify="left" if heading in ("row", "target", "met") else "right")
    results.add_column("note", overflow="fold", ratio=1)
    for row in rows:
        verdict = {True: "yes", False: "no", None: "-"}[row.met]
        figures = [
            f"{figure:,.4g}" if figure < 10_000 else f"{figure:,.0f}" for figure in (row.ours, row.against)
        ]
        results.add_row(row.name, *figures, f"{row.ratio:.3g}", row.target or "-", verdict, row.note)
    return results


def run(
    benchmarks: Mapping[str, Callable[[], Benchmark]],
    console: Console,
    results: Path,
    rounds: int = ROUNDS,
    remark: str = "",
) -> list[Row]:
    """Measure each row, print the table and write the results. An unavailable row is skipped, with the reason."""
    about = f"{machine()}. {remark}".strip() if remark else machine()
    rows = []
    for name, make in benchmarks.items():
        console.print(f"{name} ...")
        try:
            rows.append(measure(name, make(), rounds))
        except Unavailable as missing:
            console.print(f"{name} skipped: {missing}")
    console.print(table(rows, about))
    content = write(rows, results, datetime.now(UTC), about)
    console.print(f"written to {results.name}")
    if results == RESULTS:
        show_in(PAGE, content)
        show_in(README, headlines(content))
    return rows
