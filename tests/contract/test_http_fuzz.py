"""Every route and page under hostile paths, queries, heads and bodies: none of them is an error of the server.

The requests enter at the ASGI interface, with the bytes that a client could send and that no HTTP library sends: bad
encodings, bad heads, and values at the limits of a database. `test_http_generated.py` draws what the description allows
and its opposites. The answers are held to what HTTP allows in a head, so that a header that a client filled in is found.
"""

from __future__ import annotations

import json
import re
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, unquote

import pytest

from counterfoil.flow.context.releases import Releases
from counterfoil.store.sql.postgres import PostgresStore
from counterfoil.store.sql.sqlite import SqliteStore
from counterfoil.web.http import server
from counterfoil.web.http.limits import Asgi
from counterfoil.web.http.request import query_parameters
from tests.companies.web import PASSWORD, TrialApp, cheap_passwords, signed, trial

pytestmark = pytest.mark.xdist_group("web")
HTML = {"accept": "text/html"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
TEXTS = (
    "%C3%A4%E4%B8%96", "%0D%0Aset-cookie:%20a=b", "%00", "a%00b", "%FF", "%ED%A0%80", "%F0%9F%92%A9", "%E2%80%AE",
    "%22%3E%3Cb%3E", "%7B%7B7*7%7D%7D", "%25", "%5C..%2F..", "a;b", "%20", "x" * 700,
)  # fmt: skip
"""Percent-encoded texts: other alphabets, line ends, NUL, bytes that are not UTF-8, markup and templates."""
SPECIAL = (
    "9" * 19 + ".x", "9" * 18 + ".x", "9" * 20, "9" * 17, "-1", "0", "1e400", "NaN", "null", "true",
    "0001-01-01T00:00:00%2B23:59", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59-23:59", "2026-11-30T18:00:00Z",
    "0001-01-01", "9999-12-31", "%D9%A3", "all", "open",
)  # fmt: skip
"""Numbers, times and dates at and beyond what a database or a calendar can hold."""
BODIES = (
    b"", b"-0", b"\xff",
    b'{"a":"\\u0000"}', b'{"time":"x"}', b'{"time":"9999-12-31T23:59:59-23:59"}', b'{"date":1}', b'{"map":[]}',
    b'[{"date":"0"}]', b'{"minor":1,"currency":"EUR"}', b'[{"minor":1,"currency":"x"}]', b'[{"duration":"1e300"}]',
    b'[{"duration":"NaN"}]', b'[{"duration":"x"}]', b'[{"kind":1}]', b'[{"kind":"policy","name":null}]',
    b'[{"kind":"table","name":"x","rows":5}]', b'[{"kind":"role","name":"x\\u0000","may":[]}]',
    b"[" * 60 + b"]" * 60, b'{"to":"a\\u0000","apply":true}', b'{"plan":"\\u0000"}',
    b'{"decision":"approve","comment":"\\u0000"}', b'{"choice":"close","note":"\\u0000"}',
    b'{"foil":"\\u0000","note":"\\u0000"}', b'{"note":"a\\u0000b"}',
)  # fmt: skip
FORMS = (
    b"email=%00&password=%00", b"email=\xc3\xa4&password=%FF", b"foil=%00&note=x", b"note=%00", b"a=%ED%A0%80",
    b"choice=close&note=%00", b"decision=approve&comment=%00&subject=%00", b"&&&==", b"",
)  # fmt: skip
HEADS = (
    {"authorization": "Bearer \xff\xfe"}, {"authorization": "Bearer"}, {"authorization": "\x00"}, {"accept": "\xff"},
    {"cookie": "\xff"}, {"cookie": "counterfoil_session=cfs_\xff"}, {"cookie": 'counterfoil_session="'},
    {"origin": "http://["}, {"origin": "\xff"}, {"host": "["}, {"host": ""}, {"host": "\xff"}, {"host": "a:b:c"},
    {"content-type": "\xff;=;"}, {"content-type": "text/html; charset=\xff"}, {"content-type": ""},
    {"content-length": "-1"}, {"content-length": "9" * 30}, {"content-length": "\xb2"},
    {"idempotency-key": "\xff"}, {"prefer": "wait=\xb2"}, {"counterfoil-version": "\xb2"}, {"traceparent": "\xff"},
    {"ce-id": "%", "ce-source": "\xff", "ce-specversion": "1.0", "ce-type": "x"}, {"x-csrf-token": "\xff"},
    {"webhook-id": "\xff", "webhook-timestamp": "\xb2", "webhook-signature": "v1,\xff"},
    {"webhook-id": "1", "webhook-timestamp": "9" * 40, "webhook-signature": "v1,AAAA"},
)  # fmt: skip


class Answer(NamedTuple):
    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class Target(NamedTuple):
    """A route with one of its methods, and the names of its query parameters."""

    method: str
    template: str
    query: frozenset[str]

    @property
    def head(self) -> dict[str, str]:
        return {} if self.template.startswith("/v1/") else HTML

    def path(self, value: str) -> str:
        return re.sub(r"\{\w+:\w+\}", lambda _: value, self.template)


class Client:
    """Sends requests to the ASGI application, and collects those that it answers wrongly."""

    def __init__(self, app: TrialApp, asgi: Asgi, tokens: dict[str, str]) -> None:
        self.asgi = asgi
        self.targets = sorted(targets(app))
        self.bearer = {"authorization": f"Bearer {tokens['ada']}"}
        self.thorough = isinstance(app.store, SqliteStore)
        """The other stores get the values that reach a database."""
        self.wrong: list[str] = []

    async def send(self, method: str, target: str, headers: dict[str, str], body: bytes = b"") -> Answer:
        path, _, query = target.partition("?")
        fields = {"host": "testserver", **headers}
        scope = {
            "type": "http", "asgi": {"version": "3.0"}, "http_version": "1.1", "method": method, "scheme": "http",
            "path": unquote(path), "raw_path": path.encode(), "query_string": query.encode(), "root_path": "",
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in fields.items()],
            "client": ("127.0.0.1", 5), "server": ("127.0.0.1", 80), "state": {},
        }  # fmt: skip
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            return {"type": "http.request", "body": body, "more_body": False}

        async def send(message: Any) -> None:
            sent.append(message)

        await self.asgi(scope, receive, send)
        answer = Answer(
            sent[0]["status"],
            [(bytes(name), bytes(value)) for name, value in sent[0]["headers"]],
            b"".join(message.get("body", b"") for message in sent[1:]),
        )
        described = f"{answer.status} {method} {target[:100]} {headers} {body[:80]!r}: {answer.body[:200]!r}"
        if answer.status >= 500:
            self.wrong.append(described)
        for name, value in answer.headers:
            if not re.fullmatch(rb"[!-~]+", name) or not re.fullmatch(rb"[ -~]*", value):
                self.wrong.append(f"{name!r}: {value!r} in the answer to {described}")
        return answer

    def check(self) -> None:
        assert not self.wrong, f"{len(self.wrong)} wrong answers:\n" + "\n".join(self.wrong[:20])


