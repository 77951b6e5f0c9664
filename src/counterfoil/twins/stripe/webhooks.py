"""Delivery of webhooks: signed, unordered, sometimes repeated, retried for three days of twin time.

The signature's time is the machine's own, as a receiver checks it against its own clock even while the twin's
clock is moved.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

import httpx2

from counterfoil.twins.stripe.account import API_VERSION, DAY, Account
from counterfoil.twins.stripe.refusal import Obj
from counterfoil.twins.stripe.store import encode

GIVE_UP = 3 * DAY
AT_ONCE = 8
_WAITS = (60, 300, 1800, 7200, 18_000, 36_000, 43_200)
"""Seconds of twin time between attempts; the last one repeats."""


def signature(secret: str, body: bytes, at: int) -> str:
    """`t=,v1=`: HMAC-SHA256 over `t.body`, keyed with the endpoint's whole secret."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class Deliveries:
    """The background half of the twin."""

    def __init__(self, account: Account) -> None:
        self.account = account
        self.wake = asyncio.Event()
        self._going: dict[int, asyncio.Task[None]] = {}
        self._http = httpx2.AsyncClient(timeout=10, trust_env=False, follow_redirects=False)

    async def run(self) -> None:
        """Until cancelled."""
        try:
            while True:
                self.wake.clear()
                wait = self._start_due()
                try:
                    async with asyncio.timeout(wait):
                        await self.wake.wait()
                except TimeoutError:
                    continue
        finally:
            for task in self._going.values():
                task.cancel()
            await asyncio.gather(*self._going.values(), return_exceptions=True)
            await self._http.aclose()

    def _start_due(self) -> float:
        """Start what is due; how long to sleep for the next, at most a second."""
        now = self.account.exact_now
        if self.account.setting("stopped_at") is not None:
            # A standing clock must not hold back what is only shuffled.
            now += float(self.account.setting("spread"))
        wait = 1.0
        for no, due in self.account.store.waiting(4 * AT_ONCE):
            if no in self._going:
                continue
            if due > now:
                wait = min(wait, due - now)
                break
            if len(self._going) < AT_ONCE:
                task = asyncio.create_task(self._deliver(no))
                self._going[no] = task
                task.add_done_callback(lambda _, no=no: self._done(no))  # type: ignore[misc]
        return max(wait, 0.005)

    def _done(self, no: int) -> None:
        self._going.pop(no, None)
        self.wake.set()

    async def _deliver(self, no: int) -> None:
        found = self.account.store.delivery(no)
        if found is None:
            return
        id, endpoint_id, first, tries = found
        event, endpoint = self.account.find("event", id), self.account.find("webhook_endpoint", endpoint_id)
        if event is None or endpoint is None or endpoint["status"] != "enabled":
            self.account.store.drop_delivery(no)
            return
        status, message = await self._post(endpoint, event)
        now = self.account.exact_now
        state, due = "delivered", now
        if status is None or not 200 <= status < 300:
            wait = _WAITS[min(tries, len(_WAITS) - 1)]
            state, due = ("waiting", now + wait) if now + wait <= first + GIVE_UP else ("failed", now)
        self.account.store.tried(no, int(now), status, message, state, due)

    async def _post(self, endpoint: Obj, event: Obj) -> tuple[int | None, str]:
        body = encode({**self.account.view(event), "api_version": endpoint["api_version"] or API_VERSION})
        headers = {
            "content-type": "application/json; charset=utf-8", "user-agent": "Stripe/1.0 (twin)",
            "stripe-signature": signature(endpoint["secret"], body, int(time.time())),
        }  # fmt: skip
        try:
            answer = await self._http.post(endpoint["url"], content=body, headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            return None, type(error).__name__
        return answer.status_code, ""
