"""Rules of the help desk, and its signed callbacks. The tracker's detectors folder loads `init` from here.

Rules run before a change is stored and refuse it by Roundup's Reject. The commit itself queues callbacks, so a
rolled-back change sends none. One thread sends each callback once, in order. A failed callback is appended to
hook-failures.jsonl; the receiver must find the change by polling the issues.
"""

from __future__ import annotations

import hashlib
import hmac
import http.client
import json
import queue
import re
import secrets
import threading
import time
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from roundup.exceptions import Reject

from counterfoil.demo.desk.fields import CREDIT_FIELDS

HOOK_TIMEOUT_SECONDS = 3.0
_AMOUNT = re.compile(r"\d{1,15}(\.\d{1,6})?")
_CURRENCY = re.compile(r"[A-Z]{3}")
_NEEDED = ("account_ref", "credit_amount", "credit_currency", "credit_reason")
_FROZEN = ("account_ref", "credit_amount", "credit_currency", "erp_document")

_queue: queue.Queue[tuple[Path, str, bytes, str]] = queue.Queue(maxsize=1000)
_sender_started = threading.Lock()


def init(db: Any) -> None:
    """Register the rules and callbacks. Roundup calls this once for each opened database."""
    for event in ("create", "set"):
        db.issue.audit(event, check_change)
        db.issue.audit(event, count_revision, priority=200)
        db.issue.react(event, queue_callback, priority=200)


def check_change(db: Any, cl: Any, nodeid: str | None, newvalues: dict[str, Any]) -> None:
    """Refuse malformed credits, decisions without permission, and duplicate references. Raises Reject."""

    def value(name: str) -> Any:
        return newvalues[name] if name in newvalues else cl.get(nodeid, name) if nodeid else None

    amount, currency = newvalues.get("credit_amount"), newvalues.get("credit_currency")
    if amount and not (_AMOUNT.fullmatch(amount) and Decimal(amount) > 0):
        raise Reject(f"credit_amount {amount!r} is not a positive decimal number")
    if currency and not _CURRENCY.fullmatch(currency):
        raise Reject(f"credit_currency {currency!r} is not a currency code")
    if incident := newvalues.get("incident_on"):
        _check_date(incident)
    reference = newvalues.get("external_ref")
    if reference:
        others = [i for i in cl.filter(None, {}, exact_match_spec={"external_ref": reference}) if i != nodeid]
        if others:
            raise Reject(f"external_ref {reference} is taken by issue{others[0]}")
    before = cl.get(nodeid, "status") if nodeid else None
    if before and db.status.get(before, "name") == "credit-posted":
        changed = [n for n in _FROZEN if n in newvalues and newvalues[n] != cl.get(nodeid, n)]
        if changed:
            raise Reject(f"{', '.join(changed)} cannot change once the credit is posted")
    status = newvalues.get("status")
    if status and status != before:
        _check_status(db, db.status.get(status, "name"), value, cl.get(nodeid, "creator") if nodeid else None)


def _check_date(text: str) -> None:
    try:
        date.fromisoformat(text)
    except ValueError:
        raise Reject(f"incident_on {text!r} is not a date like 2026-03-31") from None


def _check_status(db: Any, status: str, value: Any, creator: str | None) -> None:
    if not status.startswith("credit-"):
        return
    missing = [name for name in _NEEDED if not value(name)]
    if missing:
        raise Reject(f"status {status} needs {', '.join(missing)}")
    person = db.getuid()
    program = db.user.has_role(person, "Integration")
    if status in ("credit-approved", "credit-rejected"):
        if not (program or db.user.has_role(person, "Approver")):
            raise Reject(f"status {status} needs the Approver role")
        if person == creator and not program:
            raise Reject(f"status {status} cannot be set by the person who requested the credit")
    if status == "credit-posted" and not (program and value("erp_document")):
        raise Reject("status credit-posted can be set by the Integration role only, with the erp_document")


