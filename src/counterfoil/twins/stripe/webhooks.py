"""Delivery of webhooks: signed, unordered, sometimes repeated, retried for three days of twin time.

The time in the signature is the machine's: a receiver checks it against its own clock even if the twin's clock is moved.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import time

import httpx2

from counterfoil.twins.stripe.account import API_VERSION, DAY_SECONDS, StripeAccount
from counterfoil.twins.stripe.errors import Obj
from counterfoil.twins.stripe.events import find_endpoint
from counterfoil.twins.stripe.store import encode

RETRY_LIMIT_SECONDS = 3 * DAY_SECONDS
MAX_CONCURRENT_DELIVERIES = 8
_RETRY_DELAYS_SECONDS = (60, 300, 1800, 7200, 18_000, 36_000, 43_200)
"""Twin time between attempts; the last delay repeats."""


def signature(secret: str, body: bytes, at: int) -> str:
    """Return `t=,v1=`: HMAC-SHA256 over `t.body`, keyed with the whole secret of the endpoint."""
    digest = hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
    return f"t={at},v1={digest}"


class WebhookSender:
    """Background task that delivers events to endpoints."""

    def __init__(self, account: StripeAccount) -> None:
        self.account = account
        self.wake = asyncio.Event()
        self._running: dict[int, asyncio.Task[None]] = {}
        self._http = httpx2.AsyncClient(timeout=10, trust_env=False, follow_redirects=False)

    async def run(self) -> None:
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
            for task in self._running.values():
                task.cancel()
            await asyncio.gather(*self._running.values(), return_exceptions=True)
            await self._http.aclose()

    def _start_due(self) -> float:
        """Start the deliveries that are due; return the seconds until the next, at most one."""
        now = self.account.exact_now
        if self.account.setting("stopped_at") is not None:
            # A stopped clock must not delay deliveries that are only shuffled.
            now += float(self.account.setting("spread"))
        wait = 1.0
        for no, due in self.account.store.waiting(4 * MAX_CONCURRENT_DELIVERIES):
            if no in self._running:
                continue
            if due > now:
                wait = min(wait, due - now)
                break
            if len(self._running) < MAX_CONCURRENT_DELIVERIES:
                task = asyncio.create_task(self._deliver(no))
                self._running[no] = task
                task.add_done_callback(lambda _, no=no: self._done(no))  # type: ignore[misc]
        return max(wait, 0.005)

    def _done(self, no: int) -> None:
        self._running.pop(no, None)
        self.wake.set()

    async def _deliver(self, no: int) -> None:
        delivery = self.account.store.delivery(no)
        if delivery is None:
            return
        id, endpoint_id, first, tries = delivery
        event, endpoint = self.account.find("event", id), find_endpoint(self.account, endpoint_id)
        if event is None or endpoint is None or endpoint["status"] != "enabled":
            self.account.store.drop_delivery(no)
            return
        status, message = await self._post(endpoint, event)
        now = self.account.exact_now
        state, due = "delivered", now
        if status is None or not 200 <= status < 300:
            retry_at = now + _RETRY_DELAYS_SECONDS[min(tries, len(_RETRY_DELAYS_SECONDS) - 1)]
            in_time = retry_at <= first + RETRY_LIMIT_SECONDS
            state, due = ("waiting", retry_at) if in_time else ("failed", now)
        self.account.store.record_attempt(no, int(now), status, message, state, due)

    async def _post(self, endpoint: Obj, event: Obj) -> tuple[int | None, str]:
        body = encode({**self.account.view(event), "api_version": endpoint["api_version"] or API_VERSION})
        headers = {
            "content-type": "application/json; charset=utf-8", "user-agent": "Stripe/1.0 (twin)",
            "stripe-signature": signature(endpoint["secret"], body, int(time.time())),
        }  # fmt: skip
        try:
            response = await self._http.post(endpoint["url"], content=body, headers=headers)
        except (httpx2.HTTPError, OSError) as error:
            return None, type(error).__name__
        return response.status_code, ""
