"""Commands that change the active governance: plan, apply, the history of Releases, and the migration of Runs."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from counterfoil.change.bootstrap import ACTIVE_AT_START
from counterfoil.change.difference import DocumentChange
from counterfoil.change.plan_report import PlanReport
from counterfoil.cli import plan_text
from counterfoil.cli.client import Server, require_folder
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.input_file import read_input
from counterfoil.cli.output import Format, FormatOption, format_minute, say, write_json, write_rows
from counterfoil.core.finding import errors, refusal
from counterfoil.core.wire import WireRefused, digest, dumps, loads, read_json
from counterfoil.model import Model

PLAN_TIMEOUT_SECONDS = 300.0
"""HTTP timeout of a plan. It is long because the server replays recorded traffic."""
Folder = Annotated[Path, typer.Argument(help="The governance folder.")]
Reason = Annotated[str, typer.Option(help="The reason; stored in the history.")]
releases = typer.Typer(help="The history of Releases.", invoke_without_command=True)


def plan(
    dir: Folder = Path("."),
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, for `apply`.")] = None,
    to: Annotated[str | None, typer.Option(help="Plan a rollback to this Release instead.")] = None,
    days: Annotated[
        int, typer.Option(min=0, max=366, help="Days of recorded traffic to replay; 0: none.")
    ] = 30,
    migrate: Annotated[
        bool, typer.Option(help="Migrate the Runs that can be migrated when applying.")
    ] = False,
    environment: Annotated[
        str, typer.Option(help="The environment whose overlays apply.", envvar="COUNTERFOIL_ENVIRONMENT")
    ] = "",
    format: FormatOption = Format.TEXT,
) -> None:
    """Show what a folder would change.

    The plan lists the affected documents, Runs and amounts, and the approvals needed. Exit code 1: something changes.
    """
    places: dict[tuple[str, str], str] = {}
    if to is None:
        model, places = _read(dir, environment)
        body = model.to_json()
    else:
        body = b""
    _plan(body, to, days, migrate, out, format, places)


def _read(dir: Path, environment: str) -> tuple[Model, dict[tuple[str, str], str]]:
    """Return the folder's model and the place of each document. Raises CommandFailed if `check` finds errors."""
    from counterfoil.change.connector_checks import ConnectorChecks
    from counterfoil.model import read

    require_folder(dir)
    model, findings = read(dir, environment=environment, also=ConnectorChecks(dir))
    if errors(findings):
        raise CommandFailed(refusal(dir, findings))
    places = {
        (d.kind, d.name): f"{d.source.file}:{d.source.mark(('name',)).line}"
        for d in model.documents
        if d.source
    }
    return model, places


def _plan(
    body: bytes,
    to: str | None,
    days: int,
    migrate: bool,
    out: Path | None,
    format: Format,
    places: dict[tuple[str, str], str],
) -> None:
    query = f"?days={days}&migrate={'true' if migrate else 'false'}" + (f"&to={quote(to)}" if to else "")
    with Server(timeout=PLAN_TIMEOUT_SECONDS) as server:
        answer = server.post_raw(f"/v1/plans{query}", body, {"content-type": "application/json"})
    if out is not None and answer["changes"]:
        model = loads(body) if body else None
        out.write_bytes(dumps({"plan": answer["plan"], "model": model}) + b"\n")
    if format is Format.JSON:
        write_json(answer)
    else:
        report = msgspec.convert(answer["plan"], PlanReport | None)
        approvals = msgspec.convert(answer["approvals"], list[plan_text.PlanApproval])
        plan_text.show(report, approvals, places)
        if out is not None and answer["changes"]:
            next_step = (
                "" if ACTIVE_AT_START in answer["plan"]["notes"] else f" Next: counterfoil apply {out}"
            )
            say(f"\nPlan written to {out}.{next_step}")
    if answer["changes"]:
        raise typer.Exit(1)


