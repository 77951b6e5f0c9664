"""Two versions alive at the doors: what callers are told, who is counted, what the lists and figures show, and the Case."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.flow.context import deprecations
from tests.companies.base import COMPLETE_POLICY, documents, edited
from tests.companies.small import metric, serving
from tests.companies.web import running, signed
from tests.contract.test_stuck_shown import doctor as rows_of_doctor
from tests.patience import PATIENCE_SECONDS
from tests.unit.rules.driver import model_of

pytestmark = pytest.mark.xdist_group("web")
SINCE, SUNSET = date(2026, 1, 10), date(2199, 12, 31)
COMPANY = documents(
    COMPLETE_POLICY,
    f"""\
{{kind: role, name: operator, may: ["events:any:send", "usage:any:send", "metrics:any:read", "cases:any:read",
  "contracts:any:read", "runs:any:read"]}}
---
{{kind: system, name: desk, role: support, connector: external, owner: operator}}
---
kind: event
name: credit.asked.v1
produced: http
owner: operator
deprecated: {{since: {SINCE}, sunset: {SUNSET}, use: credit.asked.v2}}
data: {{credit_id: id, amount: money}}
---
kind: event
name: credit.asked.v2
produced: http
owner: operator
data: {{credit_id: id, value: money}}
---
kind: event
name: credit.granted.v1
produced: http
owner: operator
deprecated: {{since: {SINCE}, sunset: {SUNSET}, use: credit.granted.v2}}
data: {{credit_id: id}}
---
{{kind: event, name: credit.granted.v2, produced: http, owner: operator, data: {{credit_id: id}}}}
---
{{kind: mapping, name: asked-1-2, cast: {{from: credit.asked.v1, to: credit.asked.v2}}, with: {{value: =data.amount}}}}
---
{{kind: mapping, name: granted-2-1, cast: {{from: credit.granted.v2, to: credit.granted.v1}}}}
---
kind: event
name: usage.metered.v1
produced: http
owner: operator
deprecated: {{since: {SINCE}, sunset: {SUNSET}}}
usage: {{subscription: subscription_id, meter: meter}}
data: {{subscription_id: id, meter: {{enum: [calls]}}, quantity: decimal}}
---
kind: workflow
name: crediting
owner: operator
failure: careful
start: {{event: credit.asked.v2, key: event.data.credit_id}}
steps:
  - wait: {{event: credit.granted.v1, where: event.data.credit_id == start.data.credit_id, until: +9d}}
