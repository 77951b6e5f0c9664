"""Orders of lists over HTTP, on the pages and on the command line."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

import pytest

from tests.companies.web import running
from tests.contract.test_exports import client
from tests.contract.test_http_names import _table

pytestmark = pytest.mark.xdist_group("web")


async def test_lists_have_their_orders(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        for name, sort, field in (
            ("runs", "created", "created_at"), ("foils", "due", "due"), ("cases", "deadline", "deadline"),
            ("approvals", "expires", "expires"),
        ):  # fmt: skip
            rows = (await http.get(f"/v1/{name}", params={"sort": sort})).json()["items"]
            values = [row[field] for row in rows]
            assert values == sorted(values), name
            assert len(values) > 1
            back = (await http.get(f"/v1/{name}", params={"sort": f"-{sort}"})).json()["items"]
            assert [row["id"] for row in back] == [row["id"] for row in rows][::-1], name
        items = (await http.get("/v1/unmatched", params={"sort": "-amount"})).json()["items"]
        assert [item["amounts"]["gross"]["amount"] for item in items] == [
            "900.00",
            "600.00",
            "60.00",
            "20.00",
        ]


async def test_a_cursor_belongs_to_its_order(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        first = (await http.get("/v1/foils", params={"sort": "due", "limit": "2"})).json()
        for query in ({"sort": "-due"}, {"sort": "amount"}, {}):
            answer = await http.get("/v1/foils", params={**query, "cursor": first["next"]})
            assert (answer.status_code, answer.json()["type"]) == (400, "urn:counterfoil:problem:cursor"), (
                query
            )
        for query in ({"sort": "colour"}, {"sort": "due", "as_of": "2020-01-01T00:00:00Z"}):
            assert (await http.get("/v1/foils", params=query)).status_code == 400, query


async def test_headings_sort_and_say_so(tmp_path: Path) -> None:
    async with running(tmp_path) as company, client(company, "cory") as http:
        asks = {"accept": "text/html"}
        page = (await http.get("/foils?rule=invoice-in-erp", headers=asks)).text
        link = html.unescape(re.search(r'href="(/foils\?[^"]*sort=-amount)"', page)[1])  # type: ignore[index]
        assert link == "/foils?rule=invoice-in-erp&sort=-amount"
        assert "aria-sort" not in page
        page = (await http.get(link, headers=asks)).text
        assert re.search(r'<th class="num" aria-sort="descending"><a href="[^"]*sort=amount">Amount', page)
        assert re.findall(r'<th scope="row"><a href="[^"]+">(INV-\d+)', page) == ["INV-9", "INV-10", "INV-12"]
        for path in (
            "/runs?sort=created",
            "/cases?sort=deadline",
            "/approvals?sort=expires",
            "/unmatched?sort=created",
        ):
            answer = await http.get(path, headers=asks)
            assert answer.status_code == 200, path
            assert 'aria-sort="ascending"' in answer.text or 'aria-current="true"' in answer.text, path


async def test_the_command_line_sorts(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        rows = json.loads(await _table(company, "unmatched", "--sort", "-amount", "--format", "json"))
        assert [row["document"] for row in rows][:2] == ["BILL/2026/21", "BILL/2026/22"]
