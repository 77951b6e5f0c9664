"""Commands on the matches of a running server: counterfoils, unmatched items, and persons' decisions on them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any
from urllib.parse import quote

import typer

from counterfoil.cli.client import Server
from counterfoil.cli.exports import ExportOption, ListFormat, ListFormatOption, is_exported
from counterfoil.cli.operate import EntityOption, Limit, SortOption, Text, nothing_fits, require_word
from counterfoil.cli.output import (
    Format,
    FormatOption,
    format_legs,
    format_minute,
    say,
    write_json,
    write_rows,
    write_table,
)
from counterfoil.core.matching import FoilState

AsOfOption = Annotated[
    str | None, typer.Option(metavar="TIME", help="States as known at a time, such as 2026-11-30T18:00:00Z.")
]
EffectiveOption = Annotated[
    str | None, typer.Option(metavar="DATE", help="Only documents dated up to a day, such as 2026-11-30.")
]
RuleOption = Annotated[str | None, typer.Option(help="The reconciliation.")]
ItemArgument = Annotated[str, typer.Argument(help="The item's id; `counterfoil unmatched` lists it.")]
FoilArgument = Annotated[str, typer.Argument(help="The counterfoil's id; `counterfoil foils` lists it.")]
NoteOption = Annotated[str, typer.Option(help="The reason; stored with the decision.")]
HOUR_SECONDS = 3600
DAY_SECONDS = 24 * HOUR_SECONDS


def foils(
    foil: Annotated[str | None, typer.Argument(help="A counterfoil's id: both sides of this one.")] = None,
    state: Annotated[str | None, typer.Option("--state", "--status", help=", ".join(FoilState))] = None,
    key: Text = None,
    run: Text = None,
    rule: RuleOption = None,
    owner: Annotated[str | None, typer.Option(help="The owning role.")] = None,
    entity: EntityOption = None,
    as_of: AsOfOption = None,
    effective_by: EffectiveOption = None,
    sort: SortOption = None,
    limit: Limit = 200,
    format: ListFormatOption = ListFormat.TEXT,
    export: ExportOption = None,
) -> None:
    """List counterfoils with state and amount, or show one with both sides."""
    query = {"state": state, "key": key, "run": run, "rule": rule, "owner": owner, "entity": entity}
    if foil is not None:
        if any((*query.values(), as_of, effective_by)):
            raise typer.BadParameter("A counterfoil is named by its id alone: leave the filters out.")
        if export is not None or format not in (ListFormat.TEXT, ListFormat.JSON):
            raise typer.BadParameter("One counterfoil is no list: leave --export out, and csv and xlsx.")
        _one_foil(foil, format.printed)
        return
    require_word("state", state, FoilState)
    dates = {"as_of": as_of, "effective_by": effective_by}
    if is_exported("foils", format, export, **query, **dates):
        return
    with Server() as server:
        rows = server.rows("/v1/foils", limit, sort=sort, **query, **dates)
    _say_dates(as_of, effective_by, format.printed)
    write_rows(
        rows,
        format.printed,
        ["DOCUMENT", "CUSTOMER", "ASSERTED>", "OBSERVED>", "RESIDUAL>", "STATE", "RECONCILIATION", "DUE (UTC)", "REASON", "ID"],
        lambda f: [
            f["name"] or f["document"], f["customer"], format_legs(f["asserted"]), format_legs(f["observed"]),
            format_legs(f["residual"]), f["state"], f["reconciliation"], format_minute(f["due"]), f["reason"], f["id"],
        ],
        nothing_fits("counterfoil", "No counterfoil.", *query.values(), as_of, effective_by),
    )  # fmt: skip


def _one_foil(foil: str, format: Format) -> None:
    """Print a counterfoil with its documents, pairs and accepted differences."""
    with Server() as server:
        detail = server.get(f"/v1/foils/{quote(foil, safe='')}")
    if format is Format.JSON:
        write_json(detail)
        return
    say(f"{detail['customer']} {detail['name'] or detail['document']}: {detail['state']}".strip())
    say(detail["explanation"])
    say(f"Reconciliation {detail['reconciliation']}, key {detail['key']}, due {format_minute(detail['due'])}")
    for pair in detail["pairs"]:
        say(f"{pair['person']} paired {pair['name']} with it {format_minute(pair['at'])}: {pair['note']}")
    for waiver in detail["waivers"]:
        say(f"{waiver['person']} accepted a difference {format_minute(waiver['at'])}: {waiver['note']}")
    for approval in detail["approvals"]:
        say(f"Waits for {', '.join(approval['roles'])}: counterfoil approve {approval['id']}")
    versions = [(document, version) for document in detail["documents"] for version in document["versions"]]
    write_table(
        ["SYSTEM", "DOCUMENT", "CONTENT", "AMOUNT>", "VERSION>", "DATE", "KNOWN FROM (UTC)", "UNTIL (UTC)"],
        [
            (
                document["system"], document["name"], _content(version), format_legs(version["legs"]), version["number"],
                version["effective"], format_minute(version["known_from"]), format_minute(version["known_to"]),
            )
            for document, version in versions
        ],
        "",
    )  # fmt: skip


def _content(version: dict[str, Any]) -> str:
    if version["provisional"]:
        return "its call has no outcome yet"
    return "posted" if version["stands"] else "withdrawn"


def unmatched(
    system: Annotated[str | None, typer.Option(help="The system that shows the items.")] = None,
    rule: RuleOption = None,
    key: Text = None,
    owner: Annotated[str | None, typer.Option(help="The owning role.")] = None,
    entity: EntityOption = None,
    as_of: AsOfOption = None,
    effective_by: EffectiveOption = None,
    sort: SortOption = None,
    limit: Limit = 200,
    format: ListFormatOption = ListFormat.TEXT,
    export: ExportOption = None,
) -> None:
    """List documents that one system shows and no counterfoil accounts for."""
    query = {"system": system, "rule": rule, "key": key, "owner": owner, "entity": entity}
    dates = {"as_of": as_of, "effective_by": effective_by}
    if is_exported("unmatched", format, export, **query, **dates):
        return
    with Server() as server:
        rows = server.rows("/v1/unmatched", limit, sort=sort, **query, **dates)
    _say_dates(as_of, effective_by, format.printed)
    write_rows(
        rows,
        format.printed,
        ["DOCUMENT", "CUSTOMER", "AMOUNT>", "AGE>", "SYSTEM", "RECONCILIATION", "OWNER", "CASE", "ID"],
        lambda i: [
            i["name"] or i["document"], i["customer"], format_legs(i["amounts"]), _age(i["age_s"]), i["system"],
            i["reconciliation"], i["owner"], i["case"] or "", i["id"],
        ],
        nothing_fits(
            "item", "None. Documents that one system shows and no counterfoil accounts for are listed here.",
            *query.values(), as_of, effective_by,
        ),
    )  # fmt: skip


def _say_dates(as_of: str | None, effective_by: str | None, format: Format) -> None:
    """Print the two dates of a list of the past."""
    if format is Format.TEXT and (as_of or effective_by):
        day = f", documents dated up to {effective_by}" if effective_by else ""
        say(f"As known {f'at {as_of}' if as_of else 'now'}{day}:")


def _age(seconds: int) -> str:
    if seconds >= 2 * DAY_SECONDS:
        return f"{seconds // DAY_SECONDS} d"
    return f"{seconds // HOUR_SECONDS} h" if seconds >= HOUR_SECONDS else f"{seconds // 60} min"


def suggest(item: ItemArgument, format: FormatOption = Format.TEXT) -> None:
    """List the counterfoils that an unmatched item may answer, the likeliest first."""
    with Server() as server:
        rows = server.get(f"/v1/unmatched/{quote(item, safe='')}/suggestions")["suggestions"]
    write_rows(
        rows,
        format,
        ["SCORE>", "DOCUMENT", "CUSTOMER", "RESIDUAL>", "STATE", "REASONS", "ID"],
        lambda s: [
            s["score"], s["foil"]["name"] or s["foil"]["document"], s["foil"]["customer"], format_legs(s["foil"]["residual"]),
            s["foil"]["state"], ", ".join(s["reasons"]), s["foil"]["id"],
        ],
        "No counterfoil of this reconciliation is likely. `counterfoil foils` lists all.",
    )  # fmt: skip


def pair(
    items: Annotated[
        list[str], typer.Argument(help="The ids of the items; without --with, one item and one counterfoil.")
    ],
    note: NoteOption,
    foils: Annotated[
        list[str] | None, typer.Option("--with", help="A counterfoil's id; repeat it for several.")
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Pair unmatched items with counterfoils, whatever their keys."""
    if not foils and len(items) != 2:
        raise typer.BadParameter("Name one item and one counterfoil, or the counterfoils by --with.")
    chosen, answered = (items, foils) if foils else (items[:1], items[1:])
    if len(chosen) == len(answered) == 1:
        path = f"/v1/unmatched/{quote(chosen[0], safe='')}/pair"
        _decide(path, {"foil": answered[0], "note": note}, "paired", format)
    else:
        _decide("/v1/pairs", {"items": chosen, "foils": answered, "note": note}, "paired", format)


def unpair(
    item: ItemArgument, foil: FoilArgument, note: NoteOption, format: FormatOption = Format.TEXT
) -> None:
    """End a pair that a person made."""
    path = f"/v1/unmatched/{quote(item, safe='')}/unpair"
    _decide(path, {"foil": foil, "note": note}, "the pair has ended", format)


def waive(foil: FoilArgument, note: NoteOption, format: FormatOption = Format.TEXT) -> None:
    """Accept exactly the difference that a counterfoil has now."""
    _decide(f"/v1/foils/{quote(foil, safe='')}/waive", {"note": note}, "the difference is accepted", format)


def _decide(path: str, body: dict[str, Any], done: str, format: Format) -> None:
    with Server() as server:
        answer = server.post(path, body)
    document = answer["id"] if "id" in answer else ", ".join(answer["items"])
    if format is Format.JSON:
        write_json(answer)
    elif answer["verdict"] == "done":
        say(f"{document}: {done}")
    else:
        say(f"{document}: requested. Another person must agree: counterfoil approve {answer['approval']}")


COMMANDS: list[Callable[..., None]] = [suggest, foils, unmatched, pair, unpair, waive]
