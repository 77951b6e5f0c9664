"""HTTP client of a running server. It finds the address and the token, and turns problems into one-line errors."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import httpx2

from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.server_address import published_address
from counterfoil.core.wire import WireRefused, read_json

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_FILE = Path(".counterfoil") / "token"


def require_folder(dir: Path) -> None:
    if not dir.is_dir():
        raise CommandFailed(f"{dir} is not a folder.")


def server_url() -> str:
    """Return COUNTERFOIL_URL, or the address of the server that runs in the current folder, or the default address.

    Raises CommandFailed if the default address would receive the token of a folder in which no server runs: another
    program may listen there.
    """
    if named := os.environ.get("COUNTERFOIL_URL", "") or published_address():
        return named.rstrip("/")
    if not os.environ.get("COUNTERFOIL_TOKEN", "") and token():
        raise CommandFailed(
            f"no server of this folder runs, and {TOKEN_FILE} is not sent to another one. Start the server with "
            f"`counterfoil up`, or set COUNTERFOIL_URL to its address, such as {DEFAULT_URL}."
        )
    return DEFAULT_URL


def token() -> str:
    """Return COUNTERFOIL_TOKEN or the content of the current folder's token file; empty if neither exists."""
    if value := os.environ.get("COUNTERFOIL_TOKEN", ""):
        return value.strip()
    try:
        return TOKEN_FILE.read_text("utf-8", "surrogateescape").strip()
    except OSError:
        return ""


def _checked_url(url: str) -> str:
    """Return an address with scheme and host. Raises CommandFailed for any other text."""
    try:
        parts = httpx2.URL(url)
        if parts.scheme in ("http", "https") and parts.host:
            return url
    except (httpx2.InvalidURL, UnicodeError):
        pass
    raise CommandFailed(f"COUNTERFOIL_URL is {url}, which is no address such as {DEFAULT_URL}.")


class ServerRefused(CommandFailed):
    """Refusal by the server, with its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class Server:
    """Connection of one command to the server."""

    def __init__(self, timeout: float = 30.0) -> None:
        self.url = _checked_url(server_url())
        bearer = token()
        if not bearer.isascii():
            raise CommandFailed(
                f"COUNTERFOIL_TOKEN or {TOKEN_FILE} is no token: it has other characters than ASCII."
            )
        headers = {"authorization": f"Bearer {bearer}"} if bearer else {}
        # Without TLS there is no certificate to verify, and reading the known authorities takes 0.1 s.
        verify = not self.url.startswith("http:")
        self._client = httpx2.Client(
            base_url=self.url, headers=headers, timeout=timeout, trust_env=False, verify=verify
        )
        self._has_token = bool(bearer)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """Return a route's JSON. Raises CommandFailed for any other status than 2xx."""
        return self._json(self.request("GET", path, params={k: v for k, v in query.items() if v is not None}))

    def save(self, path: str, file: BinaryIO, **query: Any) -> None:
        """Write a route's file while it arrives. Raises CommandFailed for any other status than 2xx, and for half a file."""
        params = {k: v for k, v in query.items() if v is not None}
        try:
            with self._client.stream("GET", path, params=params) as answer:
                if answer.status_code >= 300:
                    answer.read()
                    self._json(answer)
                for chunk in answer.iter_bytes():
                    file.write(chunk)
        except httpx2.HTTPError as error:
            raise CommandFailed(
                f"{self.url}: the file did not arrive whole: {error or type(error).__name__}. Export it again."
            ) from None

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json(self.request("POST", path, json=dict(body)))

    def post_raw(self, path: str, body: bytes, headers: Mapping[str, str], unauthorized: str = "") -> Any:
        """Send bytes and return the JSON. `unauthorized` is the advice after a 401."""
        answer = self.request("POST", path, content=body, headers=dict(headers))
        return self._json(answer, unauthorized)

    def rows(self, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
        """Return up to `limit` rows of a list, reading as many pages as needed."""
        rows: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(rows) < limit:
            page = self.get(path, limit=min(200, limit - len(rows)), cursor=cursor, **query)
            rows += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return rows

    def request(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """Send a request and return its response, whatever the status. Raises CommandFailed without a response."""
        try:
            return self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            missing = "" if self._has_token else ", and COUNTERFOIL_TOKEN to a person's token"
            raise CommandFailed(
                f"no answer from {self.url}: {error or type(error).__name__}. Start a server with `counterfoil up` "
                f"and run the command in its folder, or set COUNTERFOIL_URL to its address{missing}."
            ) from None

    def _json(self, answer: httpx2.Response, unauthorized: str = "") -> Any:
        try:
            body = read_json(answer.content)
        except WireRefused:
            body = None
        if answer.status_code < 300 and body is not None:
            return body
        if isinstance(body, dict) and "detail" in body:
            hint = ""
            if answer.status_code == 401 and unauthorized:
                hint = f" {unauthorized}"
            elif answer.status_code == 401 and not self._has_token:
                hint = f" No token was found: set COUNTERFOIL_TOKEN, or run the command in the folder of {TOKEN_FILE}."
            # The detail of a conflict says what is in the way; the title would only repeat that something is.
            title = "" if answer.status_code == 409 else f"{body.get('title', 'Refused')}: "
            detail = str(body["detail"])
            stop = "" if detail.endswith((".", "!", "?")) or not hint else "."
            raise ServerRefused(answer.status_code, f"{self.url}: {title}{detail}{stop}{hint}")
        raise CommandFailed(
            f"{self.url} answered {answer.status_code}, but not as Counterfoil's API does; check COUNTERFOIL_URL."
        )
