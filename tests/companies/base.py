"""The parts that companies under test share: the failure policy, the common documents, persons, a server.

A company is a text of governance documents. Long texts are YAML files in this folder; short ones are in the module that
runs them. The failure policy is written once, here, and each company names only the rows in which it differs.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import tempfile
from collections.abc import AsyncIterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import uvicorn

from counterfoil.core.finding import errors
from counterfoil.model import Model, read
from counterfoil.web.http import server
from tests.source import ROOT

HERE = Path(__file__).parent
ACME = ROOT / "examples" / "acme"
SEPARATOR = "---\n"
FAILURE = {
    "transient": "retry",
    "throttled": "retry",
    "conflict": "retry",
    "invalid": "park",
    "warning": "park",
    "period_closed": "park",
    "not_found": "park",
    "unauthorized": "park",
    "already_done": "park",
    "refused": "park",
    "unknown": "park",
    "timeout": "park",
}
"""Reactions that a failure policy must state: retry what may pass, ask a person about the rest."""


def failure_policy(name: str = "careful", **rows: str) -> str:
    """Build the text of a failure policy. `rows` replace or add reactions and settings, as YAML."""
    lines = "".join(f"  {row}: {value}\n" for row, value in (FAILURE | rows).items())
    return f"kind: policy\nname: {name}\nfailure:\n{lines}"


COMPLETE_POLICY = failure_policy(
    already_done="continue", failed="park", stale="park", rejected="park", expired="park", accepted="continue"
)
"""A policy that also states what follows from checks, approvals and jobs."""


def text_of(name: str) -> str:
    """Return the text of the YAML file with this name in this folder."""
    return (HERE / f"{name}.yaml").read_text("utf-8")


def documents(*texts: str) -> str:
    """Join texts of governance documents into one."""
    return SEPARATOR.join(text if text.endswith("\n") else f"{text}\n" for text in texts)


def edited(text: str, *edits: tuple[str, str]) -> str:
    """Return a text with each `old` replaced by its `new`. Raise AssertionError if one does not occur."""
    for old, new in edits:
        assert old in text, f"the company does not contain {old!r}"
        text = text.replace(old, new)
    return text


def write(folder: Path, text: str, name: str = "company.yaml") -> Path:
    """Write a company into a governance folder, which is made if needed. Return the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_text(text, "utf-8")
    return folder


def checked(folder: Path) -> Model:
    """Read a governance folder. Raise AssertionError if `check` finds an error in it."""
    model, findings = read(folder)
    assert [str(finding) for finding in errors(findings)] == []
    return model


@cache
def acme_model() -> Model:
    """Return the model of the example company, which is read once in a process: nothing changes it."""
    return checked(ACME)


def model_in(folder: Path, text: str) -> Model:
    """Write a company into a governance folder and read it, as `checked` does."""
    return checked(write(folder, text))


def model_of(text: str) -> Model:
    """Return the model of a company's text, as `checked` does."""
    with tempfile.TemporaryDirectory() as folder:
        return model_in(Path(folder), text)


def write_people(
    file: Path, tokens: Mapping[str, str], roles: Mapping[str, Sequence[str]], domain: str = "example.com"
) -> None:
    """Write the people file: persons with their roles, each with the hash of a bearer token."""
    people = [
        {
            "id": id_,
            "name": id_.title(),
            "email": f"{id_}@{domain}",
            "roles": list(of),
            "token_sha256": hashlib.sha256(tokens[id_].encode()).hexdigest(),
        }
        for id_, of in roles.items()
    ]
    file.write_text(json.dumps(people))


@contextlib.asynccontextmanager
async def listening(asgi: Any, port: int = 0) -> AsyncIterator[str]:
    """Serve an ASGI application on 127.0.0.1 and yield its URL. Port 0 is a free port."""
    sock = server.listen("127.0.0.1", port)
    process = uvicorn.Server(server.config(asgi))
    process.capture_signals = contextlib.nullcontext  # type: ignore[method-assign, assignment]
    task = asyncio.create_task(process.serve(sockets=[sock]))
    try:
        while not process.started:
            assert not task.done(), "the server did not start"
            await asyncio.sleep(0.01)
        yield f"http://127.0.0.1:{sock.getsockname()[1]}"
    finally:
        process.should_exit = True
        await task
        with contextlib.suppress(OSError):
            sock.close()
