"""A plan in words, for people at a terminal."""

from __future__ import annotations

from typing import Any

import msgspec

from counterfoil.change import stages
from counterfoil.cli.output import minute, say

DETAILS = 12
"""Details of one document that are shown."""


def show(answer: dict[str, Any], places: dict[tuple[str, str], str]) -> None:
    """What `POST /v1/plans` answered. `places`: where the documents stand, by kind and name."""
    plan = answer["plan"]
    if plan is None:
        say("Nothing changes: this is what is in force.")
        return
    say(f"plan {plan['digest'][:12]}: release {plan['base'][:12]} -> {plan['revision'][:12]}"
        + (" (was in force before)" if plan["rollback"] else ""))  # fmt: skip
    say("")
    show_differences(plan["differences"], places)
    _runs(plan["runs"])
    _impact(plan["impact"])
    for one in plan["calendar"]:
        say(f"\n{one['effect'].upper()}: {one['message']} (calendar {one['calendar']})")
    _approvals(plan, answer["approvals"])
    say("\nWhat apply does:")
    for number, stage in enumerate(msgspec.convert(plan["stages"], list[stages.Stage]), start=1):
        say(f"  {number}. {stages.explain(stage)}")
    for note in plan["notes"]:
        say(f"\nnote: {note}")


def show_differences(differences: list[dict[str, Any]], places: dict[tuple[str, str], str]) -> None:
    if not differences:
        say("Nothing means anything else; only the way it is written differs.")
    for one in differences:
        sign = {"added": "+", "removed": "-", "changed": "~"}[one["change"]]
        place = places.get((one["kind"], one["name"]), "")
        say(f"{sign} {one['kind']} {one['name']}  [{', '.join(one['classes'])}]"
            + (" BREAKING" if one["breaking"] else "") + (f"  {place}" if place else ""))  # fmt: skip
        for detail in one["details"][:DETAILS]:
            say(f"    {detail['message']}" + (" BREAKING" if detail["breaking"] else ""))
        if len(one["details"]) > DETAILS:
            say(f"    and {len(one['details']) - DETAILS} more")
        for row in one["rows"][:DETAILS]:
            say(
                f"    row {'/'.join(row['key'])} {row['change']}: {row['old']} -> {row['new']} ({row['standing']})"
            )
        if len(one["rows"]) > DETAILS:
            say(f"    and {len(one['rows']) - DETAILS} more rows")
        for user in [user for user in one["affects"] if user["broken"]]:
            say(f"    breaks {user['kind']} {user['name']}: it {user['how']}"
                + (", and changes too" if user["follows"] else ""))  # fmt: skip


def _runs(groups: list[dict[str, Any]]) -> None:
    say("\nRuns on their way:" if groups else "\nNo Run is on its way.")
    for group in groups:
        why = f": {group['why']}" if group["why"] else ""
        say(f"  {group['count']:>6} {group['workflow']} {group['verdict']}{why}")


def _impact(impact: dict[str, Any] | None) -> None:
    if impact is None:
        say("\nNo traffic was replayed.")
        return
    counts = impact["counts"]
    say(f"\nReplayed {counts['receipts']} deliveries: {counts['same']} the same, {counts['changed']} changed, "
        f"{counts['only_old']} only before, {counts['only_new']} only after, "
        f"{counts['not_comparable']} not comparable")  # fmt: skip
    for part in ("events", "effects", "foils"):
        for one in impact[part]:
            fields = ", ".join(one["fields"])
            say(f"  {part[:-1]} {one['name']}: {one['changed']} changed, {one['only_old']} gone, {one['only_new']} new"
                + (f" ({fields})" if fields else ""))  # fmt: skip
    for one in impact["approvals"]:
        say(
            f"  approval {one['policy']}: {one['old'] or 'none'} -> {one['new'] or 'none'}, {one['count']} times"
        )
    for one in (*impact["postings"], *impact["totals"]):
        what = one.get("operation") or one.get("source")
        where = one.get("period") or one.get("legal_entity") or ""
        say(f"  money {what} {one['leg']} {where}: {one['old']} -> {one['new']} minor units {one['currency']} "
            f"({one['delta']:+})")  # fmt: skip


def _approvals(plan: dict[str, Any], given: list[dict[str, Any]]) -> None:
    if not plan["approvals"]:
        say("\nIt waits for no approval.")
        return
    say(f"\nApprovals that `{plan['policy']}` asks for, until {minute(plan['expires'])} UTC, of somebody else than "
        f"{plan['requester']}:")  # fmt: skip
    states = {(one["path"], one["state"] == "open"): one for one in given}
    for asked in plan["approvals"]:
        held = states.get((asked["name"], True)) or states.get((asked["name"], False))
        state = f" {held['state']} {held['id']}" if held else ""
        who = f" (could be: {', '.join(asked['could'])})" if asked["could"] else " (nobody could)"
        say(f"  {asked['quorum']} of {' or '.join(asked['roles'])}{who}:{state}")
        for because in asked["because"]:
            say(f"      {because}")
