"""Activates an edit of the demonstration company's folder: the administrator plans and applies, others approve.

So an edit of the example takes effect at the next start.
"""

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
MAX_NAMED_DOCUMENTS = 6
"""Changed documents that the message names."""
CHANGES_EXIT_CODE = 1
"""Exit code of `counterfoil plan` if something would change."""


async def bring_in(
    folder: Path, url: str, work: Path, persons: Mapping[str, Member], say: Callable[[str], None]
) -> None:
    """Activate the folder if it differs from the active Release. A refusal is reported, and the folder left."""
    admin = persons["admin"]
    file = work / "change.plan"
    plan = ("plan", str(folder), "--days", "0", "--out", str(file), "--format", "json")
    code, output = await _run_command(url, admin, *plan)
    if code != CHANGES_EXIT_CODE:
        if code:
            say(f"{folder} was not activated: {output.strip()}")
        return
    planned: dict[str, Any] = json.loads(output)
    for approval in planned["approvals"]:
        if approval["state"] == "open":
            await _approve(url, approval, planned["plan"], persons)
    reason = f"{folder.name} was edited"
    code, output = await _run_command(url, admin, "apply", str(file), "--reason", reason, "--format", "json")
    if code:
        say(f"{folder} was not activated: {output.strip()}")
        return
    changed = [f"{change['kind']} {change['name']}" for change in planned["plan"]["differences"]]
    more = [f"{len(changed) - MAX_NAMED_DOCUMENTS} more"] if len(changed) > MAX_NAMED_DOCUMENTS else []
    names = ", ".join([*changed[:MAX_NAMED_DOCUMENTS], *more]) or "no change in meaning"
    say(f"the edited folder is now active, Release {planned['plan']['revision'][:12]}: {names}")


async def _approve(
    url: str, approval: dict[str, Any], plan: dict[str, Any], persons: Mapping[str, Member]
) -> None:
    matches = (required["could"] for required in plan["approvals"] if required["name"] == approval["path"])
    could: list[str] = next(matches, [])
    for id_ in could[: approval["quorum"]]:
        if id_ in persons:
            async with Operator(url, persons[id_].token) as person:
                try:
                    await person.decide(approval["id"], True, "an edit of the example")
                except Declined:
                    continue  # `apply` reports the missing approval


async def _run_command(url: str, person: Member, *words: str) -> tuple[int, str]:
    """Run one command as this person. Return its exit code and its output, with standard error if it failed."""
    own = {"COUNTERFOIL_URL": url, "COUNTERFOIL_TOKEN": person.token}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", COMMAND, *words,
        env={**os.environ, **own}, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    out, err = await process.communicate()
    code = process.returncode or 0
    return code, (out if code <= CHANGES_EXIT_CODE else out + err).decode(errors="replace")
