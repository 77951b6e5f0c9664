"""`controls`: the control matrix of a governance folder for an auditor: each risk with its enforcement and evidence."""

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
    """List controls and their enforcement.

    Documents that no control covers are listed too. Exit code 1: a control is not enforced, or a document is not covered.
    """
    from counterfoil.model import kinds, read
    from counterfoil.model.checks.controls import enforcements, uncontrolled

    if not dir.is_dir():
        raise CommandFailed(f"{dir} is not a folder.")
    model, _ = read(dir, checks=False)
    by_control = enforcements(model)
    without = uncontrolled(model)
    rows: list[dict[str, Any]] = [
        {
            "name": control.name, "owners": model.owners_of(control), "risk": control.risk,
            "assertion": control.assertion, "frequency": control.frequency,
            "enforced": bool(by_control[name]) and not any(rule.fault for rule in by_control[name]),
            "enforced_by": [
                {"kind": rule.kind, "name": rule.name, "step": rule.step, "fault": rule.fault}
                for rule in by_control[name]
            ],
            "evidence": {"of": control.evidence.of, "where": control.evidence.where},
        }
        for name, control in sorted(model.of_kind(kinds.Control).items())
    ]  # fmt: skip
    if format is Format.JSON:
        uncovered = [{"kind": item.kind, "name": item.name, "why": item.why} for item in without]
        write_json({"controls": rows, "without": uncovered})
    else:
        write_table(
            ["CONTROL", "OWNER", "RISK", "ENFORCED BY", "EVIDENCE"],
            (
                [
                    row["name"],
                    ", ".join(row["owners"]),
                    row["risk"],
                    "; ".join(_enforcement_text(rule) for rule in row["enforced_by"]) or "nothing",
                    f"{row['frequency']}: {row['evidence']['of']} where {row['evidence']['where']}",
                ]
                for row in rows
            ),
            "No control.",
        )
        for item in without:
            say(f"without a control: the {item.kind} {item.name}, which {item.why}")
    if without or not all(row["enforced"] for row in rows):
        raise typer.Exit(1)


def _enforcement_text(rule: dict[str, str]) -> str:
    step = f"/{rule['step']}" if rule["step"] else ""
    fault = f" ({rule['fault']})" if rule["fault"] else ""
    return f"{rule['kind']} {rule['name']}{step}{fault}"


COMMANDS: list[Callable[..., None]] = [controls]
