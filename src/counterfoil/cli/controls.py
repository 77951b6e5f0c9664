"""`controls`: what an auditor asks of a governance folder: each risk, and what enforces that it does not come true."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil.cli.client import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_table


def controls(
    dir: Annotated[Path, typer.Argument(help="The governance folder.")] = Path("."),
    format: FormatOption = Format.TEXT,
) -> None:
    """List each control with what enforces it, and what no control speaks of; exit code 1 when either is wanting."""
    from counterfoil.model import kinds, read
    from counterfoil.model.checks.controls import enforcements, uncontrolled

    if not dir.is_dir():
        raise CommandFailed(f"{dir} is no folder.")
    model, _ = read(dir, checks=False)
    found = enforcements(model)
    without = uncontrolled(model)
    rows: list[dict[str, Any]] = [
        {
            "name": control.name, "owners": model.owners_of(control), "risk": control.risk,
            "assertion": control.assertion, "frequency": control.frequency,
            "enforced": bool(found[name]) and not any(one.fault for one in found[name]),
            "enforced_by": [
                {"kind": one.kind, "name": one.name, "step": one.step, "fault": one.fault} for one in found[name]
            ],
            "evidence": {"of": control.evidence.of, "where": control.evidence.where},
        }
        for name, control in sorted(model.of_kind(kinds.Control).items())
    ]  # fmt: skip
    if format is Format.JSON:
        left = [{"kind": one.kind, "name": one.name, "why": one.why} for one in without]
        write_json({"controls": rows, "without": left})
    else:
        write_table(
            ["CONTROL", "OWNER", "RISK", "ENFORCED BY", "EVIDENCE"],
            (
                [
                    row["name"],
                    ", ".join(row["owners"]),
                    row["risk"],
                    "; ".join(_told(one) for one in row["enforced_by"]) or "nothing",
                    f"{row['frequency']}: {row['evidence']['of']} where {row['evidence']['where']}",
                ]
                for row in rows
            ),
            "No control.",
        )
        for one in without:
            say(f"without a control: the {one.kind} {one.name}, which {one.why}")
    if without or not all(row["enforced"] for row in rows):
        raise typer.Exit(1)


def _told(one: dict[str, str]) -> str:
    step = f"/{one['step']}" if one["step"] else ""
    fault = f" ({one['fault']})" if one["fault"] else ""
    return f"{one['kind']} {one['name']}{step}{fault}"


COMMANDS: list[Callable[..., None]] = [controls]
