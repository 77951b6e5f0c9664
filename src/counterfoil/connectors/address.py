"""Which hosts and addresses a system's calls may reach.

A name in a file or in a vendor's answer must not become a way into our own network: the address that is about to
be connected to is what counts, not the name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.errors import Misconfigured

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Where clouds hand out credentials, outside the link-local range.
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"))
)


@dataclass(frozen=True, slots=True)
class Reach:
    """`hosts`: allowed besides the system's own. `private`: hosts that may have private or loopback addresses.
    `loopback`: any allowed host may be on this machine. Nothing makes link-local or metadata addresses reachable."""

    hosts: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    loopback: bool = False

    def check_host(self, host: str, own: str) -> None:
        if host != own and host not in self.hosts and host not in self.private:
            raise Misconfigured(f"host {host} is not among the system's allowed hosts")

    def check_addresses(self, host: str, addresses: Sequence[str], *, encrypted: bool) -> None:
        """Raises Misconfigured unless every address may be connected to; one bad one among them is bad enough."""
        for text in addresses:
            address = _innermost(ipaddress.ip_address(text))
            if not self._permitted(host, address):
                raise Misconfigured(
                    f"host {host} has the address {text}, which may not be called: {_kind(address)}; a private "
                    "address needs the host in private_hosts, one on this machine needs loopback: true"
                )
            if not encrypted and not (address.is_loopback or host in self.private):
                raise Misconfigured(f"host {host} must be called over https: it is neither local nor private")

    def _permitted(self, host: str, address: _Address) -> bool:
        if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if address.is_loopback:
            return self.loopback or host in self.private
        if address.is_reserved:
            return False
        site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
        return (address.is_global and not site_local) or host in self.private


def _innermost(address: _Address) -> _Address:
    """The IPv4 address that an IPv6 one stands for, where gateways would deliver it there."""
    if isinstance(address, ipaddress.IPv6Address):
        if address in _NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        return address.ipv4_mapped or address.sixtofour or (address.teredo[1] if address.teredo else address)
    return address


def _kind(address: _Address) -> str:
    for kind in ("loopback", "link_local", "multicast", "unspecified", "reserved"):
        if getattr(address, f"is_{kind}"):
            return kind.replace("_", "-")
    return "metadata" if address in _METADATA else "private"