def count_revision(db: Any, cl: Any, nodeid: str | None, newvalues: dict[str, Any]) -> None:
    """Number the changes of an issue, and ignore the revision that the caller sent."""
    newvalues["revision"] = (cl.get(nodeid, "revision") or 0) + 1 if nodeid else 1


def queue_callback(db: Any, cl: Any, nodeid: str, oldvalues: dict[str, Any] | None) -> None:
    """Queue the callback of this change, to be sent after its commit."""
    if db.tx_Source == "cli":
        return
    home = Path(db.config.HOME).parent
    seed = json.loads((home / "seed.json").read_bytes())
    delivery = "dlv_" + secrets.token_hex(16)
    body = json.dumps(_message(db, cl, nodeid, oldvalues, delivery)).encode()
    signature = "sha256=" + hmac.new(seed["hook_secret"].encode(), body, hashlib.sha256).hexdigest()
    db.transactions.append((_enqueue, (home, seed["hook"], body, signature, delivery)))


def _message(
    db: Any, cl: Any, nodeid: str, oldvalues: dict[str, Any] | None, delivery: str
) -> dict[str, Any]:
    def name(link: str | None) -> str | None:
        return db.status.get(link, "name") if link else None

    return {
        "event": "issue.created" if oldvalues is None else "issue.updated",
        "delivery": delivery,
        "id": nodeid,
        "revision": cl.get(nodeid, "revision"),
        "activity": cl.get(nodeid, "activity").formal(sep="T") + "Z",
        "actor": db.user.get(db.getuid(), "username"),
        "creator": db.user.get(cl.get(nodeid, "creator"), "username"),
        "title": cl.get(nodeid, "title"),
        "status": name(cl.get(nodeid, "status")),
        "old_status": name((oldvalues or {}).get("status")) if "status" in (oldvalues or {}) else None,
        **{field: cl.get(nodeid, field) for field in CREDIT_FIELDS},
    }


def _enqueue(home: Path, hook: str, body: bytes, signature: str, delivery: str) -> None:
    # Runs inside Roundup's commit, after the SQL commit: it must not raise and must not block.
    if _sender_started.acquire(blocking=False):
        threading.Thread(target=_send_all, name="hooks", daemon=True).start()
    try:
        _queue.put_nowait((home, hook, body, signature))
    except queue.Full:
        _note_failure(home, hook, delivery, "too many callbacks are waiting")


def _send_all() -> None:
    while True:
        home, hook, body, signature = _queue.get()
        delivery = json.loads(body)["delivery"]
        try:
            status = post_hook(hook, body, signature, delivery)
        except (OSError, http.client.HTTPException, ValueError) as error:
            _note_failure(home, hook, delivery, repr(error))
        else:
            if status >= 300:
                _note_failure(home, hook, delivery, f"HTTP {status}")


def post_hook(hook: str, body: bytes, signature: str, delivery: str) -> int:
    """POST one callback and return the HTTP status. Raises OSError or HTTPException without a response in time."""
    target = urlsplit(hook)
    connect = http.client.HTTPSConnection if target.scheme == "https" else http.client.HTTPConnection
    connection = connect(target.hostname or "", target.port, timeout=HOOK_TIMEOUT_SECONDS)
    headers = {"X-Hub-Signature-256": signature, "X-Desk-Delivery": delivery}
    headers["Content-Type"] = "application/json"
    path = (target.path or "/") + (f"?{target.query}" if target.query else "")
    try:
        connection.request("POST", path, body, headers)
        return connection.getresponse().status
    finally:
        connection.close()


def _note_failure(home: Path, hook: str, delivery: str, reason: str) -> None:
    line = json.dumps({"at": int(time.time()), "hook": hook, "delivery": delivery, "reason": reason})
    with (home / "hook-failures.jsonl").open("a") as log:
        log.write(line + "\n")
