"""Commands on a running server: Runs, traces, approvals, deliveries."""

from __future__ import annotations

import hashlib
import os
import shlex
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server, ServerRefused
from counterfoil.cli.exports import ExportOption, ListFormat, ListFormatOption, is_exported
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.input_file import read_input
from counterfoil.cli.output import (
    Format,
    FormatOption,
    format_legs,
    format_minute,
    format_money,
    say,
    write_json,
    write_rows,
    write_table,
)
from counterfoil.cli.transaction import write_graph
from counterfoil.connectors import signature
from counterfoil.core.approval import ApprovalState
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean
from counterfoil.core.plural import counted
from counterfoil.core.run import RunStatus

Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Maximum number of rows, newest first.")]
Text = Annotated[str | None, typer.Option()]
SortOption = Annotated[
    str | None,
    typer.Option(help="The order, such as created, due or -amount; - means the largest or latest first."),
]
EntityOption = Annotated[str | None, typer.Option(help="The legal entity.")]
NEAR_ROWS = 1000
"""Open rows among which the one that was meant is looked for."""
RECEIVED = {
    "new": "",
    "same": ", it was received before and nothing more happens",
    "clash": ", but other content was received before under the same id: a Case is open",
}
"""What each verdict of a delivery means."""
UNSIGNED = "The body was sent unsigned: name the signing secret with --secret env:NAME or file:PATH, and its --scheme."


def nothing_fits(noun: str, without_filters: str, *filters: Any) -> str:
    """Return the text of an empty list: with a filter, others may exist."""
    return f"No {noun} fits." if any(value is not None for value in filters) else without_filters


def require_word(option: str, value: str | None, words: Iterable[str]) -> None:
    """Raise CommandFailed if the value of an option is not one of its words: the list would be empty, as if all were well."""
    names = list(words)
    if value is not None and value not in names:
        fix = did_you_mean(value, names, f"one of {', '.join(names)}")
        raise CommandFailed(f"--{option} {value} does not exist; {fix}")


def runs(
    workflow: Text = None,
    status: Annotated[str | None, typer.Option(help="Only: ready, waiting, done, undone or closed.")] = None,
    state: Annotated[
        str | None,
        typer.Option(
            help="The business state as named by the workflow, or one of: ready, waiting, done, undone, closed."
        ),
    ] = None,
    key: Annotated[str | None, typer.Option(help="The exact business key.")] = None,
    entity: EntityOption = None,
    sort: SortOption = None,
    limit: Limit = 200,
    format: ListFormatOption = ListFormat.TEXT,
    export: ExportOption = None,
) -> None:
    """List Runs with state and exposure."""
    require_word("status", status, RunStatus)
    query = {"workflow": workflow, "key": key, "entity": entity}
    if is_exported("runs", format, export, status=status, state=state, **query):
        return
    with Server() as server:
        rows = server.rows("/v1/runs", limit, status=status, state=state, sort=sort, **query)
        if not rows and status is None and state in list(RunStatus):
            rows = server.rows("/v1/runs", limit, status=state, sort=sort, **query)
    write_rows(
        rows,
        format.printed,
        ["DOCUMENT", "CUSTOMER", "WORKFLOW", "STATE", "STATUS", "WAITS FOR", "EXPOSURE>", "CASES>", "BEGAN (UTC)", "KEY", "ID"],
        lambda r: [
            r["name"] or r["key"], r["customer"], r["workflow"], r["state"],
            r["status"] if r["direction"] == "forward" else f"{r['status']} ({r['direction']})",
            r["waits_for"], format_money(r["exposure"]), r["cases"], format_minute(r["created_at"]), r["key"], r["id"],
        ],
        nothing_fits(
            "Run", "No Run. A Run starts with the first event that a workflow accepts.", workflow, status, state, key, entity,
        ),
    )  # fmt: skip


