"""Commands on the installation: list connectors, run the conformance suite, diagnose server and systems."""

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
from counterfoil.cli.audit_checks import Check, audit_checks, existing_store, verifier_check
from counterfoil.cli.client import TOKEN_FILE, Server, token
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_json, write_rows
from counterfoil.cli.processes import HOME, SQLITE_STORE, StoreOption
from counterfoil.core.errors import CounterfoilError

connectors = typer.Typer(
    help="Installed connectors and their conformance suite.", invoke_without_command=True
)
MAX_CLOCK_SKEW_SECONDS = 5.0
"""Tolerated difference between the local clock and the server's; signatures carry times."""


@connectors.callback()
def installed(context: typer.Context, format: FormatOption = Format.TEXT) -> None:
    """List the installed connectors."""
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
    columns = ["NAME", "PACKAGE", "VERSION", "ENTRY POINT"]
    write_rows(rows, format, columns, lambda r: list(r.values()), "No connector is installed.")


@connectors.command("test")
def conformance(
    name: Annotated[str, typer.Argument(help="An installed connector.")],
    trial: Annotated[
        str,
        typer.Option(
            help="FILE.py:FUNCTION; it takes an empty folder and returns an async context manager of "
            "(connector, samples)."
        ),
    ],
    format: FormatOption = Format.TEXT,
) -> None:
    """Run the conformance suite on a connector.

    The suite writes to the system behind the trial: use a test account, a twin or a local installation.
    Exit code 1: the connector fails.
    """
    from counterfoil.connectors import host

    if name not in host.installed():
        raise CommandFailed(f"the connector {name} is not installed; `counterfoil connectors` lists them.")
    results = asyncio.run(_run_suite(trial))
    rows = [{"check": r.check, "where": r.where, "passed": r.passed, "detail": str(r)} for r in results]
    if format is Format.JSON:
        write_json(rows)
    else:
        for row in rows:
            say(row["detail"])
    if not all(row["passed"] for row in rows):
        raise typer.Exit(1)


async def _run_suite(trial: str) -> Any:
    from counterfoil.connectors.conformance import conform

    file, _, function = trial.rpartition(":")
    path = Path(file)
    if not file or not path.is_file():
        raise CommandFailed(f"--trial {trial} is not FILE.py:FUNCTION of an existing file.")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise CommandFailed(f"{path} is not a Python file.")
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


def doctor(
    audit: Annotated[
        bool,
        typer.Option(
            "--audit", help="Recompute the audit log of the store instead, with or without a running server."
        ),
    ] = False,
    store: StoreOption = SQLITE_STORE,
    format: FormatOption = Format.TEXT,
) -> None:
    """Diagnose the installation.

    It checks server, store, systems, clock and versions, and gives advice. With `--audit` it reads the store itself and
    names what was edited, deleted or truncated behind the audit log. Exit code 1: a check fails.
    """
    try:
        if audit:
            more = audit_checks(existing_store(store, SQLITE_STORE, HOME), HOME)
        else:
            more = _server_checks()
        checks = _local_checks() + verifier_check(HOME) + more
    except CounterfoilError as error:
        raise CommandFailed(str(error)) from error
    rows = [{"check": check, "ok": ok, "detail": detail, "do": do} for check, ok, detail, do in checks]
    if format is Format.JSON:
        write_json(rows)
    else:
        for row in rows:
            say(f"{'ok  ' if row['ok'] else 'BAD '} {row['check']}: {row['detail']}")
            if not row["ok"]:
                say(f"     {row['do']}")
    if not all(row["ok"] for row in rows):
        raise typer.Exit(1)


def _local_checks() -> list[Check]:
    import apsw

    from counterfoil.store.sql.sqlite import OLDEST

    sqlite = tuple(int(part) for part in apsw.sqlite_lib_version().split("."))
    return [
        ("version", True, f"counterfoil {__version__}, Python {sys.version.split()[0]}", ""),
        ("sqlite", sqlite >= OLDEST, apsw.sqlite_lib_version(), "Install apsw 3.51.3 or newer."),
        ("token", bool(token()), "present" if token() else "missing",
         f"Set COUNTERFOIL_TOKEN, or run the command in the folder of {TOKEN_FILE}."),
    ]  # fmt: skip


