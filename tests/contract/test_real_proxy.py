"""The server behind Caddy and nginx with the configuration of the how-to: TLS, cookies, client addresses, long answers."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

import httpx2
import pytest

from counterfoil.store.memory import MemoryStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from counterfoil.web.http.limits import MAX_BODY_BYTES
from counterfoil.web.http.proxies import public_address
from tests.companies.base import listening
from tests.companies.gateway import offering, payment
from tests.companies.web import PASSWORD, cheap_passwords, trial
from tests.contract.test_http_proxy import certificate
from tests.real_proxy import HOST, NGINX, PROXIES, Proxy, proxied

PUBLIC = f"https://{HOST}"
pytestmark = [
    pytest.mark.xdist_group("web"),
    pytest.mark.parametrize(
        "name",
        [
            pytest.param(
                name, marks=pytest.mark.skipif(name == "nginx" and not NGINX, reason="nginx is not installed")
            )
            for name in PROXIES
        ],
    ),
]


@contextlib.asynccontextmanager
async def behind(name: str, folder: Path) -> AsyncIterator[Proxy]:
    """Run the company behind a proxy, with the settings of the how-to."""
    store = await SqliteStore.open(folder / "company.db")
    try:
        passwords = cheap_passwords()
        app, _ = await trial(store, passwords)
        asgi = server.build(app, passwords, public_address({"COUNTERFOIL_PUBLIC_URL": PUBLIC}))  # type: ignore[arg-type]
        async with (
            listening(asgi) as url,
            proxied(name, folder, certificate(folder, HOST), port_of(url)) as proxy,
        ):
            yield proxy
    finally:
        await store.close()


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


async def sign_in(http: httpx2.AsyncClient, password: str = PASSWORD, email: str = "ada@acme.example", **head: str) -> httpx2.Response:  # fmt: skip
    form = {"email": email, "password": password}
    return await http.post("/sign-in", data=form, headers={k.replace("_", "-"): v for k, v in head.items()})


async def test_a_browser_signs_in_and_stays_with_tls_and_the_public_address(
    name: str, tmp_path: Path
) -> None:
    async with behind(name, tmp_path) as proxy, proxy.client() as http:
        asked = await http.get("/runs", headers={"accept": "text/html"})
        assert asked.status_code == 303
        page = await http.get(asked.headers["location"], headers={"accept": "text/html"})
        assert page.status_code == 200
        answer = await sign_in(http, origin=PUBLIC)
        assert answer.status_code == 303, answer.text
        assert "; Secure" in answer.headers["set-cookie"]
        assert answer.headers["strict-transport-security"] == "max-age=31536000"
        runs = await http.get("/runs", headers={"accept": "text/html"}, follow_redirects=True)
        assert (runs.status_code, runs.url.path) == (200, "/runs")
        assert (await sign_in(http, origin="https://elsewhere.example")).status_code == 403


async def test_bad_sign_ins_of_one_client_do_not_lock_out_another(name: str, tmp_path: Path) -> None:
    async with (
        behind(name, tmp_path) as proxy,
        proxy.client("127.0.0.7") as bad,
        proxy.client("127.0.0.8") as good,
    ):
        for number in range(30):
            forged = {"x_forwarded_for": f"198.51.100.{number}", "forwarded": f"for=198.51.100.{number}"}
            answer = await sign_in(bad, "wrong", f"x{number}@acme.example", **forged)
            assert answer.status_code == 401, answer.text
        locked = await sign_in(
            bad, x_forwarded_for="127.0.0.8", x_real_ip="127.0.0.8", forwarded="for=127.0.0.8"
        )
        assert locked.status_code == 429, "what the client writes there itself does not count"
        assert (await sign_in(good)).status_code == 303
        assert (await sign_in(good, x_forwarded_for="127.0.0.7")).status_code == 303


async def test_bad_sign_ins_for_one_account_lock_their_own_address_only(name: str, tmp_path: Path) -> None:
    async with (
        behind(name, tmp_path) as proxy,
        proxy.client("127.0.0.7") as bad,
        proxy.client("127.0.0.8") as good,
    ):
        statuses = [(await sign_in(bad, "wrong", x_forwarded_for="127.0.0.8")).status_code for _ in range(6)]
        assert statuses == [401] * 5 + [429]
        assert (await sign_in(good)).status_code == 303


async def test_a_forged_scheme_or_host_changes_nothing(name: str, tmp_path: Path) -> None:
    async with behind(name, tmp_path) as proxy, proxy.client() as http:
        answer = await sign_in(
            http, origin=PUBLIC, x_forwarded_proto="http", x_forwarded_host="elsewhere.example", forwarded="proto=http;host=elsewhere.example",
        )  # fmt: skip
        assert answer.status_code == 303, answer.text
        assert "; Secure" in answer.headers["set-cookie"]
        assert "elsewhere" not in str(answer.headers)


async def test_the_largest_body_reaches_the_server_and_a_larger_one_does_not(
    name: str, tmp_path: Path
) -> None:
    async with behind(name, tmp_path) as proxy, proxy.client() as http:
        fitting = await http.post("/v1/receipts/billing", content=b"x" * MAX_BODY_BYTES)
        assert fitting.status_code == 401, "the server looks for a signature"
        assert fitting.json()["type"].startswith("urn:counterfoil:problem:")
        larger = await http.post("/v1/receipts/billing", content=b"x" * (MAX_BODY_BYTES + 1))
        assert larger.status_code == 413


async def test_large_and_late_answers_pass(name: str, tmp_path: Path) -> None:
    """Without a worker the Run does not proceed: the answer comes when the caller's time to wait is over."""
    async with (
        offering(MemoryStore(), worker=False) as company,
        proxied(name, tmp_path, certificate(tmp_path, HOST), port_of(str(company.http.base_url))) as proxy,
        proxy.client() as http,
    ):
        direct = await company.http.get("/openapi.json")
        assert (await http.get("/openapi.json")).content == direct.content
        head = {
            "authorization": f"Bearer {company.tokens['pat']}",
            "idempotency-key": "k1",
            "prefer": "wait=3",
        }
        late = await http.post("/v1/operations/erp.payment.post", json=payment("p1"), headers=head)
        assert late.status_code == 202, late.text
        assert (await http.get(late.headers["location"], headers=head)).status_code == 202
