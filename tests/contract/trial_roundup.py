"""Samples of the conformance suite for the Roundup connector: on the demonstration's help desk."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from pathlib import Path
from urllib.parse import quote

import httpx2

from counterfoil.connectors import roundup
from counterfoil.connectors.conformance import OperationSample, Samples
from counterfoil.connectors.sdk import Connector, Request, SystemConfig
from counterfoil.demo.desk.client import DeskClient
from tests.contract.desk_process import Desk, running_desk


def config_of(desk: Desk) -> SystemConfig:
    password, hook_secret = desk.seed["users"]["orchestrator"], desk.seed["hook_secret"]
    secrets = {"username": "orchestrator", "password": password, "hook_secret": hook_secret}
    return SystemConfig("desk", desk.url, settings={"loopback": True}, secrets=secrets)


@dataclass(frozen=True)
class DeskTrial:
    desk: Desk
    people: DeskClient

    async def new_credit(self) -> str:
        return await self.people.request_credit(
            "agent", "Outage", "cus_1", "in_1", "10.00", "EUR", "sla_breach", "INC-1", date(2026, 3, 28)
        )

    async def reply(self) -> bytes:
        fields = {"status": "credit-posted", "erp_document": "CN-1", "credit_state": "posted"}
        ticket = {"ticket": await self.new_credit(), "message": "Your credit is posted.", "fields": fields}
        return json.dumps(ticket).encode()

    async def wrong_reply(self) -> bytes:
        return json.dumps({"ticket": "999999", "message": "This ticket does not exist."}).encode()

    async def new_ticket(self) -> bytes:
        fields = {"priority": "bug", "account_ref": "cus_1"}
        return json.dumps({"title": "Unmatched memo", "message": "Please look.", "fields": fields}).encode()

    async def wrong_ticket(self) -> bytes:
        return json.dumps({"title": "Odd", "fields": {"status": "no such status"}}).encode()

    async def count(self, path: str) -> int:
        auth = ("orchestrator", self.desk.seed["users"]["orchestrator"])
        async with httpx2.AsyncClient(trust_env=False, auth=auth) as http:
            answer = await http.get(f"{self.desk.url}/rest/data/{path}")
        return len(answer.json()["data"]["collection"])

    async def messages(self, request: Request) -> int:
        return await self.count(f"msg?messageid={quote(request.key)}")

    async def tickets(self, request: Request) -> int:
        return await self.count(f"issue?external_ref:={request.key}")

    async def touch(self) -> None:
        await self.people.update("1", "agent2", title=f"Touched at {datetime.now(UTC).isoformat()}")

    async def callback(self) -> tuple[dict[str, str], bytes, datetime]:
        await self.touch()
        headers, body = self.desk.hook.wait()
        return headers, body, datetime.now(UTC)


@asynccontextmanager
async def roundup_desk(folder: Path) -> AsyncIterator[tuple[Connector, Samples]]:
    with running_desk(folder / "desk") as desk:
        async with DeskClient.prepared(desk.folder) as people:
            trial, config = DeskTrial(desk, people), config_of(desk)
            operations = {
                "support.ticket.reply": OperationSample(
                    trial.reply, trial.wrong_reply, ("ticket", "message_id"), trial.messages
                ),
                "support.ticket.create": OperationSample(
                    trial.new_ticket, trial.wrong_ticket, ("ticket",), trial.tickets
                ),
            }
            samples = Samples(
                roundup.connect,
                config,
                operations,
                reads=[
                    ("support.ticket.get", {"id": "1"}),
                    ("support.claim.get", {"invoice_ref": "in_1", "status": ["credit-requested"]}),
                ],
                delivery=await trial.callback(),
                signed="x-hub-signature-256",
                touch=trial.touch,
            )
            yield roundup.connect(config), samples
