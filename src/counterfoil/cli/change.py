"""The path of a change: what a folder would change, putting it in force, the history, and Runs that are moved."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import msgspec
import typer

from counterfoil.change.difference import DocumentChange
from counterfoil.change.plan_report import PlanReport
from counterfoil.cli import planned
from counterfoil.cli.client import CommandFailed, Server
from counterfoil.cli.output import Format, FormatOption, minute, say, write_json, write_table
from counterfoil.core.finding import errors
from counterfoil.core.wire import WireRefused, digest, dumps, loads, read_json
from counterfoil.model import Model

PATIENCE = 300.0
"""Seconds that a plan may take: traffic is replayed for it."""
Folder = Annotated[Path, typer.Argument(help="The governance folder.")]
Reason = Annotated[str, typer.Option(help="Why; it stays in the history.")]
releases = typer.Typer(help="What was in force, and when.", invoke_without_command=True)


def plan(
    dir: Folder = Path("."),
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, for `apply`.")] = None,
    to: Annotated[str | None, typer.Option(help="Plan to put this former Release back instead.")] = None,
    days: Annotated[
        int, typer.Option(min=0, max=366, help="Replay the traffic of so many days; 0: none.")
    ] = 30,
    migrate: Annotated[bool, typer.Option(help="Move Runs that may be moved along with it.")] = False,
    environment: Annotated[
        str, typer.Option(help="The environment whose overlays count.", envvar="COUNTERFOIL_ENVIRONMENT")
    ] = "",
    format: FormatOption = Format.TEXT,
) -> None:
    """Say what a folder would change, for whom, and whose approval it waits for; exit code 1 when it changes anything."""
    places: dict[tuple[str, str], str] = {}
    if to is None:
        model, places = _read(dir, environment)
        body = model.to_json()
    else:
        body = b""
    _plan(body, to, days, migrate, out, format, places)


def _read(dir: Path, environment: str) -> tuple[Model, dict[tuple[str, str], str]]:
    """The folder's model, and where each of its documents stands."""
    from counterfoil.model import read

    if not dir.is_dir():
        raise CommandFailed(f"{dir} is no folder.")
    model, findings = read(dir, environment=environment)
    wrong = errors(findings)
    if wrong:
        for finding in wrong:
            say(str(finding))
        raise CommandFailed(f"{dir} does not pass check: {len(wrong)} errors.")
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
    with Server(timeout=PATIENCE) as server:
        answer = server.post_raw(f"/v1/plans{query}", body, {"content-type": "application/json"})
    if out is not None and answer["changes"]:
        model = loads(body) if body else None
        out.write_bytes(dumps({"plan": answer["plan"], "model": model}) + b"\n")
    if format is Format.JSON:
        write_json(answer)
    else:
        report = msgspec.convert(answer["plan"], PlanReport | None)
        planned.show(report, answer["approvals"], places)
        if out is not None and answer["changes"]:
            say(f"\nwritten to {out}; next: counterfoil apply {out}")
    if answer["changes"]:
        raise typer.Exit(1)


