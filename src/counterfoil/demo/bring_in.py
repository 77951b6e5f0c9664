"""A change of the demonstration company's folder, brought into force as its people would: planned by the administrator,
approved by those who may, applied. So an edit of the example counts from the next start on."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from counterfoil.demo.operators import Declined, Operator
from counterfoil.demo.people import Member

COMMAND = "from counterfoil.cli.main import main; main()"
SHOWN = 6
"""Changed documents that are named."""
CHANGED = 1
"""The exit code of `counterfoil plan` where something would change."""


async def bring_in(
    folder: Path, url: str, work: Path, persons: Mapping[str, Member], say: Callable[[str], None]
) -> None:
    """Put the folder in force where it differs from what is. What stands in the way is said and left."""
    admin = persons["admin"]
    file = work / "change.plan"
    code, told = await _type(
        url, admin, "plan", str(folder), "--days", "0", "--out", str(file), "--format", "json"
    )
    if code != CHANGED:
        if code:
            say(f"{folder} is not brought into force: {told.strip()}")
        return
    planned: dict[str, Any] = json.loads(told)
    for approval in planned["approvals"]:
        if approval["state"] == "open":
            await _approve(url, approval, planned["plan"], persons)
    reason = f"{folder.name} was edited"
    code, told = await _type(url, admin, "apply", str(file), "--reason", reason, "--format", "json")
    if code:
        say(f"{folder} is not brought into force: {told.strip()}")
        return
    changed = [f"{one['kind']} {one['name']}" for one in planned["plan"]["differences"]]
    more = [f"{len(changed) - SHOWN} more"] if len(changed) > SHOWN else []
    names = ", ".join([*changed[:SHOWN], *more]) or "words"
    say(f"the edited folder is in force now, release {planned['plan']['revision'][:12]}: {names}")


async def _approve(
    url: str, approval: dict[str, Any], plan: dict[str, Any], persons: Mapping[str, Member]
) -> None:
    could: list[str] = next(
        (one["could"] for one in plan["approvals"] if one["name"] == approval["path"]), []
    )
    for id_ in could[: approval["quorum"]]:
        if id_ in persons:
            async with Operator(url, persons[id_].token) as person:
                try:
                    await person.decide(approval["id"], True, "an edit of the example")
                except Declined:
                    continue  # what is missing is said when it is applied


async def _type(url: str, person: Member, *words: str) -> tuple[int, str]:
    """One command of the command line: its exit code, and its output, or what it complained of."""
    own = {"COUNTERFOIL_URL": url, "COUNTERFOIL_TOKEN": person.token}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, *words,
        env={**os.environ, **own}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    code = process.returncode or 0
    return code, (out if code <= CHANGED else out + err).decode(errors="replace")
