"""Talking to a running server: where it is, who we are, and its problems as one line that says what to do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import httpx2

from counterfoil.core.wire import WireRefused, read_json

DEFAULT_URL = "http://127.0.0.1:8080"
TOKEN_FILE = Path(".counterfoil") / "token"


class CommandFailed(Exception):
    """What the person at the terminal is told; the exit code is 2."""


def server_url() -> str:
    return os.environ.get("COUNTERFOIL_URL", DEFAULT_URL).rstrip("/")


def token() -> str:
    """COUNTERFOIL_TOKEN, or the token file of the current folder; empty when there is neither."""
    if given := os.environ.get("COUNTERFOIL_TOKEN", ""):
        return given.strip()
    try:
        return TOKEN_FILE.read_text("utf-8").strip()
    except OSError:
        return ""


class Server:
    """Calls of one command."""

    def __init__(self, timeout: float = 30.0) -> None:
        self.url = server_url()
        held = token()
        headers = {"authorization": f"Bearer {held}"} if held else {}
        self._client = httpx2.Client(base_url=self.url, headers=headers, timeout=timeout, trust_env=False)
        self._known = bool(held)

    def __enter__(self) -> Server:
        return self

    def __exit__(self, *_: object) -> None:
        self._client.close()

    def get(self, path: str, **query: Any) -> Any:
        """A route's JSON. Raises CommandFailed for everything but 200."""
        return self._json(self.ask("GET", path, params={k: v for k, v in query.items() if v is not None}))

    def post(self, path: str, body: Mapping[str, Any]) -> Any:
        return self._json(self.ask("POST", path, json=dict(body)))

    def post_raw(self, path: str, body: bytes, headers: Mapping[str, str]) -> Any:
        return self._json(self.ask("POST", path, content=body, headers=dict(headers)))

    def rows(self, path: str, limit: int, **query: Any) -> list[dict[str, Any]]:
        """Up to `limit` rows of a list, over as many pages as that takes."""
        found: list[dict[str, Any]] = []
        cursor: str | None = None
        while len(found) < limit:
            page = self.get(path, limit=min(200, limit - len(found)), cursor=cursor, **query)
            found += page["items"]
            cursor = page["next"]
            if cursor is None:
                break
        return found

    def ask(self, method: str, path: str, **more: Any) -> httpx2.Response:
        """The answer whatever its status. Raises CommandFailed when there is none."""
        try:
            return self._client.request(method, path, **more)
        except httpx2.HTTPError as error:
            raise CommandFailed(
                f"no answer from {self.url}: {error or type(error).__name__}. Start a server with `counterfoil up`, "
                "or say where it is in COUNTERFOIL_URL."
            ) from None

    def _json(self, answer: httpx2.Response) -> Any:
        try:
            body = read_json(answer.content)
        except WireRefused:
            body = None
        if answer.status_code < 300 and body is not None:
            return body
        if isinstance(body, dict) and "detail" in body:
            hint = ""
            if answer.status_code == 401 and not self._known:
                hint = f" There is no token: set COUNTERFOIL_TOKEN, or run where {TOKEN_FILE} is."
            raise CommandFailed(f"{body.get('title', 'Refused')}: {body['detail']}{hint}")
        raise CommandFailed(f"{self.url} answered {answer.status_code}, which is not Counterfoil's API.")