""",
)


async def post(
    http: httpx2.AsyncClient, type_: str, id_: str, path: str = "/v1/events", **data: Any
) -> httpx2.Response:
    event = {"specversion": "1.0", "source": "/desk", "type": type_, "id": id_, "data": data,
             "time": datetime.now(UTC).isoformat().replace("+00:00", "Z")}  # fmt: skip
    batch = path == "/v1/usage"
    media = "application/cloudevents-batch+json" if batch else "application/cloudevents+json"
    body = json.dumps([event] if batch else event)
    return await http.post(path, content=body, headers={"content-type": media})


def amount(minor: int = 700) -> dict[str, Any]:
    return {"minor": minor, "currency": "EUR"}


async def run_of(http: httpx2.AsyncClient, key: str, status: str) -> None:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while not [
            r for r in (await http.get(f"/v1/runs?key={key}")).json()["items"] if r["status"] == status
        ]:
            await asyncio.sleep(0.05)


async def versions(http: httpx2.AsyncClient, query: str = "") -> dict[str, Any]:
    items = (await http.get(f"/v1/contracts?{query}")).json()["items"]
    return {version["name"]: version for item in items for version in item["versions"]}


async def test_old_and_new_live_together_and_the_old_is_told_to_go(tmp_path: Path) -> None:
    async with serving(tmp_path, workers=1, company=COMPANY) as (app, http):
        first_day = (await app.now()).date()
        new = await post(http, "credit.asked.v2", "n1", credit_id="c2", value=amount())
        assert new.status_code == 202
        assert not {"deprecation", "sunset", "link"} & new.headers.keys()
        old = await post(http, "credit.asked.v1", "o1", credit_id="c1", amount=amount())
        midnight = datetime.combine(SINCE, datetime.min.time(), UTC)
        assert old.headers["deprecation"] == f"@{int(midnight.timestamp())}"
        assert old.headers["sunset"] == f"{SUNSET:%a, %d %b %Y} 00:00:00 GMT"
        assert old.headers["link"] == '</v1/contracts?name=credit.asked.v2>; rel="successor-version"'
        await run_of(http, "c1", "waiting")
        await run_of(http, "c2", "waiting")

        await app.uses.flush()
        shown = await versions(http, "deprecated=true")
        asked = shown["credit.asked.v1"]
        assert (asked["state"], asked["casts_to"]) == ("deprecated", ["credit.asked.v2"])
        assert [(u["who"], u["side"], u["count"]) for u in asked["users"]] == [("person:ann", "sends", 1)]
        last_day = (await app.now()).date()
        assert asked["users"][0]["days"] in ({first_day.isoformat(): 1}, {last_day.isoformat(): 1})
        assert shown["credit.granted.v1"]["waiting"] == [{"workflow": "crediting", "runs": 2}]
        assert shown["credit.granted.v1"]["consumers"] == ["workflow:crediting"]
        assert await metric(http, 'counterfoil_deprecated_users{name="credit.asked.v1"}') == 1
        assert await metric(http, 'counterfoil_deprecated_uses_total{name="credit.asked.v1"}') == 1
        days_left = await metric(http, 'counterfoil_sunset_seconds{name="credit.asked.v1"}') / 86400
        assert abs(days_left - (SUNSET - last_day).days) <= 2
        (row,) = await rows_of_doctor(http, tmp_path, "deprecated credit.asked.v1")
        assert row["ok"]
        assert row["detail"] == f"sunset {SUNSET}, used by person:ann"

        granted = await post(http, "credit.granted.v2", "g1", credit_id="c1")
        assert "deprecation" not in granted.headers
        await run_of(http, "c1", "done")


async def test_usage_in_a_deprecated_version_is_told_and_counted(tmp_path: Path) -> None:
    async with serving(tmp_path, company=COMPANY) as (app, http):
        data = {"subscription_id": "s1", "meter": "calls", "quantity": 1}
        answer = await post(http, "usage.metered.v1", "u1", "/v1/usage", **data)
        assert answer.json()["deprecated"] == ["usage.metered.v1"]
        assert answer.headers["sunset"] == f"{SUNSET:%a, %d %b %Y} 00:00:00 GMT"
        await app.uses.flush()
        metered = (await versions(http, "party=person:ann"))["usage.metered.v1"]
        assert [(u["who"], u["count"]) for u in metered["users"]] == [("person:ann", 1)]


async def test_a_version_in_use_after_its_sunset_is_one_case_for_each_user(tmp_path: Path) -> None:
    past = edited(COMPANY, (str(SUNSET), "2026-02-01"))
    async with serving(tmp_path, workers=1, company=past) as (app, http):
        late = await post(http, "credit.asked.v1", "o1", credit_id="c1", amount=amount())
        assert late.status_code == 202, "nothing is refused by surprise"
        await run_of(http, "c1", "waiting")
        await app.uses.flush()
        for _ in range(2):
            await deprecations.open_overdue_cases(app.store, app.model, await app.now(), set())
        cases = [c for c in (await http.get("/v1/cases")).json()["items"] if c["reason"] == "sunset_in_use"]
        told = {c["message"].split(" ")[0]: c for c in cases}
        assert set(told) == {"credit.asked.v1", "credit.granted.v1"}
        assert len(cases) == 2
        assert "person:ann still sends it" in told["credit.asked.v1"]["message"]
        assert "workflow:crediting still has 1 run that waits for it" in told["credit.granted.v1"]["message"]
        assert told["credit.asked.v1"]["owner"] == "operator"
        assert told["credit.asked.v1"]["next_action"].startswith("Move person:ann to credit.asked.v2")
        (row,) = await rows_of_doctor(http, tmp_path, "deprecated credit.asked.v1")
        assert not row["ok"]


async def test_contracts_are_listed_page_by_page(tmp_path: Path) -> None:
    async with serving(tmp_path, company=COMPANY) as (_, http):
        seen, cursor = [], ""
        while True:
            page = (await http.get(f"/v1/contracts?limit=1&cursor={cursor}")).json()
            seen += [(item["kind"], item["name"]) for item in page["items"]]
            if page["next"] is None:
                break
            cursor = page["next"]
        assert seen == [("event", "credit.asked"), ("event", "credit.granted"), ("event", "usage.metered")]
        assert set(await versions(http, "name=credit.asked.v2")) == {"credit.asked.v1", "credit.asked.v2"}
        assert await versions(http, "kind=operation") == {}
        assert (await http.get("/v1/contracts?kind=invoice")).status_code == 400
        assert (await http.get("/v1/contracts?cursor=x")).status_code == 400


async def test_a_webhook_that_becomes_a_deprecated_version_is_told(tmp_path: Path) -> None:
    mapping = """
---
{kind: system, name: billing, role: billing, connector: http, owner: operator}
---
kind: mapping
name: asked
from: {system: billing, type: t}
emit: {type: credit.asked.v1, key: =body.id, data: {credit_id: =body.id, amount: "=minor(body.amount, 'EUR')"}}
"""
    async with running(tmp_path) as company:
        body = b'{"id": "w1", "amount": 5}'
        async with httpx2.AsyncClient(
            base_url=company.url, trust_env=False, timeout=PATIENCE_SECONDS
        ) as http:
            plain = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
            company.app.model = model_of(COMPANY + mapping)
            told = await http.post("/v1/receipts/billing", content=body, headers=signed(body))
        assert (plain.status_code, told.status_code) == (202, 202)
        assert "deprecation" not in plain.headers
        assert told.headers["sunset"] == f"{SUNSET:%a, %d %b %Y} 00:00:00 GMT"
        assert told.headers["link"] == '</v1/contracts?name=credit.asked.v2>; rel="successor-version"'
