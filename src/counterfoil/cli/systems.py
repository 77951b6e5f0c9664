"""What is installed and whether it works: connectors, their conformance, and a look at the whole installation."""

from __future__ import annotations

import asyncio
import importlib.util
import sys
import tempfile
from collections.abc import Callable
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from counterfoil import __version__
from counterfoil.cli.client import TOKEN_FILE, CommandFailed, Server, token
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_table

connectors = typer.Typer(
    help="Connectors that are installed, and their conformance.", invoke_without_command=True
)
SKEW = 5.0
"""Seconds by which our clock and the server's may differ: signatures carry times."""


@connectors.callback()
def installed(context: typer.Context, format: FormatOption = Format.TEXT) -> None:
    """List the connectors that are installed."""
    if context.invoked_subcommand is not None:
        return
    from counterfoil.connectors import host

    rows = [
        {
            "name": name,
            "package": point.dist.name if point.dist else "",
            "version": point.dist.version if point.dist else "",
            "entry_point": point.value,
        }
        for name, point in host.installed().items()
    ]
    if format is Format.JSON:
        write_json(rows)
        return
    write_table(
        ["NAME", "PACKAGE", "VERSION", "ENTRY POINT"],
        ([r["name"], r["package"], r["version"], r["entry_point"]] for r in rows),
        "No connector is installed.",
    )


@connectors.command("test")
def conformance(
    name: Annotated[str, typer.Argument(help="A connector that is installed.")],
    trial: Annotated[
        str,
        typer.Option(
            help="FILE.py:FUNCTION; given an empty folder, an async context manager of (connector, samples)."
        ),
    ],
    format: FormatOption = Format.TEXT,
) -> None:
    """Run the conformance suite on a connector; exit code 1 when it fails.

    The suite writes to the system behind the trial: give it a test account, a twin or a local installation.
    """
    from counterfoil.connectors import host

    if name not in host.installed():
        raise CommandFailed(f"no connector {name} is installed; `counterfoil connectors` lists them.")
    results = asyncio.run(_conform(trial))
    rows = [{"check": r.check, "where": r.where, "passed": r.passed, "detail": str(r)} for r in results]
    if format is Format.JSON:
        write_json(rows)
    else:
        for row in rows:
            say(("ok    " if row["passed"] else "FAIL  ") + row["detail"])
    if not all(row["passed"] for row in rows):
        raise typer.Exit(1)


async def _conform(trial: str) -> Any:
    from counterfoil.connectors.conformance import conform

    file, _, function = trial.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        raise CommandFailed(f"--trial {trial} is not FILE.py:FUNCTION of a file that is there.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandFailed(f"{path} is no Python file.")
    module = importlib.util.module_from_spec(spec)
    sys.path.insert(0, str(Path.cwd()))
    try:
        spec.loader.exec_module(module)
        with tempfile.TemporaryDirectory() as folder:
            async with getattr(module, function)(Path(folder)) as (connector, samples):
                try:
                    return await conform(connector, samples)
                finally:
                    await connector.close()
    finally:
        sys.path.remove(str(Path.cwd()))


def doctor(format: FormatOption = Format.TEXT) -> None:
    """Look at server, store, systems, clock and versions, and say what to do; exit code 1 when something is wrong."""
    found = _local() + _remote()
    rows = [{"check": check, "ok": ok, "detail": detail, "do": do} for check, ok, detail, do in found]
    if format is Format.JSON:
        write_json(rows)
    else:
        for row in rows:
            say(f"{'ok  ' if row['ok'] else 'BAD '} {row['check']}: {row['detail']}")
            if not row["ok"]:
                say(f"     {row['do']}")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


Check = tuple[str, bool, str, str]


def _local() -> list[Check]:
    import apsw

    from counterfoil.store.sql.sqlite import OLDEST

    sqlite = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    return [
        ("version", True, f"counterfoil {__version__}, Python {sys.version.split()[0]}", ""),
        ("sqlite", sqlite >= OLDEST, apsw.sqlite_lib_version(), "Install apsw 3.51.3 or newer."),
        ("token", bool(token()), "there is one" if token() else "there is none",
         f"Set COUNTERFOIL_TOKEN, or run where {TOKEN_FILE} is."),
    ]  # fmt: skip


def _remote() -> list[Check]:
    with Server(timeout=10) as server:
        try:
            alive = server.ask("GET", "/healthz")
        except CommandFailed as failed:
            return [("server", False, f"{server.url} does not answer", str(failed))]
        here = datetime.now(UTC)
        found: list[Check] = [
            ("server", alive.status_code == 200, f"{server.url} answered {alive.status_code}",
             "Something else listens there; set COUNTERFOIL_URL."),
        ]  # fmt: skip
        if date := alive.headers.get("date"):
            # The header has whole seconds, so half of one is nobody's fault.
            apart = abs((here - parsedate_to_datetime(date)).total_seconds() - 0.5)
            found.append(
                (
                    "clock",
                    apart < SKEW,
                    f"{apart:.1f} s apart",
                    "Set both clocks by NTP: signatures carry times.",
                )
            )
        ready = server.ask("GET", "/readyz")
        found.append(
            ("ready", ready.status_code == 200, f"answered {ready.status_code}", "See the server's log.")
        )
        try:
            theirs = server.get("/openapi.json")["info"]["version"]
            found.append(
                ("same version", theirs == __version__, f"server {theirs}, here {__version__}",
                 "Use the command line of the server's version.")
            )  # fmt: skip
            health = server.get("/v1/health")
        except CommandFailed as failed:
            return [*found, ("health", False, str(failed), "Use a token whose role has metrics:any:read.")]
        found.append(("store", True, str(health.get("store") or "answers"), ""))
        for name, state in (health.get("systems") or health.get("feeds") or {}).items():
            wrong = str(state.get("error") or "")
            detail = wrong or f"last {state.get('last') or 'not asked yet'}"
            found.append((f"system {name}", not wrong, detail, "Check its address, credentials and state."))
        for each in health.get("deprecated") or ():
            found.append(_deprecated(each))
        stuck = health.get("stuck")
        if stuck == []:
            found.append(("progress", True, "nothing is stuck", ""))
        for each in stuck or ():
            detail = f"{each['count']} {each['kind']} in {each['about']} since {each['since'][:19]}: "
            do = (
                f"See case {each['case']}."
                if each["case"]
                else "Look again in a minute: a Case opens if it stays."
            )
            found.append(("progress", False, detail + ", ".join(each["subjects"]), do))
        return found


def _deprecated(each: dict[str, Any]) -> Check:
    """A version on its way out: fine while nobody uses it or its sunset is to come."""
    users = each["users"]
    by = f"used by {', '.join(users)}" if users else "used by nobody"
    until = f"sunset {each['sunset']}" if each["sunset"] else "no sunset"
    late = bool(each["past_sunset"] and users)
    to = f" to {each['use']}" if each["use"] else ""
    return (
        f"deprecated {each['name']}",
        not late,
        f"{until}, {by}",
        f"Move them{to}, or put the sunset off.",
    )


COMMANDS: list[Callable[..., None]] = [doctor]
