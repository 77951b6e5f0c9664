"""Sends one webhook that is signed by Standard Webhooks: https://www.standardwebhooks.com.

The address check of outbound calls holds here too: public addresses over https, unless a channel says that its host is private. No
message of an error has the address or the secret.
"""

from __future__ import annotations

from datetime import datetime
from urllib.parse import urlsplit

from counterfoil.connectors import signature
from counterfoil.connectors.address import Reach
from counterfoil.connectors.http import Http
from counterfoil.connectors.references import resolve
from counterfoil.core.errors import Misconfigured, TryAgain, Uncertain

SEND_SECONDS = 15.0
_REPEATED = (408, 425, 429)
_MAX_ANSWER_BYTES = 64 * 1024


class WebhookRefused(Exception):
    """The receiver refused the message for good."""


async def send_webhook(url: str, secret: str, private: bool, id_: str, body: bytes, now: datetime) -> None:
    """Post a signed message; `url` and `secret` are references. A repeat with the same id is harmless.

    Raises WebhookRefused for an answer that no repeat changes, TryAgain and Uncertain for others, and Misconfigured.
    """
    parts = urlsplit(resolve(url))
    host = parts.hostname or ""
    try:
        base = f"{parts.scheme}://{parts.netloc}"
        reach = Reach(private=frozenset({host} if private else ()), loopback=private)
        http = Http(base, reach=reach, max_response=_MAX_ANSWER_BYTES)
        headers = signature.sign("standard-webhooks-v1", resolve(secret), body, now, id_)
        path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    except (Misconfigured, ValueError):
        raise Misconfigured("the address or the secret of the webhook is not valid") from None
    try:
        answer = await http.request(
            "POST",
            path,
            headers={**headers, "content-type": "application/json"},
            body=body,
            timeout=SEND_SECONDS,
        )
    except TryAgain:
        raise TryAgain("the receiver could not be reached") from None
    except Uncertain:
        raise Uncertain("the receiver did not answer") from None
    except Misconfigured:
        raise Misconfigured("the address of the webhook must not be called") from None
    finally:
        await http.close()
    if answer.status in _REPEATED or answer.status >= 500:
        raise TryAgain(f"the receiver answered {answer.status}")
    if not 200 <= answer.status < 300:
        raise WebhookRefused(f"the receiver answered {answer.status}")
