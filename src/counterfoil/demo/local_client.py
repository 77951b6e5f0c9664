"""HTTP clients of the demonstration's systems, which listen on this machine without TLS."""

from __future__ import annotations

from typing import Any

import httpx2


def local_client(url: str, **settings: Any) -> httpx2.AsyncClient:
    """Return a client of the system at `url` that reads no environment variables.

    Without TLS there is no certificate to verify, and reading the known authorities takes longer than most calls.
    """
    return httpx2.AsyncClient(base_url=url, trust_env=False, verify=not url.startswith("http:"), **settings)
