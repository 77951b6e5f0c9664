"""Commands on Cases of a running server: lists, one Case with its comments, and decisions."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import datetime
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server, ServerRefused
from counterfoil.cli.exports import ExportOption, ListFormat, ListFormatOption, is_exported
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.operate import (
    EntityOption,
    Limit,
    SortOption,
    Text,
    nothing_fits,
    print_verdict,
    require_word,
    with_near_id,
)
from counterfoil.cli.output import (
    Format,
    FormatOption,
    format_minute,
    format_money,
    say,
    write_json,
    write_rows,
)
from counterfoil.core.case import CaseState, Choice
from counterfoil.core.case_reasons import CATALOGUE
from counterfoil.core.plural import counted

_HOUR_SECONDS = 3600
MAX_BULK_ROWS = 200
"""Cases that one request resolves."""


def cases(
    state: Annotated[str, typer.Option("--state", "--status", help="open, resolved or all.")] = "open",
    owner: Annotated[str | None, typer.Option(help="The owning role.")] = None,
    run: Text = None,
    entity: EntityOption = None,
    reason: Annotated[str | None, typer.Option(help="The reason, such as refused.")] = None,
    cause: Annotated[str | None, typer.Option(help="The cause, as --by-cause lists it.")] = None,
    assignee: Annotated[
        str | None, typer.Option(help="The person who works on them; none: no person.")
    ] = None,
    tag: Text = None,
    snoozed: Annotated[str, typer.Option(help="no, yes or all.")] = "no",
    by_cause: Annotated[bool, typer.Option(help="One row for each cause, with number and money.")] = False,
    sort: SortOption = None,
    limit: Limit = 200,
    format: ListFormatOption = ListFormat.TEXT,
    export: ExportOption = None,
) -> None:
    """List Cases with owner and deadline, or grouped by cause."""
    require_word("state", state, (*CaseState, "all"))
    require_word("snoozed", snoozed, ("no", "yes", "all"))
    require_word("reason", reason, CATALOGUE)
    query = {"state": None if state == "all" else state, "owner": owner, "entity": entity, "reason": reason}
    query |= {"cause": cause, "assignee": assignee, "tag": tag, "snoozed": snoozed}
    empty = nothing_fits(
        "Case", "No Case is open." if state == "open" else "No Case.", owner, run, entity, reason, cause,
        assignee, tag,
    )  # fmt: skip
    if by_cause and run is not None:
        raise CommandFailed(
            "--by-cause and --run do not go together: the Cases of a Run have several causes."
        )
    if by_cause and (export is not None or format not in (ListFormat.TEXT, ListFormat.JSON)):
        raise CommandFailed("--by-cause has no file: export the Cases, which have a column with their cause.")
    if is_exported("cases", format, export, **query, run=run):
        return
    with Server() as server:
        if by_cause:
            _write_causes(server.get("/v1/cases/causes", **query), format.printed, empty)
            return
        rows = server.rows("/v1/cases", limit, sort=sort, **query, run=run)
    write_rows(
        rows,
        format.printed,
        ["DOCUMENT", "CUSTOMER", "REASON", "EXPOSURE>", "TIMES>", "OWNER", "DEADLINE (UTC)", "CHOICES", "WHAT HAPPENED", "ID"],
        lambda c: [
            c["name"] or c["key"], c["customer"], c["reason"], format_money(c["exposure"]), c["count"],
            ", ".join(filter(None, (c["owner"], c["assignee_name"]))), format_minute(c["deadline"]), ", ".join(c["choices"]), c["summary"], c["id"],
        ],
        empty,
    )  # fmt: skip


def _write_causes(answer: dict[str, Any], format: Format, empty: str) -> None:
    write_rows(
        answer["items"],
        format,
        ["WHAT HAPPENED", "ABOUT", "CASES>", "EXPOSURE>", "OLDEST", "OWNER", "CAUSE"],
        lambda c: [
            c["title"], c["about"], c["number"], format_money(c["exposure"]), f"{c['age_s'] // _HOUR_SECONDS} h",
            ", ".join(c["owners"]), c["cause"],
        ],
        empty,
    )  # fmt: skip
    if format is Format.TEXT and answer["items"]:
        money = format_money(answer["exposure"])
        say(f"{counted(answer['number'], 'Case')}{f', {money}' if money else ''}")


def case(
    id: str,
    take: Annotated[bool, typer.Option(help="Work on it yourself.")] = False,
    assign: Annotated[str | None, typer.Option(help="The id of a person; none: no person.")] = None,
    comment: Annotated[str | None, typer.Option(help="Kept with the Case.")] = None,
    tag: Annotated[list[str] | None, typer.Option(help="A tag to add; may be repeated.")] = None,
    untag: Annotated[list[str] | None, typer.Option(help="A tag to remove; may be repeated.")] = None,
    snooze: Annotated[
        str | None, typer.Option(help="A time with offset, such as 2026-12-01T18:00Z; none: no longer.")
    ] = None,
    reason: Annotated[str, typer.Option(help="What a snoozed Case waits for.")] = "",
    format: FormatOption = Format.TEXT,
) -> None:
    """Show one Case, or take, assign, comment on, tag or snooze it."""
    if take and assign is not None:
        raise CommandFailed("--take and --assign do not go together: --take assigns the Case to you.")
    if reason and snooze is None:
        raise CommandFailed("--reason says what a snoozed Case waits for: name the time with --snooze.")
    until = _time_of(snooze)
    path = f"/v1/cases/{quote(id, safe='')}"
    with Server() as server:
        try:
            about = server.get(path)
        except ServerRefused as refused:
            raise with_near_id(refused, server, "case", id) from None
        if take:
            me = server.get("/v1/me")["id"]
            server.post(f"{path}/assignment", {"assignee": me, "former": ""})
        if assign is not None:
            assignee = "" if assign == "none" else assign
            server.post(f"{path}/assignment", {"assignee": assignee, "former": about["assignee"]})
        if tag or untag:
            server.post(f"{path}/tags", {"add": tag or [], "remove": untag or []})
        if snooze is not None:
            server.post(f"{path}/snooze", {"until": until, "reason": reason})
        if comment is not None:
            server.post(f"{path}/comments", {"text": comment})
        row = server.get(path) | {"comments": server.get(f"{path}/comments")["items"]}
    if format is Format.JSON:
        write_json(row)
    else:
        for line in _lines(row):
            say(line)


def _time_of(text: str | None) -> str | None:
    """Return a time as the server reads it; None ends a snooze. Raises CommandFailed."""
    if text is None or text == "none":
        return None
    try:
        at = datetime.fromisoformat(text)
    except ValueError:
        raise CommandFailed(f"--snooze {text} is no time; write 2026-12-01T18:00Z.") from None
    if at.tzinfo is None:
        raise CommandFailed(f"--snooze {text} has no offset; write {text}Z for UTC.")
    return at.isoformat()


def _lines(row: dict[str, Any]) -> Iterator[str]:
    """Yield what a person reads of a Case."""
    about = ", ".join(text for text in (row["customer"], row["name"] or row["key"] or "") if text)
    money = format_money(row["exposure"])
    yield ": ".join(text for text in (about, row["summary"]) if text)
    yield f"{row['state']}, owner {row['owner']}, works on it: {row['assignee_name'] or 'no one'}"
    if money:
        yield f"at stake {money}"
    if row["state"] == CaseState.OPEN:
        yield f"deadline {format_minute(row['deadline'])} UTC"
        yield f"next: {row['next_action']}"
    else:
        yield f"resolved by {row['resolved_by']}: {row['choice'] or ''} {row['note']}"
    if row["tags"]:
        yield f"tags {', '.join(row['tags'])}"
    if row["state"] == CaseState.OPEN and row["snoozed_until"]:
        yield f"snoozed until {format_minute(row['snoozed_until'])} UTC: {row['snooze_reason']}"
    for comment in row["comments"]:
        yield f"{format_minute(comment['at'])} {comment['name']}: {comment['text']}"


def resolve(
    choice: Annotated[str, typer.Option(help="retry, continue, undo, close, waive or dismiss.")],
    note: Annotated[str, typer.Option(help="The reason, for later readers of the Case.")],
    id: Annotated[str | None, typer.Argument()] = None,
    cause: Annotated[
        str | None, typer.Option(help="All open Cases of a cause, as `cases --by-cause` lists it.")
    ] = None,
    expect: Annotated[
        int | None, typer.Option(help="With --cause: their number. Another one changes nothing.")
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Resolve a Case with one of its choices, or all Cases of one cause."""
    require_word("choice", choice, Choice)
    if (id is None) == (cause is None):
        raise CommandFailed("name one Case, or the cause of several with --cause.")
    if id is None:
        _resolve_cause(cause or "", choice, note, expect, format)
        return
    path = f"/v1/cases/{quote(id, safe='')}"
    with Server() as server:
        about = server.get(path) if choice == Choice.RETRY and format is Format.TEXT else {}
        try:
            answer = server.post(path, {"choice": choice, "note": note})
        except ServerRefused as refused:
            raise with_near_id(refused, server, "case", id) from None
    if about.get("release_note"):
        say(f"{about['release_note']}.")
    print_verdict(answer, format)


