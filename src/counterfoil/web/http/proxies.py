"""The public address and the trusted proxies: who the client is and whether it came over TLS, as a proxy reports it.

A proxy's headers count only on connections from its own address. Of the addresses that they list, the last one that is
not itself a trusted proxy is the client: what a client wrote there stands further left and never counts.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_network
from urllib.parse import urlsplit

from counterfoil.core.errors import Misconfigured
from counterfoil.web.http.addresses import plain_address
from counterfoil.web.http.limits import Asgi, Receive, Scope, Send

Network = IPv4Network | IPv6Network
PUBLIC_URL = "COUNTERFOIL_PUBLIC_URL"
TRUSTED_PROXIES = "COUNTERFOIL_TRUSTED_PROXIES"
PROXY_HEADER = "COUNTERFOIL_PROXY_HEADER"
_LOOPBACK = "127.0.0.1, ::1"
_FOR = re.compile(r'(?:^|;)\s*for="?(?:\[([0-9a-f:.]+)\]|([0-9.]+))(?::\d+)?"?\s*(?=;|$)', re.I)
_PROTO = re.compile(r'(?:^|;)\s*proto="?(https?)"?\s*(?=;|$)', re.I)


@dataclass(frozen=True, slots=True)
class PublicAddress:
    """The address under which clients reach the server, and the proxies in between."""

    scheme: str = ""
    """Of the public URL; empty if none is set."""
    host: str = ""
    proxies: tuple[Network, ...] = ()
    forwarded: bool = False
    """The proxies write `Forwarded` (RFC 7239) instead of `X-Forwarded-For` and `X-Forwarded-Proto`."""

    def trusts(self, address: str) -> bool:
        try:
            ip = plain_address(address)
        except ValueError:
            return False
        return any(ip in network for network in self.proxies)


def public_address(environment: Mapping[str, str]) -> PublicAddress:
    """Read the settings. Raises Misconfigured for an invalid one."""
    url = environment.get(PUBLIC_URL, "").strip()
    parts = urlsplit(url)
    if url and (
        parts.scheme not in ("http", "https")
        or not parts.netloc.isascii()
        or not parts.hostname
        or parts.path not in ("", "/")
    ):
        raise Misconfigured(
            f"{PUBLIC_URL} is {url!r}. Give an address such as https://counterfoil.example.com."
        )
    names = environment.get(TRUSTED_PROXIES, _LOOPBACK if url else "")
    try:
        networks = tuple(ip_network(name.strip()) for name in names.split(",") if name.strip())
    except ValueError as error:
        raise Misconfigured(
            f"{TRUSTED_PROXIES}: {error}. Give addresses or networks, as 10.0.0.0/8."
        ) from None
    header = environment.get(PROXY_HEADER, "").strip().lower() or "x-forwarded"
    if header not in ("x-forwarded", "forwarded"):
        raise Misconfigured(f"{PROXY_HEADER} is {header!r}. It is x-forwarded or forwarded.")
    return PublicAddress(parts.scheme, parts.netloc, networks, header == "forwarded")


class ProxyHeaders:
    """ASGI application that gives another one the client, scheme and host of a request from a trusted proxy."""

    def __init__(self, inner: Asgi, public: PublicAddress) -> None:
        self.inner = inner
        self.public = public

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        peer = (scope.get("client") or ("", 0))[0]
        if scope["type"] == "http" and self.public.trusts(peer):
            scope = {**scope, **self._reported(scope, peer)}
        await self.inner(scope, receive, send)

    def _reported(self, scope: Scope, peer: str) -> Scope:
        if self.public.forwarded:
            elements = _values(scope, b"forwarded")
            hops = [_address(element) for element in elements]
            schemes = [match[1].lower() for element in elements[-1:] if (match := _PROTO.search(element))]
        else:
            hops = _values(scope, b"x-forwarded-for")
            schemes = [value.lower() for value in _values(scope, b"x-forwarded-proto")[-1:]]
        scheme = schemes[0] if schemes and schemes[0] in ("http", "https") else scope["scheme"]
        headers = scope["headers"]
        if self.public.host:
            headers = [(name, value) for name, value in headers if name != b"host"]
            headers.append((b"host", self.public.host.encode()))
        return {
            "client": (self._client(hops, peer), 0),
            "scheme": self.public.scheme or scheme,
            "headers": headers,
        }

    def _client(self, hops: list[str], peer: str) -> str:
        """Return the last address that is no trusted proxy; before a text that is no address, the one after it."""
        client = peer
        for hop in reversed(hops):
            address = _address(f'for="{hop}"') or hop  # some proxies add the port
            try:
                client = str(plain_address(address))
            except ValueError:
                return client
            if not self.public.trusts(client):
                return client
        return client


def _values(scope: Scope, name: bytes) -> list[str]:
    text = ",".join(value.decode("latin-1") for key, value in scope["headers"] if key == name)
    return [part.strip() for part in text.split(",") if part.strip()]


def _address(element: str) -> str:
    match = _FOR.search(element)
    return "" if match is None else match[1] or match[2]
