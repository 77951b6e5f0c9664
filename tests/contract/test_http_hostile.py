"""Bodies and connections that mean harm, over real sockets: a problem document each, and memory stays bounded."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
import time
import zlib
from collections.abc import Iterable
from datetime import UTC, datetime

import httpx2
import pytest

from counterfoil.connectors import signature
from counterfoil.web.http.limits import MAX_BODY_BYTES, RequestLimits
from tests.companies.web import SECRET, Process
from tests.patience import PATIENCE_SECONDS

pytestmark = pytest.mark.xdist_group("web")
MIB = 1024 * 1024
STRUCTURED = "application/cloudevents+json"


class Raw:
    """One HTTP/1.1 message written by hand."""

    def __init__(self, company: Process) -> None:
        self.company = company

    def post(
        self, headers: dict[str, str], chunks: Iterable[bytes], path: str = "/v1/events", timeout: float = 60
    ) -> tuple[int, str, bytes]:
        """Status, content type and body of the answer to these bytes."""
        head = {
            "host": "x",
            "connection": "close",
            "authorization": self.company.bearer("ada")["authorization"],
        }
        lines = [f"POST {path} HTTP/1.1", *(f"{k}: {v}" for k, v in (head | headers).items())]
        with socket.create_connection(("127.0.0.1", self.company.port), timeout=timeout) as connection:
            connection.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
            try:
                for chunk in chunks:
                    connection.sendall(chunk)
            except (BrokenPipeError, ConnectionResetError):
                pass  # it answered and closed; the answer is still to be read
            return read_answer(connection)


def read_answer(connection: socket.socket) -> tuple[int, str, bytes]:
    data = b""
    while part := connection.recv(65536):
        data += part
    head, _, body = data.partition(b"\r\n\r\n")
    lines = head.decode().split("\r\n")
    headers = dict(line.lower().split(": ", 1) for line in lines[1:])
    return int(lines[0].split()[1]), headers.get("content-type", ""), body


@pytest.fixture
def raw(company: Process) -> Raw:
    return Raw(company)


def refused(answer: tuple[int, str, bytes], *statuses: int) -> dict[str, object]:
    status, media, body = answer
    assert status in statuses, (status, body[:300])
    assert media == "application/problem+json"
    document: dict[str, object] = json.loads(body)
    assert document["status"] == status
    assert len(body) < 2000
    return document


def event(data: bytes) -> bytes:
    return b'{"specversion":"1.0","id":"1","source":"/billing","type":"t.v1","data":' + data + b"}"


HOSTILE = {
    "duplicate keys": event(b'{"a":1,"a":2}'),
    "not a number": event(b"NaN"),
    "infinity": event(b"-Infinity"),
    "a huge exponent": event(b"1e999"),
    "a huge negative exponent": event(b"1e-999999999"),
    "a long number": event(b"9" * 5000),
    "a lone surrogate": event(b'"\\ud800"'),
    "a depth of 100,000": event(b"[" * 100_000 + b"]" * 100_000),
    "open brackets only": b"[" * 1_000_000,
    "not UTF-8": event(b'"\xff\xfe"'),
    "a byte order mark": b"\xef\xbb\xbf" + event(b"1"),
    "two values": event(b"1") + event(b"1"),
    "nothing": b"",
    "a million members": b"{" + b",".join(b'"k%d":1' % (n % 7) for n in range(300_000)) + b"}",
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_a_problem(raw: Raw, name: str) -> None:
    body = HOSTILE[name]
    headers = {"content-type": STRUCTURED, "content-length": str(len(body))}
    refused(raw.post(headers, [body]), 400, 422)


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_json_is_a_problem_where_people_decide(raw: Raw, name: str) -> None:
    body = HOSTILE[name]
    headers = {"content-type": "application/json", "content-length": str(len(body))}
    refused(raw.post(headers, [body], "/v1/cases/case_x"), 400, 422)


def test_a_hundred_megabytes_are_refused_and_not_kept(company: Process, raw: Raw) -> None:
    before = company.memory()
    declared = {"content-type": STRUCTURED, "content-length": str(100 * MIB)}
    refused(raw.post(declared, (b"x" * MIB for _ in range(100))), 413)
    assert company.memory() - before < 32 * MIB


def test_chunks_are_counted_while_they_stream(company: Process, raw: Raw) -> None:
    before = company.memory()
    chunk = b"%x\r\n" % MIB + b"x" * MIB + b"\r\n"
    headers = {"content-type": STRUCTURED, "transfer-encoding": "chunked"}
    refused(raw.post(headers, (*(chunk for _ in range(100)), b"0\r\n\r\n")), 413)
    assert company.memory() - before < 32 * MIB


def test_a_body_at_the_limit_is_read(raw: Raw) -> None:
    head = event(b'"')[:-1]
    body = head + b"x" * (MAX_BODY_BYTES - len(head) - 2) + b'"}'
    assert len(body) == MAX_BODY_BYTES
    status, _, answer = raw.post({"content-type": STRUCTURED, "content-length": str(len(body))}, [body])
    assert status == 202, answer[:300]


@pytest.mark.parametrize("repeated", ["ce-id", "ce-source", "ce-subject", "ce-sequence"])
def test_event_with_two_values_of_one_header_is_refused(raw: Raw, repeated: str) -> None:
    attributes = {"ce-specversion": "1.0", "ce-id": "1", "ce-source": "/billing", "ce-type": "t.v1"}
    headers = attributes | {"ce-subject": "one", "ce-sequence": "1", "content-length": "0"}
    status, _, _ = raw.post(headers | {repeated.upper(): headers[repeated]}, [b""])
    assert status == 202
    problem = refused(raw.post(headers | {repeated.upper(): "2"}, [b""]), 400, 422)
    assert "appears twice" in str(problem["detail"])


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
@pytest.mark.parametrize("valid_last", [True, False])
def test_webhook_with_two_values_of_one_header_is_refused(raw: Raw, name: str, valid_last: bool) -> None:
    body = b'{"id":"evt_two_values"}'
    signed = signature.sign("standard-webhooks-v1", SECRET, body, datetime.now(UTC))
    others = {key: value for key, value in signed.items() if key != name}
    pair = [(name, signed[name] + "0"), (name.upper(), signed[name])]
    headers = others | dict(pair if valid_last else reversed(pair)) | {"content-length": str(len(body))}
    problem = refused(raw.post(headers, [body], "/v1/receipts/billing"), 401)
    assert "appears twice" in str(problem["detail"])


@pytest.mark.parametrize("encoding", ["gzip", "deflate", "br", "gzip, gzip"])
def test_packed_bodies_are_refused_unopened(company: Process, raw: Raw, encoding: str) -> None:
    before = company.memory()
    bomb = gzip.compress(b"0" * (64 * MIB)) if "gzip" in encoding else zlib.compress(b"0" * (64 * MIB))
    headers = {"content-type": STRUCTURED, "content-encoding": encoding, "content-length": str(len(bomb))}
    refused(raw.post(headers, [bomb]), 415)
    assert company.memory() - before < 16 * MIB


def test_many_large_bodies_at_once_stay_within_the_budget(company: Process) -> None:
    before = company.memory()
    half = b"x" * (MAX_BODY_BYTES - 1000)
    head = (
        f"POST /v1/receipts/billing HTTP/1.1\r\nhost: x\r\ncontent-length: {MAX_BODY_BYTES}\r\n\r\n"
    ).encode()
    connections = [
        socket.create_connection(("127.0.0.1", company.port), timeout=PATIENCE_SECONDS) for _ in range(80)
    ]
    try:
        statuses = []
        for connection in connections:
            connection.sendall(head)
            connection.setblocking(False)
        pending = dict.fromkeys(connections, half)
        ends = time.monotonic() + PATIENCE_SECONDS
        while pending and time.monotonic() < ends:
            for connection, left in list(pending.items()):
                try:
                    sent = connection.send(left[: 256 * 1024])
                    pending[connection] = left[sent:]
                    if not pending[connection]:
                        del pending[connection]
                except BlockingIOError:
                    time.sleep(0.001)
                except OSError:
                    del pending[connection]
        grown = company.memory() - before
        for connection in connections:
            try:
                answer = connection.recv(100)
            except OSError:
                continue
            if answer:
                statuses.append(int(answer.split()[1]))
        assert set(statuses) == {503}
        assert grown < 192 * MIB  # they are 320 MiB together
    finally:
        for connection in connections:
            connection.close()


def test_heads_are_bounded(raw: Raw) -> None:
    fields = {f"x-{n}": "y" for n in range(150)}
    refused(raw.post(fields | {"content-length": "0"}, []), 431)
    refused(raw.post({"x-long": "y" * 20_000, "content-length": "0"}, []), 431)


def test_a_lying_length_does_not_hang_the_others(company: Process) -> None:
    with socket.create_connection(("127.0.0.1", company.port), timeout=PATIENCE_SECONDS) as slow:
        slow.sendall(b"POST /v1/receipts/billing HTTP/1.1\r\nhost: x\r\ncontent-length: 100\r\n\r\nabc")
        with httpx2.Client(base_url=company.url, trust_env=False) as http:
            assert http.get("/healthz").status_code == 200


def test_nonsense_for_a_request_does_not_end_the_server(company: Process) -> None:
    for nonsense in (
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"\x16\x03\x01\x02\x00",
        b"GET http://[ HTTP/1.1\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", company.port), timeout=PATIENCE_SECONDS) as connection:
            connection.sendall(nonsense)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(4096):
                pass
    with httpx2.Client(base_url=company.url, trust_env=False) as http:
        assert http.get("/healthz").status_code == 200


async def test_a_slow_body_is_given_up() -> None:
    async def never_reached(scope: object, receive: object, send: object) -> None:
        raise AssertionError

    async def silent() -> dict[str, object]:
        await asyncio.sleep(3600)
        raise AssertionError

    sent: list[dict[str, object]] = []

    async def send(message: object) -> None:
        assert isinstance(message, dict)
        sent.append(message)

    scope = {"type": "http", "headers": [(b"expect", b"100-continue")], "path": "/", "scheme": "http"}
    await RequestLimits(never_reached, body_seconds=0.05)(scope, silent, send)
    assert sent[0]["status"] == 408