def _resolve_cause(cause: str, choice: str, note: str, expect: int | None, format: Format) -> None:
    """Resolve the open Cases of a cause, at most as many as one request takes. Raises CommandFailed."""
    with Server() as server:
        groups = server.get("/v1/cases/causes", cause=cause)
        number, money = groups["number"], format_money(groups["exposure"])
        text = f"{counted(number, 'open Case')} of this cause{f', {money}' if money else ''}"
        if not number:
            raise CommandFailed(
                f"no open Case has the cause {cause}; `counterfoil cases --by-cause` lists them."
            )
        if number != expect:
            raise CommandFailed(f"{text}. Say so with --expect {number}, and they are resolved.")
        rows = server.rows("/v1/cases", MAX_BULK_ROWS, cause=cause, state="open")
        ids = [row["id"] for row in rows]
        answer = server.post("/v1/cases/resolutions", {"ids": ids, "choice": choice, "note": note})
    if format is Format.JSON:
        write_json(answer)
        return
    say(
        f"{counted(answer['done'], 'Case')} resolved"
        + (f", {answer['refused']} refused" if answer["refused"] else "")
    )
    for line in answer["items"]:
        if line["verdict"] != "resolved":
            say(f"{line['id']} {line['verdict']}: {line['detail']}")


COMMANDS: list[Callable[..., None]] = [cases, case, resolve]
