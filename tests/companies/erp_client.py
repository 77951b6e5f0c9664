"""Calls to the ERP as its own client makes them: only there are its wizards and the settings of a company."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx2

from tests.companies.acme import Company


async def rpc(systems: Company, method: str, *params: Any, person: str = "controller", **context: Any) -> Any:
    """Call the ERP as a person of the American company, or as its administrator. Raises AssertionError with its error."""
    users, admin = systems.erp_seed["users"], systems.erp_seed["admin_password"]
    password = admin if person == "admin" else users[person]["password"]
    basic = base64.b64encode(f"{person}:{password}".encode()).decode()
    call = {"id": 1, "method": method, "params": [*params, {"company": 1, "language": "en", **context}]}
    async with httpx2.AsyncClient(base_url=systems.erp_url, trust_env=False, timeout=60) as http:
        answer = await http.post("/erp/rpc/", json=call, headers={"authorization": f"Basic {basic}"})
    reply = json.loads(answer.content)
    assert "error" not in reply, reply
    return reply.get("result")


async def allow_cancellation(systems: Company) -> None:
    """Have the administrator allow that posted invoices of the American company are cancelled without a document."""
    await rpc(systems, "model.company.company.write", [1], {"cancel_invoice_out": True}, person="admin")
