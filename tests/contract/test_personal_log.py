"""The log of a real server at its most talkative level: no personal value of what it received, refused, called or searched."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx2
import pytest

from counterfoil.connectors import signature
from counterfoil.core.clock import utc_now
from tests.contract.trial_http import HOOK_SECRET
from tests.patience import PATIENCE_SECONDS
from tests.source import ROOT

NAME = "Quastenfloss"
MAIL = "ottilie@quastenfloss.example"
SETTLE_SECONDS = 2.0
"""The worker admits, calls and retries in this time what the requests left."""


class Server:
    """A server whose log goes into a file."""

    def __init__(self, folder: Path) -> None:
        self.log = folder / "log.txt"
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "tests.contract.logging_process", f"sqlite:{folder / 'company.db'}"],
                cwd=ROOT, env=os.environ | {"COUNTERFOIL_LOG": "DEBUG"}, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                stderr=log, text=True,
            )  # fmt: skip
        started = json.loads(self._line() or "{}")
        assert started, self.log.read_text("utf-8")
        self.url, self.tokens = started["url"], started["tokens"]

    def _line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def answers_next(self, status: int, body: Any) -> None:
        """Have the ledger answer its next request so."""
        assert self._process.stdin is not None
        text = body if isinstance(body, str) else json.dumps(body)
        self._process.stdin.write(json.dumps([status, text]) + "\n")
        self._process.stdin.flush()
        assert self._line().strip() == "ready"

    def stop(self) -> str:
        """End the process and return its log."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        assert self._process.wait(PATIENCE_SECONDS) == 0, self.log.read_text("utf-8")
        assert self._process.stdout is not None
        self._process.stdout.close()
        return self.log.read_text("utf-8")


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    started = Server(tmp_path)
    try:
        yield started
    finally:
        if started._process.poll() is None:
            started._process.kill()
            started._process.wait()


def _call(http: httpx2.Client, token: str, name: str, body: Any, key: str) -> int:
    head = {"authorization": f"Bearer {token}", "idempotency-key": key, "prefer": "wait=5"}
    return http.post(f"/v1/operations/{name}", json=body, headers=head).status_code


def test_the_log_has_no_personal_value(server: Server) -> None:
    statuses: list[int] = []
    finance = {"authorization": f"Bearer {server.tokens['fin']}"}
    with httpx2.Client(base_url=server.url, trust_env=False, timeout=PATIENCE_SECONDS) as http:
        # receipts: accepted, unreadable, with a wrong signature, and with a content that no mapping reads
        event = {
            "specversion": "1.0", "id": "n-1", "source": "desk", "type": "note.written.v1", "subject": "note_1",
            "time": "2026-03-31T12:00:00Z", "data": {"note_id": "note_1", "text": f"{NAME} called"},
        }  # fmt: skip
        for body in (event, event | {"data": {"text": 5, "mail": MAIL}, "id": "n-2"}, {"id": NAME}):
            media = {"content-type": "application/cloudevents+json"} | finance
            statuses.append(http.post("/v1/events", content=json.dumps(body), headers=media).status_code)
        statuses.append(http.post("/v1/events", content=f'{{"{NAME}": ', headers=finance).status_code)
        content = json.dumps({"kind": "invoice.paid", "invoice": {"id": NAME, "version": MAIL}}).encode()
        signed = signature.sign("standard-webhooks-v1", HOOK_SECRET, content, utc_now(), "evt_1")
        wrong = signature.sign("standard-webhooks-v1", HOOK_SECRET, b"{}", utc_now(), "evt_2")
        for heads in (signed, wrong):
            statuses.append(http.post("/v1/receipts/ledger", content=content, headers=heads).status_code)
        # calls: answered, refused by contract, by the ledger by name, unavailable, and unreadable
        pat, rob = server.tokens["pat"], server.tokens["rob"]
        statuses.append(_call(http, rob, "erp.note.ask", {"note_id": "n-1", "text": NAME}, "k1"))
        statuses.append(_call(http, rob, "erp.note.ask", {"note_id": 5, "text": [MAIL]}, "k2"))
        for number, (status, answer) in enumerate((
            (200, {"number": "INV-1", "customer": NAME}), (404, {"error": {"code": NAME, "message": MAIL}}),
            (422, {"error": {"code": NAME, "message": MAIL}}), (503, {"error": {"code": NAME}}), (200, f'{{"{NAME}": '),
            (200, {"number": {"name": NAME}, "customer": [MAIL]}),
        )):  # fmt: skip
            server.answers_next(status, answer)
            statuses.append(_call(http, pat, "erp.invoice.get.v2", {"invoice": f"i{number}"}, f"g{number}"))
        statuses.append(_call(http, pat, "erp.invoice.get.v2", {"invoice": NAME}, "g-name"))
        for number, status in enumerate((422, 503, 200)):
            server.answers_next(status, {"error": {"code": NAME, "message": f"{MAIL} is blocked"}})
            payment = {"payment_id": f"p-{number}", "amount": {"minor": 5000, "currency": "USD"}}
            statuses.append(_call(http, pat, "erp.payment.post", payment, f"p{number}"))
        # searches, on the page and in the API, and one that is refused
        for path in (
            f"/v1/search?q={NAME}",
            f"/search?q={MAIL}",
            f"/v1/runs?key={NAME}",
            f"/v1/runs?name={NAME}",
        ):
            statuses.append(http.get(path, headers=finance).status_code)
        statuses.append(
            http.get(f"/v1/search?q={NAME}", headers={"authorization": f"Bearer {NAME}"}).status_code
        )
        statuses.append(http.post("/sign-in", data={"email": MAIL, "password": NAME}).status_code)
        time.sleep(SETTLE_SECONDS)
    log = server.stop()
    assert {200, 202} & set(statuses), statuses
    assert len({status for status in statuses if status >= 400}) >= 4, statuses
    assert log, "the level DEBUG logs something"
    for value in (NAME, MAIL):
        lines = [line for line in log.splitlines() if value.casefold() in line.casefold()]
        assert not lines, lines[:5]
