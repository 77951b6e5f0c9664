"""People of the demonstration as its output names them: they sign in everywhere and fill in the printed form."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import httpx2

from counterfoil.demo.operators import Operator

SYSTEMS = ("Counterfoil", "help desk", "ERP")
SECONDS = 120.0
"""Generous end of a wait."""


@dataclass(frozen=True)
class Printed:
    """One row of the printed table of persons."""

    name: str
    email: str
    user: str
    password: str


def persons(output: str) -> list[Printed]:
    """Return the rows of the table of persons, from the output after its heading."""
    rows = [
        [cell.strip() for cell in line.strip("│").split("│")]
        for line in output[output.rindex("┃ person") :].splitlines()
        if line.startswith("│")
    ]
    return [Printed(name, email, user, password) for name, _, _, email, user, password in rows]


def addresses(output: str) -> dict[str, str]:
    """Return the printed address of each system."""
    return dict(re.findall(rf"^  ({'|'.join(SYSTEMS)}) +(http\S+)  with", output, re.M))


def form_address(output: str) -> str:
    return re.findall(r"press Submit New Entry: (http\S+)", output)[-1]


async def sign_in(system: str, url: str, person: Printed) -> bool:
    """Sign in as a browser or the ERP's own client does, and return whether the system accepted it."""
    async with _browser(url) as browser:
        match system:
            case "Counterfoil":
                form = {"email": person.email, "password": person.password, "next": "/"}
                await browser.post("/sign-in", data=form)
                return (await browser.get("/")).status_code == 200
            case "help desk":
                return "Logout" in await _sign_in_desk(browser, url, person)
            case _:
                words = [person.user, {"password": person.password}, "en"]
                call = {"id": 1, "method": "common.db.login", "params": words}
                answer = json.loads((await browser.post("/erp/rpc/", json=call)).content)
                return bool(answer.get("result"))


async def request_printed(output: str, person: Printed) -> str:
    """Open the printed form of the help desk, submit it unchanged, and return the new ticket's number."""
    url = form_address(output)
    async with _browser(url) as browser:
        await _sign_in_desk(browser, addresses(output)["help desk"], person)
        page = _Form()
        page.feed((await browser.get(url)).text)
        answer = await browser.post(url.split("?")[0], data=page.fields)
        ticket = re.search(r"/issue(\d+)\?", answer.headers["location"])
        assert ticket, answer.text
        return ticket.group(1)


async def approve(url: str, ticket: str, token: str, admin: Operator) -> str:
    """Wait for the approval of a ticket's credit, approve it, and return the Run's final state."""
    run: dict[str, str] = {}

    async def approval() -> str | None:
        events = await admin.all("events", type="support.credit_requested.v1")
        keys = [event["data"]["credit_id"] for event in events if event["data"]["ticket"] == ticket]
        for row in await admin.all("runs", key=keys[0]) if keys else []:
            run.update(id=row["id"])
            for waiting in await admin.all("approvals", run=row["id"], state="open"):
                return str(waiting["id"])
        return None

    async def end() -> str | None:
        row = (await admin.get(f"runs/{run['id']}"))["run"]
        return str(row["state"]) if row["status"] == "done" else None

    id_ = await _until(approval)
    async with Operator(url, token) as person:
        await person.decide(id_, True, "a slow week, agreed")
    return await _until(end)


async def _until(look: Callable[[], Awaitable[str | None]]) -> str:
    async with asyncio.timeout(SECONDS):
        while (value := await look()) is None:
            await asyncio.sleep(0.2)
        return value


def _browser(url: str) -> httpx2.AsyncClient:
    place = urlsplit(url)
    origin = f"{place.scheme}://{place.netloc}"
    headers = {"Origin": origin, "Referer": origin + "/"}
    return httpx2.AsyncClient(base_url=origin, trust_env=False, timeout=60, headers=headers)


async def _sign_in_desk(browser: httpx2.AsyncClient, url: str, person: Printed) -> str:
    form = {
        "@action": "login", "__came_from": url, "__login_name": person.user, "__login_password": person.password,
    }  # fmt: skip
    await browser.post(url, data=form, headers={"Referer": url})
    return (await browser.get(url)).text


class _Form(HTMLParser):
    """Fields of the page's largest form with the values that a browser would send."""

    def __init__(self) -> None:
        super().__init__()
        self.fields: dict[str, str] = {}
        self._inside = False
        self._select = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        name, value = values.get("name") or "", values.get("value") or ""
        if tag == "form":
            self._inside = values.get("name") == "itemSynopsis"
        elif not self._inside:
            return
        elif tag == "select":
            self._select = name
        elif tag == "option" and "selected" in values:
            self.fields[self._select] = value
        elif tag == "textarea" or (tag == "input" and values.get("type") not in ("button", "file")):
            self.fields[name] = value

    def handle_endtag(self, tag: str) -> None:
        if tag == "form":
            self._inside = False


def token_of(home: Path, person: str) -> str:
    members = json.loads((home / "persons.json").read_bytes())
    return next(str(member["token"]) for member in members if member["id"] == person)