def targets(app: TrialApp) -> Iterator[Target]:
    for route in server.routes(app, cheap_passwords()).routes:  # type: ignore[arg-type]
        for handler in getattr(route, "route_handlers", ()):
            for method in handler.http_methods & {"GET", "POST"}:
                names = frozenset(query_parameters(handler.fn))
                yield Target(method, route.path, names)


@pytest.fixture(params=["sqlite", "postgres"])
async def client(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Client]:
    if request.param == "sqlite":
        store: Any = await SqliteStore.open(tmp_path / "company.db")
    else:
        cluster = request.getfixturevalue("postgres")
        store = await PostgresStore.open(cluster.dsn(await cluster.create()))
    try:
        passwords = cheap_passwords()
        app, tokens = await trial(store, passwords)
        await Releases(store, app.model).publish(await store.now(), "test")
        yield Client(app, server.build(app, passwords), tokens)  # type: ignore[arg-type]
    finally:
        await store.close()


async def test_no_path_is_an_error_of_the_server(client: Client) -> None:
    for target in client.targets:
        for value in TEXTS:
            where = target.path(value) if "{" in target.template else f"{target.template}/{value}"
            await client.send(target.method, where, target.head)
            await client.send(target.method, where, target.head | client.bearer)
    client.check()


async def test_no_query_is_an_error_of_the_server(client: Client) -> None:
    values = (*TEXTS[:7], *SPECIAL) if client.thorough else (*TEXTS[2:5], *SPECIAL[:3])
    for target in client.targets:
        for name in target.query:
            for value in values:
                where = f"{target.path('x')}?{name}={value}"
                await client.send(target.method, where, target.head | client.bearer)
        await client.send(target.method, f"{target.path('x')}?%00=%FF&;&=&%", target.head | client.bearer)
    client.check()


