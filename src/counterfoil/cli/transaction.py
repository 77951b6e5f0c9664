"""The graph of one business transaction for `trace`: as a table, as JSON, or as an SVG file that the server draws."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from urllib.parse import quote

from counterfoil.cli.client import Server
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, format_minute, format_money, say, write_json, write_table
from counterfoil.core.plural import counted

_SVG = "image/svg+xml"


def write_graph(server: Server, run: str, svg: Path | None, format: Format) -> None:
    """Write the graph of a Run's transaction, and its drawing into a file if one is named."""
    path = f"/runs/{quote(run, safe='')}/graph"
    graph = server.get(f"/v1{path}")
    if svg is not None:
        _save(server, f"{path}.svg", svg)
    if format is Format.JSON:
        write_json(graph)
    elif svg is None:
        _print(graph)
    else:
        say(f"{svg}: {counted(len(graph['nodes']), 'document')} and Runs of {graph['name'] or run}")


def _save(server: Server, path: str, svg: Path) -> None:
    answer = server.request("GET", path, headers={"accept": _SVG})
    if answer.status_code != 200 or not answer.headers.get("content-type", "").startswith(_SVG):
        raise CommandFailed(f"{server.url}{path} answered {answer.status_code} and no drawing.")
    try:
        svg.write_bytes(answer.content)
    except OSError as error:
        raise CommandFailed(f"{svg} cannot be written: {error.strerror}.") from None


def _print(graph: dict[str, Any]) -> None:
    say(", ".join(text for text in (graph["name"] or graph["run"], graph["customer"]) if text))
    say("")
    numbers = {node["id"]: node["number"] for node in graph["nodes"]}
    causes: dict[str, list[str]] = {}
    for edge in graph["edges"]:
        causes.setdefault(edge["target"], []).append(f"{edge['word']} by {numbers[edge['source']]}")
    write_table(
        ["TIME (UTC)", "SYSTEM", "WHAT", "NUMBER", "AMOUNT>", "STATE", "WAITS FOR", "FOLLOWS FROM"],
        (
            [
                format_minute(node["at"]), node["system"], node["title"], node["number"],
                format_money(node["amounts"]), node["state"], node["waits_for"], ", ".join(causes.get(node["id"], ())),
            ]
            for node in graph["nodes"]
        ),
        "Nothing has happened yet.",
    )  # fmt: skip
    if graph["left_out"] or graph["more_runs"]:
        left_out = f"{graph['left_out']} later documents and Runs are left out. " if graph["left_out"] else ""
        say(f"{left_out}{'Further Runs belong to it.' if graph['more_runs'] else ''}".strip())