def trace(
    id: Annotated[
        str, typer.Argument(help="A Run's id or business key, a document number, or a customer's name.")
    ],
    graph: Annotated[
        bool,
        typer.Option("--graph", help="What caused what: the documents and Runs of the whole transaction."),
    ] = False,
    svg: Annotated[Path | None, typer.Option(help="Write the graph as a drawing into this file.")] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Show the full history of one Run, or the graph of its transaction."""
    with Server() as server:
        if graph or svg is not None:
            write_graph(server, _run_id(server, id), svg, format)
            return
        detail = server.get(f"/v1/runs/{quote(_run_id(server, id), safe='')}")
    if format is Format.JSON:
        write_json(detail)
        return
    run = detail["run"]
    say(f"{run['key']}  {run['workflow']}  {run['state']} ({run['status']}, {run['direction']})  {run['id']}")
    if run["waits_for"]:
        say(f"waits for {run['waits_for']}")
    if run["exposure"]:
        say(f"exposure {format_money(run['exposure'])}, {counted(run['cases'], 'open Case')}")
    say("")
    write_table(
        ["TIME (UTC)", "SYSTEM", "WHAT", "DETAIL"],
        ([m["at"][:23].replace("T", " "), m["system"], m["title"], m["detail"]] for m in detail["timeline"]),
        "Nothing has happened yet.",
    )
    if detail["foils"]:
        say("")
        write_table(
            ["COUNTERFOIL", "KEY", "STATE", "LEG", "ASSERTED>", "MATCHED>", "RESIDUAL>"],
            (
                [f["foil"]["rule"], f["foil"]["key"], f["foil"]["state"], leg["leg"]]
                + [format_legs({leg["leg"]: leg[side]}) for side in ("asserted", "matched", "residual")]
                for f in detail["foils"]
                for leg in f["halves"]
            ),
            "",
        )
    if detail["effects"]:
        say("")
        write_table(
            ["EFFECT", "SYSTEM", "STATE", "ATTEMPTS>", "IDS", "KEY"],
            (
                [
                    e["operation"], e["system"], e["state"], e["attempt"],
                    ", ".join(link["ext_id"] for link in e["links"]), e["id"],
                ]
                for e in detail["effects"]
            ),
            "",
        )  # fmt: skip


def _run_id(server: Server, id_or_key: str) -> str:
    if id_or_key.startswith("run_"):
        return id_or_key
    rows = server.rows("/v1/runs", 2, key=id_or_key)
    if not rows:
        raise CommandFailed(
            f"no Run has the key, number or customer {id_or_key}; `counterfoil runs` lists all Runs."
        )
    if len(rows) > 1:
        raise CommandFailed(
            f"several Runs are of {id_or_key}; use an id from `counterfoil runs --key {shlex.quote(id_or_key)}`."
        )
    return str(rows[0]["id"])


def approvals(
    state: Annotated[
        str, typer.Option("--state", "--status", help="open, granted, rejected, expired, stale, void or all.")
    ] = "open",
    run: Text = None,
    entity: EntityOption = None,
    sort: SortOption = None,
    limit: Limit = 200,
    format: ListFormatOption = ListFormat.TEXT,
    export: ExportOption = None,
) -> None:
    """List approvals with amount, roles and expiry."""
    require_word("state", state, (*ApprovalState, "all"))
    query = {"state": None if state == "all" else state, "run": run, "entity": entity}
    if is_exported("approvals", format, export, **query):
        return
    with Server() as server:
        rows = server.rows("/v1/approvals", limit, sort=sort, **query)
    write_rows(
        rows,
        format.printed,
        ["ABOUT", "AMOUNT>", "DECISION", "ROLES", "WHY", "REQUESTER", "STATE", "EXPIRES (UTC)", "ID"],
        lambda a: [
            ", ".join(a["about"].values()), format_money([a["amount"]]) if a["amount"] else "",
            a["summary"] or a["policy"], " or ".join(a["roles"]), a["tier"], a["requester"], a["state"],
            format_minute(a["expires"]), a["id"],
        ],
        nothing_fits("approval", "No approval is open." if state == "open" else "No approval.", run, entity),
    )  # fmt: skip


Comment = Annotated[str, typer.Option(help="The reason; stored with the decision.")]


def approve(id: str, comment: Comment = "", format: FormatOption = Format.TEXT) -> None:
    """Vote for what an approval covers now."""
    _decide(id, "approve", comment, format)


def reject(id: str, comment: Comment = "", format: FormatOption = Format.TEXT) -> None:
    """Vote against an approval."""
    _decide(id, "reject", comment, format)


def _decide(id: str, decision: str, comment: str, format: Format) -> None:
    with Server() as server:
        path = f"/v1/approvals/{quote(id, safe='')}"
        try:
            approval = server.get(path)
        except ServerRefused as refused:
            raise with_near_id(refused, server, "approval", id) from None
        body = {"decision": decision, "comment": comment, "subject": approval["subject"]}
        answer = server.post(path, body)
    if approval["summary"] and format is Format.TEXT:
        reason = approval["covers"].get("note", "")
        say(f"{approval['summary']}." + (f" Reason: {reason}" if reason else ""))
    print_verdict(answer, format)


def with_near_id(refused: ServerRefused, server: Server, kind: str, id: str) -> CommandFailed:
    """Return a refusal of an id with the open rows that were perhaps meant, or with the choices of the Case."""
    if refused.status not in (404, 422):
        return refused
    try:
        rows = server.rows(f"/v1/{kind}s", NEAR_ROWS, state="open")
    except CommandFailed:
        return refused
    if refused.status == 422:
        offered = [", ".join(row["choices"]) for row in rows if row["id"] == id]
        return CommandFailed(f"{refused} It offers: {offered[0]}.") if offered else refused
    about = [row["id"] for row in rows if id in _names(row)]
    near = f"did you mean `{about[0]}`, which is about {id}?" if len(about) == 1 else ""
    more = f"open ones about {id}: {', '.join(about)}." if len(about) > 1 else ""
    listed = f"`counterfoil {kind}s` lists the open ones."
    return CommandFailed(f"{refused} {near or more or did_you_mean(id, [row['id'] for row in rows], listed)}")


def _names(row: Mapping[str, Any]) -> set[str]:
    """Return the names by which a person may know the subject of an approval or a Case."""
    about = row.get("about") or {}
    names = {str(value) for value in about.values()} | {
        str(row.get(field) or "") for field in ("key", "name", "run")
    }
    return (names | {part.strip() for name in names for part in name.split(",")}) - {""}


def print_verdict(answer: dict[str, Any], format: Format) -> None:
    if format is Format.JSON:
        write_json(answer)
    else:
        say(f"{answer['id']}: {answer['verdict']}")


def send(
    system: str,
    file: Annotated[Path, typer.Argument(help="The file with the body.")],
    secret: Annotated[
        str | None,
        typer.Option(help="Where the signing secret is: env:NAME or file:PATH; never the secret itself."),
    ] = None,
    scheme: Annotated[str, typer.Option(help="The signature scheme; see docs/reference/signatures.md.")] = (
        "standard-webhooks-v1"
    ),
    header: Annotated[
        list[str] | None, typer.Option(help="An extra header, 'name: value' (repeatable).")
    ] = None,
    content_type: str = "application/json",
    format: FormatOption = Format.TEXT,
) -> None:
    """Send a webhook body to the server."""
    body = read_input(file)
    headers = {"content-type": content_type}
    for text in header or []:
        name, colon, value = text.partition(":")
        if not colon:
            raise CommandFailed(f"--header {text!r} is not of the form 'name: value'.")
        if not text.isascii() or not text.isprintable():
            raise CommandFailed(f"--header {text!r} has characters that no HTTP header may hold.")
        headers[name.strip().lower()] = value.strip()
    if secret is not None:
        try:
            # The same body is the same message, so that it is recognized when it is sent again.
            message = headers.get("webhook-id") or f"msg_{hashlib.sha256(body).hexdigest()[:16]}"
            headers |= signature.sign(scheme, _read_secret(secret), body, datetime.now(UTC), id=message)
        except Misconfigured as error:
            raise CommandFailed(str(error)) from error
    with Server() as server:
        unsigned = "" if secret is not None else UNSIGNED
        answer = server.post_raw(f"/v1/receipts/{quote(system, safe='')}", body, headers, unsigned)
    if format is Format.JSON:
        write_json(answer)
    else:
        say(f"receipt {answer['receipt']}: {answer['verdict']}{RECEIVED[answer['verdict']]}")


def _read_secret(reference: str) -> str:
    kind, _, where = reference.partition(":")
    if kind == "env":
        if where not in os.environ:
            raise CommandFailed(f"the environment variable {where} is not set.")
        return os.environ[where]
    if kind == "file":
        try:
            return Path(where).read_text("utf-8").strip()
        except OSError as error:
            raise CommandFailed(f"{where} cannot be read: {error.strerror}.") from error
        except UnicodeDecodeError:
            raise CommandFailed(f"{where} is not UTF-8 text, so it holds no signing secret.") from None
    raise CommandFailed("--secret must be env:NAME or file:PATH, so that no secret enters the shell history.")


def whoami(format: FormatOption = Format.TEXT) -> None:
    """Show the person whose token the commands of this folder use."""
    with Server() as server:
        me = server.get("/v1/me")
    if format is Format.JSON:
        write_json(me)
        return
    say(f"{me['name']} ({me['id']}): {', '.join(me['roles']) or 'no role'}")
    say(f"Legal entities: {'all' if me['entities'] is None else ', '.join(me['entities']) or 'none'}")
    say(f"Permissions: {', '.join(me['permissions']) or 'none'}")


COMMANDS: list[Callable[..., None]] = [whoami, runs, trace, approvals, approve, reject, send]