async def test_no_body_is_an_error_of_the_server(client: Client) -> None:
    types = {"events": "application/cloudevents+json", "usage": "application/cloudevents-batch+json"}
    for target in client.targets:
        if target.method != "POST":
            continue
        path = target.path("billing" if "receipts" in target.template else "x")
        media = types.get(path.rpartition("/")[2], "application/json")
        for body in BODIES:
            head = target.head | client.bearer | {"content-type": media, "idempotency-key": "k"}
            await client.send("POST", path, head | signed(body), body)
        for body in FORMS:
            await client.send("POST", path, target.head | client.bearer | FORM, body)
            await client.send("POST", path, target.head | FORM, body)
    client.check()


async def test_no_event_is_an_error_of_the_server(client: Client) -> None:
    """Texts of an event become columns of the database, which cannot hold every text."""
    base = {
        "specversion": "1.0",
        "id": "1",
        "source": "/billing",
        "type": "usage.recorded.v1",
        "subject": "s",
    }
    for field in ("id", "source", "type", "subject", "time", "dataschema", "data", "other"):
        for value in (
            "\0",
            "a\0b",
            "\u0085",
            "9999-12-31T23:59:59-23:59",
            {"x": "\0"},
            10**60,
            None,
            [],
            "x" * 5000,
        ):
            event = json.dumps(base | {field: value}).encode()
            for path, media, body in (
                ("/v1/events", "application/cloudevents+json", event),
                ("/v1/usage", "application/cloudevents-batch+json", b"[" + event + b"]"),
                ("/v1/usage", "application/x-ndjson", event),
            ):
                await client.send("POST", path, client.bearer | {"content-type": media}, body)
    for id_ in ("\0", "a\0b", "\u0085", "x" * 5000):
        body = json.dumps({"id": id_}).encode()
        await client.send("POST", "/v1/receipts/billing", signed(body), body)
    client.check()


async def test_no_head_is_an_error_of_the_server(client: Client) -> None:
    for target in client.targets if client.thorough else client.targets[::9]:
        path = target.path("billing" if "receipts" in target.template else "x")
        for head in HEADS:
            await client.send(target.method, path, target.head | client.bearer | head, b"{}")
            await client.send(target.method, path, target.head | head, b"{}")
            if target.method == "POST":
                await client.send("POST", path, target.head | client.bearer | FORM | head, b"email=x&note=x")
    for method in ("PUT", "HEAD", "OPTIONS", "TRACE", "\xc4".encode().decode("latin-1"), "get"):
        await client.send(method, "/runs", HTML)
    client.check()


async def test_a_redirect_holds_what_the_caller_wrote(client: Client) -> None:
    """The sign-in page leads back to the address that was asked for, in other alphabets too."""
    asked = await client.send("GET", "/runs/" + quote("世 ä"), HTML)
    (location,) = (value.decode() for name, value in asked.headers if name == b"location")
    assert asked.status == 303
    page = await client.send("GET", location, HTML)
    address = "/runs/" + quote("世 ä")
    assert f'name="next" value="{address}"'.encode() in page.body
    form = f"email=ada%40acme.example&password={quote(PASSWORD)}&next={quote(address)}".encode()
    signed_in = await client.send("POST", "/sign-in", FORM, form)
    assert dict(signed_in.headers)[b"location"] == address.encode()