def apply(
    file: Annotated[Path, typer.Argument(help="A file that `plan --out` wrote.")],
    reason: Reason = "",
    emergency: Annotated[
        bool, typer.Option(help="Roll back without waiting for approvals, if your role permits it.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Apply a plan.

    The server refuses if another Release is active by now, or if an approval is missing.
    """
    _apply(_read_plan_digest(file), reason, emergency, format)


def _read_plan_digest(file: Path) -> str:
    """Return the digest of the plan in a file. Raises CommandFailed unless the file's model is the planned one."""
    content = read_input(file)
    try:
        read_json(content)
        planned = loads(content)
        report, model = planned["plan"], planned["model"]
        plan_digest, revision = str(report["digest"]), str(report["revision"])
    except (WireRefused, ValueError, KeyError, TypeError) as error:
        why = error.in_file(content) if isinstance(error, WireRefused) else error
        raise CommandFailed(f"{file} is not a plan: {why}") from None
    if model is not None and digest(model) != revision:
        raise CommandFailed(f"{file} was changed: its model differs from the planned one. Plan again.")
    return plan_digest


def _apply(plan: str, reason: str, emergency: bool, format: Format) -> None:
    with Server(timeout=PLAN_TIMEOUT_SECONDS) as server:
        done = server.post("/v1/releases", {"plan": plan, "reason": reason, "emergency": emergency})
    if format is Format.JSON:
        write_json(done)
        return
    for stage in done["stages"]:
        say(f"ok    {stage['stage']}: {stage['said']}")
    say(f"Release {done['digest']} is active, number {done['no']}.")


@releases.callback()
def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    format: FormatOption = Format.TEXT,
) -> None:
    """List the Releases, newest first."""
    if context.invoked_subcommand is not None:
        return
    with Server() as server:
        rows = server.rows("/v1/releases", limit)
    write_rows(
        rows,
        format,
        ["NO>", "RELEASE", "SINCE (UTC)", "REQUESTED BY", "APPROVED BY", "APPLIED BY", "REASON"],
        lambda r: [
            r["number"], r["digest"][:12] + (" active" if r["present"] else ""), format_minute(r["at"]),
            r["requester"], ", ".join(r["approvers"]), r["applied_by"],
            ("emergency: " if r["emergency"] else "") + r["reason"],
        ],
        "No Release.",
    )  # fmt: skip


@releases.command("show")
def show(digest: str, format: FormatOption = Format.TEXT) -> None:
    """Show one Release and its changes."""
    with Server() as server:
        detail = server.get(f"/v1/releases/{quote(_full_digest(server, digest), safe='')}")
    if format is Format.JSON:
        write_json(detail)
        return
    release = detail["release"]
    say(f"Release {release['digest']}, number {release['number']}, since {format_minute(release['at'])}")
    say(f"requested by {release['requester'] or '-'}, approved by {', '.join(release['approvers']) or '-'}, "
        f"applied by {release['applied_by']}")  # fmt: skip
    plan_text.show_differences(msgspec.convert(detail["differences"], list[DocumentChange]), {})


@releases.command("rollback")
def rollback(
    digest: str,
    reason: Reason = "",
    emergency: Annotated[
        bool, typer.Option(help="Apply at once, without waiting for approvals, if your role permits it.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, for `apply`.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Plan a rollback to a former Release.

    With --emergency, the rollback is applied at once.
    """
    with Server() as server:
        full = _full_digest(server, digest)
    if not emergency:
        _plan(b"", full, 0, False, out, format, {})
        return
    with Server(timeout=PLAN_TIMEOUT_SECONDS) as server:
        answer = server.post_raw(f"/v1/plans?days=0&to={full}", b"", {"content-type": "application/json"})
    if not answer["changes"]:
        raise CommandFailed(f"Release {full[:12]} is already active.")
    _apply(answer["plan"]["digest"], reason, True, format)


def _full_digest(server: Server, digest: str) -> str:
    """Return the full digest of the Release that begins with these characters. Raises CommandFailed unless unique."""
    if len(digest) == 64:
        return digest
    matches = {r["digest"] for r in server.rows("/v1/releases", 10_000) if r["digest"].startswith(digest)}
    if len(matches) != 1:
        raise CommandFailed(
            f"{len(matches) or 'no'} Releases begin with {digest}; `counterfoil releases` lists them."
        )
    return str(matches.pop())


def migrate(
    to: Annotated[str | None, typer.Option(help="The target Release; default: the active one.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only Runs of this workflow.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this Run, by its id.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Migrate the Runs that can be migrated.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Show or migrate Runs of other Releases.

    Exit code 1: some Runs can still be migrated.
    """
    with Server(timeout=PLAN_TIMEOUT_SECONDS) as server:
        body: dict[str, Any] = {"workflow": workflow, "run": run, "apply": apply}
        body["to"] = _full_digest(server, to) if to else None
        rows = server.post("/v1/migrations", body)["items"]
    write_rows(
        rows,
        format,
        ["KEY", "WORKFLOW", "STATE", "VERDICT", "WHY", "FROM", "ID"],
        lambda r: [r["key"], r["workflow"], r["state"], r["verdict"], r["why"], r["pin"][:12], r["run"]],
        "All unfinished Runs are pinned to that Release already.",
    )
    if any(row["verdict"] in ("migratable", "busy", "changed") for row in rows):
        raise typer.Exit(1)


COMMANDS: list[Callable[..., None]] = [plan, apply, migrate]