def _server_checks() -> list[Check]:
    try:
        server = Server(timeout=10)
    except CommandFailed as failed:
        return [("server", False, "none was called", str(failed))]
    with server:
        try:
            alive = server.request("GET", "/healthz")
        except CommandFailed as failed:
            return [("server", False, f"{server.url} does not answer", str(failed))]
        here = datetime.now(UTC)
        checks: list[Check] = [
            ("server", alive.status_code == 200, f"{server.url} answered {alive.status_code}",
             "Another program listens at this address; set COUNTERFOIL_URL."),
        ]  # fmt: skip
        if date := alive.headers.get("date"):
            # The header has whole seconds, so it is half a second early on average.
            apart = abs((here - parsedate_to_datetime(date)).total_seconds() - 0.5)
            checks.append(
                (
                    "clock",
                    apart < MAX_CLOCK_SKEW_SECONDS,
                    f"{apart:.1f} s apart",
                    "Synchronize both clocks with NTP: signatures carry times.",
                )
            )
        ready = server.request("GET", "/readyz")
        checks.append(
            ("ready", ready.status_code == 200, f"answered {ready.status_code}", "See the server's log.")
        )
        try:
            theirs = server.get("/openapi.json")["info"]["version"]
        except CommandFailed as failed:
            checks.append(("same version", False, str(failed), "Check COUNTERFOIL_URL."))
        else:
            checks.append(
                ("same version", theirs == __version__, f"server {theirs}, here {__version__}",
                 "Use the command line of the server's version.")
            )  # fmt: skip
        try:
            health = server.get("/v1/health")
        except CommandFailed as failed:
            detail = (
                f"{failed} Not checked: the server's store, systems, deprecated versions and stalled work."
            )
            return [
                *checks,
                ("health", False, detail, "Use a token of a person whose role has metrics:any:read."),
            ]
        return checks + _health_checks(health)


def _health_checks(health: dict[str, Any]) -> list[Check]:
    """Return the checks of what the server says about its store, systems and work."""
    checks: list[Check] = [("store", True, str(health.get("store") or "answers"), "")]
    if problem := health.get("people_problem"):
        checks.append(("people file", False, problem, "Correct the file: the server takes it over at once."))
    for name, state in (health.get("systems") or health.get("feeds") or {}).items():
        error = str(state.get("error") or "")
        detail = error or f"last {state['last']}" if state.get("last") else "not called yet"
        checks.append((f"system {name}", not error, detail, "Check its address, credentials and state."))
    for version in health.get("deprecated") or ():
        checks.append(_deprecation_check(version))
    checks += [("waiting", True, f"{r['key']} waits for {r['waits_for']}", "") for r in health["waiting"]]
    stuck = health.get("stuck")
    if stuck == []:
        checks.append(("progress", True, "nothing is stuck", ""))
    for finding in stuck or ():
        detail = f"{finding['count']} {finding['kind']} in {finding['about']} since {finding['since'][:19]}: "
        do = (
            f"See Case {finding['case']}."
            if finding["case"]
            else "Run doctor again in a minute: a Case opens if the problem persists."
        )
        checks.append(("progress", False, detail + ", ".join(finding["subjects"]), do))
    return checks


def _deprecation_check(version: dict[str, Any]) -> Check:
    """Return the check of a deprecated version; it fails if the version is used after its sunset."""
    users = version["users"]
    by = f"used by {', '.join(users)}" if users else "unused"
    until = f"sunset {version['sunset']}" if version["sunset"] else "no sunset"
    late = bool(version["past_sunset"] and users)
    to = f" to {version['use']}" if version["use"] else ""
    return (
        f"deprecated {version['name']}",
        not late,
        f"{until}, {by}",
        f"Move the users{to}, or postpone the sunset.",
    )


COMMANDS: list[Callable[..., None]] = [doctor]
