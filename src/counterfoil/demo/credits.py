"""Service credits of the story: an agent requests one in the help desk, persons decide it, every system shows it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from counterfoil.demo import invoicing
from counterfoil.demo.stage import Stage, money


@dataclass(frozen=True)
class Credit:
    """Credit that the agent requests in the help desk; `amount` is decimal text in USD."""

    name: str
    customer: str
    amount: str
    title: str
    reason: str = "sla"
    days_ago: int = 3

    async def request(self, stage: Stage) -> str:
        incident = f"INC-{self.name}"
        existing = await stage.desk.find(incident_ref=incident)
        day = datetime.now(UTC).date() - timedelta(days=self.days_ago)
        ticket = existing[0] if existing else await stage.desk.request_credit(
            "agent", self.title, stage.id(f"{self.customer}.customer"), stage.id(f"{self.customer}.invoice"),
            self.amount, "USD", self.reason, incident, day,
        )  # fmt: skip
        stage.journal.note(self.name, ticket)
        return f"ticket {ticket}, {self.amount} USD for {invoicing.CUSTOMERS[self.customer].name}"

    async def reconciled(self, stage: Stage) -> str | None:
        """Observe the finished Run: one credit note in billing, one credit memo in the ERP, the ticket answered."""
        run = await stage.credit_run(self.name)
        if run is None or run["status"] != "done" or run["state"] != "reconciled":
            return None
        foil = await stage.foil("credit-in-erp", run["key"])
        notes = await stage.credit_notes(run["key"])
        documents = await stage.erp.invoices(run["key"])
        ticket = await stage.desk.get(stage.id(self.name))
        if foil is None or foil["state"] != "matched" or ticket["status"] != "credit-posted":
            return None
        amount = Decimal(self.amount)
        if [money(note["total"]) for note in notes] != [amount]:
            return None
        if [document["total_amount"] for document in documents] != [-amount]:
            return None
        return f"credit note {notes[0]['number']} = credit memo {documents[0]['number']}, ticket answered"

    async def awaits_approval(self, stage: Stage) -> str | None:
        """Observe the approval that waits for a person."""
        approval = await self._approval(stage)
        return None if approval is None else f"requested from {' or '.join(approval['roles'])}"

    async def decide(self, stage: Stage, person: str, approve: bool, comment: str) -> str:
        approval = await self._approval(stage)
        if approval is None:
            return "no approval to decide"
        if approval["state"] != "open":
            return f"decided already: {approval['state']}"
        async with stage.as_person(person) as operator:
            return await operator.decide(approval["id"], approve, comment)

    async def awaits_case(self, stage: Stage) -> str | None:
        """Observe the open Case of the credit's Run."""
        case = await self.case(stage)
        return None if case is None else f"Case for {case['owner']}: {case['message'][:160]}"

    async def case(self, stage: Stage) -> dict[str, Any] | None:
        """Return the newest Case of the credit's Run; None if there is none yet."""
        run = await stage.credit_run(self.name)
        cases = await stage.admin.all("cases", run=run["id"]) if run is not None else []
        return cases[0] if cases else None

    async def _approval(self, stage: Stage) -> dict[str, Any] | None:
        run = await stage.credit_run(self.name)
        if run is None:
            return None
        approvals = await stage.admin.all("approvals", run=run["id"])
        return next((a for a in approvals if not a["automatic"]), None)
