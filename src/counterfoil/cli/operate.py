"""Seeing and acting on a running company: runs, traces, counterfoils, cases, approvals, deliveries."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import CommandFailed, Server
from counterfoil.cli.output import Format, FormatOption, minute, money, say, write_json, write_table
from counterfoil.connectors import signature
from counterfoil.core.errors import Misconfigured

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="At most so many rows, newest first.")]
Text = Annotated[str | None, typer.Option()]


def runs(
    workflow: Text = None,
    status: Annotated[str | None, typer.Option(help="ready, waiting, done, undone or closed.")] = None,
    state: Annotated[str | None, typer.Option(help="The business state, as the workflow names it.")] = None,
    key: Annotated[str | None, typer.Option(help="The business key, exactly.")] = None,
    limit: Limit = 200,
    format: FormatOption = Format.TEXT,
) -> None:
    """List Runs: business transactions on their way through a workflow."""
    with Server() as server:
        rows = server.rows("/v1/runs", limit, workflow=workflow, status=status, state=state, key=key)
    if format is Format.JSON:
        write_json(rows)
        return
    write_table(
        ["KEY", "WORKFLOW", "STATE", "STATUS", "EXPOSURE>", "CASES>", "BEGAN (UTC)", "ID"],
        (
            [
                r["key"], r["workflow"], r["state"],
                r["status"] if r["direction"] == "forward" else f"{r['status']} ({r['direction']})",
                money(r["exposure"]), r["cases"], minute(r["created_at"]), r["id"],
            ]
            for r in rows
        ),
        "No run. One begins with the first event that a workflow takes.",
    )  # fmt: skip


def trace(
    id: Annotated[str, typer.Argument(help="A run's id or business key.")], format: FormatOption = Format.TEXT
) -> None:
    """Show everything that happened to one Run, in every system."""
    with Server() as server:
        found = server.get(f"/v1/runs/{quote(_run_id(server, id), safe='')}")
    if format is Format.JSON:
        write_json(found)
        return
    run = found["run"]
    say(f"{run['key']}  {run['workflow']}  {run['state']} ({run['status']}, {run['direction']})  {run['id']}")
    if run["exposure"]:
        say(f"exposure {money(run['exposure'])}, {run['cases']} open cases")
    say("")
    write_table(
        ["TIME (UTC)", "SYSTEM", "WHAT", "DETAIL"],
        ([m["at"][:23].replace("T", " "), m["system"], m["title"], m["detail"]] for m in found["timeline"]),
        "Nothing yet.",
    )
    if found["foils"]:
        say("")
        write_table(
            ["COUNTERFOIL", "KEY", "STATE", "LEG", "ASSERTED>", "MATCHED>", "RESIDUAL>"],
            (
                [f["foil"]["rule"], f["foil"]["key"], f["foil"]["state"], leg["leg"]]
                + [money([leg[side]]) for side in ("asserted", "matched", "residual")]
                for f in found["foils"]
                for leg in f["halves"]
            ),
            "",
        )
    if found["effects"]:
        say("")
        write_table(
            ["EFFECT", "SYSTEM", "STATE", "ATTEMPTS>", "IDS", "KEY"],
            (
                [
                    e["operation"], e["system"], e["state"], e["attempt"],
                    ", ".join(link["ext_id"] for link in e["links"]), e["id"],
                ]
                for e in found["effects"]
            ),
            "",
        )  # fmt: skip


def _run_id(server: Server, asked: str) -> str:
    if asked.startswith("run_"):
        return asked
    rows = server.rows("/v1/runs", 2, key=asked)
    if not rows:
        raise CommandFailed(f"no run has the key {asked}; `counterfoil runs` lists those there are.")
    if len(rows) > 1:
        raise CommandFailed(
            f"several runs have the key {asked}; give one's id from `counterfoil runs --key`."
        )
    return str(rows[0]["id"])


def foils(
    state: Annotated[str | None, typer.Option(help="open, partly, matched, broken, ...")] = None,
    key: Text = None,
    run: Text = None,
    limit: Limit = 200,
    format: FormatOption = Format.TEXT,
) -> None:
    """List counterfoils: what one system asserts and another still owes."""
    with Server() as server:
        rows = server.rows("/v1/foils", limit, state=state, key=key, run=run)
    if format is Format.JSON:
        write_json(rows)
        return
    write_table(
        ["KEY", "RULE", "FROM", "TO", "STATE", "AMOUNT>", "DUE (UTC)", "REASON"],
        (
            [
                f["key"], f["rule"], f["left"], f["right"], f["state"], money(list(f["legs"].values())),
                minute(f["due"]), f["reason"],
            ]
            for f in rows
        ),
        "No counterfoil.",
    )  # fmt: skip


def cases(
    state: Annotated[str, typer.Option(help="open, resolved or all.")] = "open",
    owner: Annotated[str | None, typer.Option(help="The role that owns them.")] = None,
    run: Text = None,
    limit: Limit = 200,
    format: FormatOption = Format.TEXT,
) -> None:
    """List Cases: exceptions with owner, deadline, next action and exposure."""
    with Server() as server:
        rows = server.rows("/v1/cases", limit, state=None if state == "all" else state, owner=owner, run=run)
    if format is Format.JSON:
        write_json(rows)
        return
    write_table(
        ["ID", "REASON", "OWNER", "DEADLINE (UTC)", "EXPOSURE>", "CHOICES", "MESSAGE"],
        (
            [
                c["id"], c["reason"], c["owner"], minute(c["deadline"]), money(c["exposure"]),
                ", ".join(c["choices"]), c["message"],
            ]
            for c in rows
        ),
        "No case is open." if state == "open" else "None.",
    )  # fmt: skip


def approvals(
    state: Annotated[
        str, typer.Option(help="open, granted, rejected, expired, stale, void or all.")
    ] = "open",
    run: Text = None,
    limit: Limit = 200,
    format: FormatOption = Format.TEXT,
) -> None:
    """List approvals and what exactly they cover."""
    with Server() as server:
        rows = server.rows("/v1/approvals", limit, state=None if state == "all" else state, run=run)
    if format is Format.JSON:
        write_json(rows)
        return
    write_table(
        ["ID", "POLICY", "AMOUNT>", "ROLES", "REQUESTER", "STATE", "EXPIRES (UTC)"],
        (
            [
                a["id"], a["policy"], money([a["amount"]]) if a["amount"] else "", " or ".join(a["roles"]),
                a["requester"], a["state"], minute(a["expires"]),
            ]
            for a in rows
        ),
        "No approval is open." if state == "open" else "None.",
    )  # fmt: skip


Comment = Annotated[str, typer.Option(help="Why; it stays with the decision.")]


def approve(id: str, comment: Comment = "", format: FormatOption = Format.TEXT) -> None:
    """Approve what an approval covers now."""
    _decide(id, "approve", comment, format)


def reject(id: str, comment: Comment = "", format: FormatOption = Format.TEXT) -> None:
    """Reject an approval."""
    _decide(id, "reject", comment, format)


def _decide(id: str, decision: str, comment: str, format: Format) -> None:
    with Server() as server:
        path = f"/v1/approvals/{quote(id, safe='')}"
        seen = server.get(path)
        answer = server.post(path, {"decision": decision, "comment": comment, "subject": seen["subject"]})
    _told(answer, format)


def resolve(
    id: str,
    choice: Annotated[str, typer.Option(help="retry, continue, undo, close, waive or dismiss.")],
    note: Annotated[str, typer.Option(help="Why; whoever reads the case later wants to know.")],
    format: FormatOption = Format.TEXT,
) -> None:
    """Resolve a Case with one of its choices."""
    with Server() as server:
        answer = server.post(f"/v1/cases/{quote(id, safe='')}", {"choice": choice, "note": note})
    _told(answer, format)


def _told(answer: dict[str, Any], format: Format) -> None:
    if format is Format.JSON:
        write_json(answer)
    else:
        say(f"{answer['id']}: {answer['verdict']}")


def send(
    system: str,
    file: Annotated[Path, typer.Argument(exists=True, dir_okay=False, readable=True)],
    secret: Annotated[
        str | None, typer.Option(help="Sign with this: env:NAME or file:PATH; never the secret itself.")
    ] = None,
    scheme: Annotated[str, typer.Option(help="How the system signs; see docs/reference/signatures.md.")] = (
        "standard-webhooks-v1"
    ),
    header: Annotated[list[str] | None, typer.Option(help="One more header: 'name: value'.")] = None,
    content_type: str = "application/json",
    format: FormatOption = Format.TEXT,
) -> None:
    """Hand a webhook body in, as a system would."""
    body = file.read_bytes()
    headers = {"content-type": content_type}
    for one in header or []:
        name, colon, value = one.partition(":")
        if not colon:
            raise CommandFailed(f"--header {one!r} is not 'name: value'.")
        headers[name.strip().lower()] = value.strip()
    if secret is not None:
        try:
            headers |= signature.sign(
                scheme, _secret(secret), body, datetime.now(UTC), id=f"msg_{secrets.token_hex(8)}"
            )
        except Misconfigured as error:
            raise CommandFailed(str(error)) from error
    with Server() as server:
        answer = server.post_raw(f"/v1/receipts/{quote(system, safe='')}", body, headers)
    if format is Format.JSON:
        write_json(answer)
    else:
        say(f"receipt {answer['receipt']}: {answer['verdict']}")


def _secret(reference: str) -> str:
    kind, _, where = reference.partition(":")
    if kind == "env":
        if where not in os.environ:
            raise CommandFailed(f"the environment has no {where}.")
        return os.environ[where]
    if kind == "file":
        try:
            return Path(where).read_text("utf-8").strip()
        except OSError as error:
            raise CommandFailed(f"{where} cannot be read: {error.strerror}.") from error
    raise CommandFailed(
        "--secret takes env:NAME or file:PATH, so that no secret stands in a command's history."
    )


COMMANDS: list[Callable[..., None]] = [runs, trace, foils, cases, approvals, approve, reject, resolve, send]