def apply(
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, help="What `plan --out` wrote.")],
    reason: Reason = "",
    emergency: Annotated[
        bool, typer.Option(help="Put a former Release back without waiting for approvals, if you may.")
    ] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Put a plan in force; refused when the base moved or an approval is missing."""
    _apply(_planned(file), reason, emergency, format)


def _planned(file: Path) -> str:
    """The digest of the plan in a file, whose model must be the one that the plan names."""
    try:
        content = file.read_bytes()
        read_json(content)
        held = loads(content)
        made, model = held["plan"], held["model"]
        name, revision = str(made["digest"]), str(made["revision"])
    except (OSError, WireRefused, ValueError, KeyError, TypeError) as error:
        raise CommandFailed(f"{file} is no plan: {error}") from None
    if model is not None and digest(model) != revision:
        raise CommandFailed(f"{file} was changed: its model is not the one that was planned. Plan again.")
    return name


def _apply(plan: str, reason: str, emergency: bool, format: Format) -> None:
    with Server(timeout=PATIENCE) as server:
        done = server.post("/v1/releases", {"plan": plan, "reason": reason, "emergency": emergency})
    if format is Format.JSON:
        write_json(done)
        return
    for stage in done["stages"]:
        say(f"ok    {stage['stage']}: {stage['said']}")
    say(f"release {done['digest']} is in force, number {done['no']}")


@releases.callback()
def history(
    context: typer.Context,
    limit: Annotated[int, typer.Option(min=1, max=10_000)] = 50,
    format: FormatOption = Format.TEXT,
) -> None:
    """List what was in force, newest first."""
    if context.invoked_subcommand is not None:
        return
    with Server() as server:
        rows = server.rows("/v1/releases", limit)
    if format is Format.JSON:
        write_json(rows)
        return
    write_table(
        ["NO>", "RELEASE", "SINCE (UTC)", "ASKED BY", "APPROVED BY", "APPLIED BY", "REASON"],
        (
            [
                r["number"], r["digest"][:12] + (" in force" if r["present"] else ""), minute(r["at"]),
                r["requester"], ", ".join(r["approvers"]), r["applied_by"],
                ("emergency: " if r["emergency"] else "") + r["reason"],
            ]
            for r in rows
        ),
        "Nothing was ever in force.",
    )  # fmt: skip


@releases.command("show")
def show(digest: str, format: FormatOption = Format.TEXT) -> None:
    """Show one Release: who asked, who approved, what it changed."""
    with Server() as server:
        found = server.get(f"/v1/releases/{quote(_whole(server, digest), safe='')}")
    if format is Format.JSON:
        write_json(found)
        return
    release = found["release"]
    say(f"release {release['digest']}, number {release['number']}, since {minute(release['at'])}")
    say(f"asked by {release['requester'] or '-'}, approved by {', '.join(release['approvers']) or 'nobody'}, "
        f"applied by {release['applied_by']}")  # fmt: skip
    planned.show_differences(msgspec.convert(found["differences"], list[DocumentChange]), {})


@releases.command("rollback")
def rollback(
    digest: str,
    reason: Reason = "",
    emergency: Annotated[
        bool, typer.Option(help="Apply at once, without waiting for approvals, if you may.")
    ] = False,
    out: Annotated[Path | None, typer.Option(help="Write the plan to this file, for `apply`.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Plan to put a former Release back: a plan like any other. With --emergency it is applied at once."""
    with Server() as server:
        whole = _whole(server, digest)
    if not emergency:
        _plan(b"", whole, 0, False, out, format, {})
        return
    with Server(timeout=PATIENCE) as server:
        answer = server.post_raw(f"/v1/plans?days=0&to={whole}", b"", {"content-type": "application/json"})
    if not answer["changes"]:
        raise CommandFailed(f"{whole[:12]} is in force already.")
    _apply(answer["plan"]["digest"], reason, True, format)


def _whole(server: Server, digest: str) -> str:
    """A Release's whole digest, of its first characters."""
    if len(digest) == 64:
        return digest
    found = {r["digest"] for r in server.rows("/v1/releases", 10_000) if r["digest"].startswith(digest)}
    if len(found) != 1:
        raise CommandFailed(
            f"{len(found) or 'no'} Releases begin with {digest}; `counterfoil releases` lists them."
        )
    return str(found.pop())


def migrate(
    to: Annotated[str | None, typer.Option(help="A Release; by default the one in force.")] = None,
    workflow: Annotated[str | None, typer.Option(help="Only its Runs.")] = None,
    run: Annotated[str | None, typer.Option(help="Only this Run, by its id.")] = None,
    apply: Annotated[bool, typer.Option("--apply", help="Move those that may be moved.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Say what may become of Runs pinned to another Release, or move them; exit code 1 when some could be moved."""
    with Server(timeout=PATIENCE) as server:
        asked: dict[str, Any] = {"workflow": workflow, "run": run, "apply": apply}
        asked["to"] = _whole(server, to) if to else None
        rows = server.post("/v1/migrations", asked)["items"]
    if format is Format.JSON:
        write_json(rows)
    else:
        write_table(
            ["KEY", "WORKFLOW", "STATE", "VERDICT", "WHY", "FROM", "ID"],
            (
                [r["key"], r["workflow"], r["state"], r["verdict"], r["why"], r["pin"][:12], r["run"]]
                for r in rows
            ),
            "Every Run on its way is pinned to that Release already.",
        )
    if any(row["verdict"] in ("migratable", "busy", "changed") for row in rows):
        raise typer.Exit(1)


COMMANDS: list[Callable[..., None]] = [plan, apply, migrate]
