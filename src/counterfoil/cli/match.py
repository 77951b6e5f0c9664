"""`counterfoil match`: judge a history of documents by the matching rules, without a server."""

from __future__ import annotations

import sys
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.input_file import read_input
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_table
from counterfoil.core.wire import WireRefused, read_json
from counterfoil.rules.match_history import HistoryRefused, judge_history

COLUMNS = ("document", "state", "reason", "residual>")


def match(
    file: Annotated[Path, typer.Argument(help="The history as JSON; - reads standard input.")],
    format: FormatOption = Format.TEXT,
) -> None:
    """Judge a history of documents: the state of each, with its reason.

    It needs no server. It helps to understand a state, or to report a wrong one.
    """
    data = sys.stdin.buffer.read() if str(file) == "-" else read_input(file)
    try:
        answer = judge_history(read_json(data))
    except WireRefused as error:
        raise CommandFailed(f"{file}: {error.in_file(data)}") from error
    except HistoryRefused as error:
        raise CommandFailed(f"{file}: {error}") from error
    if format is Format.JSON:
        write_json(answer)
        return
    rows = [(f["document"], f["state"], f["reason"], _money(f)) for f in answer["foils"]]
    rows += [(i["document"], i["state"], *_item(i)) for i in answer["unmatched"]]
    write_table(COLUMNS, rows, "No documents.")
    for key, state in answer["match"].items():
        say(f"Match {key}: {state}")
    for clash in answer["clashes"]:
        say(f"Version {clash['version']} of {clash['document']} has several contents.")


def _item(item: dict[str, Any]) -> tuple[str, str]:
    """Return reason and residual of a document that answers nothing. A foil that bears it has it in its residual."""
    if item["foil"]:
        return f"shown, but not asserted: see {item['foil']}", ""
    return "shown, but not asserted" + (", and needs a Case" if item["case"] else ""), _money(item)


def _money(row: dict[str, Any]) -> str:
    """Return what is not zero of the residual; the leg is named where the document has several."""
    residual = {leg: amount for leg, amount in row["residual"].items() if Decimal(amount) != 0}
    several = len(row["residual"]) > 1
    texts = [f"{leg} {amount}" if several else amount for leg, amount in residual.items()]
    return f"{', '.join(texts)} {row['currency']}".rstrip() if texts else ""


COMMANDS: list[Callable[..., None]] = [match]
