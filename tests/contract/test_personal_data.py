"""Personal data over HTTP: on no route for roles without the permission, and present for roles with it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from msgspec.structs import replace

from counterfoil.core.permissions import personal_read
from counterfoil.core.personal_texts import MASKED
from counterfoil.web.http import server
from tests.companies.roles import people
from tests.companies.web import TrialApp, running
from tests.companies.web_matches import admit, foil_of, invoice_foil
from tests.contract.test_http_names import KEY, RUN, _fill

pytestmark = pytest.mark.xdist_group("web")
NAME = "Initech Software"
VALUES = {
    "run_id": RUN, "foil_id": foil_of(KEY), "item_id": "none", "case_id": "case_unrouted_1", "checkpoint_id": "none",
    "approval_id": "none", "kind": "object", "name": "customer", "system": "erp", "digest": "d" * 64, "path": "x",
}  # fmt: skip


def _paths(app: TrialApp) -> Iterator[str]:
    for route in server.routes(app).routes:  # type: ignore[arg-type]
        if "GET" in getattr(route, "methods", ()):
            yield re.sub(r"{(\w+)}", lambda match: VALUES[match[1]], route.path_format)


async def test_every_route_masks_personal_data_by_role(tmp_path: Path) -> None:
    async with running(tmp_path) as company:
        app, store = company.app, company.app.store
        await _fill(store)
        at = await store.now()
        await admit(store, at, foils=(replace(invoice_foil(KEY, 4_200, 1, at), run=RUN),))
        tokens, _ = await people(store, app.model)
        readers = {name for name, role in app.model.roles.items() if personal_read("customer") in role.may}
        assert readers >= {"finance-operations", "support-lead"}
        assert not readers & {"architect", "auditor"}
        present: dict[str, int] = dict.fromkeys(app.model.roles, 0)
        masked = dict(present)
        async with httpx2.AsyncClient(base_url=company.url, trust_env=False) as http:
            for role in app.model.roles:
                for path in _paths(app):
                    for accept in ("text/html", "application/json"):
                        head = {"authorization": f"Bearer {tokens[role]}", "accept": accept}
                        answer = await http.get(path, headers=head)
                        assert answer.status_code < 500, (role, path, answer.text[:300])
                        present[role] += NAME in answer.text
                        masked[role] += MASKED in answer.text
                        assert role in readers or NAME not in answer.text, (role, path)
                found = (await http.get("/v1/runs", params={"key": NAME}, headers=head)).json()
                if "items" in found:
                    assert bool(found["items"]) is (role in readers), role
        for role in ("finance-operations", "support-lead", "administrator"):
            assert present[role] > 1
        for role in ("architect", "auditor"):
            assert masked[role] > 1
