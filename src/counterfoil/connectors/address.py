"""Check of the hosts and addresses that calls to a system may reach.

A name in a file or in a vendor's answer must not open a way into the private network. So the check covers the address of
the connection, not only the name.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass

from counterfoil.core.errors import Misconfigured

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = ipaddress.ip_network("64:ff9b::/96")
# Addresses of cloud metadata services (credentials) outside the link-local range.
# Special-purpose ranges that `ipaddress` of this Python calls global: https://www.iana.org/assignments/iana-ipv4-special-registry.
_SPECIAL = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "64:ff9b:1::/48", "2001::/23", "3fff::/20", "5f00::/16")
)
_METADATA = frozenset(
    map(ipaddress.ip_address, ("fd00:ec2::254", "fd20:ce::254", "100.100.100.200", "168.63.129.16"))
)


@dataclass(frozen=True, slots=True)
class Reach:
    """Hosts that a connector may call.

    `hosts`: allowed in addition to the system's own host. `private`: hosts that may have private or loopback addresses.
    `loopback`: any allowed host may be on this machine. Link-local and metadata addresses are never reachable.
    """

    hosts: frozenset[str] = frozenset()
    private: frozenset[str] = frozenset()
    loopback: bool = False

    def check_host(self, host: str, own: str) -> None:
        """Raise Misconfigured unless `host` is the system's own host or an allowed one."""
        if host != own and host not in self.hosts and host not in self.private:
            raise Misconfigured(f"host {host} is not among the system's allowed hosts")

    def check_addresses(self, host: str, addresses: Sequence[str], *, encrypted: bool) -> None:
        """Raise Misconfigured unless every address may be called."""
        for text in addresses:
            address = _innermost(ipaddress.ip_address(text))
            if not self._is_permitted(host, address):
                raise Misconfigured(
                    f"host {host} has the {_kind(address)} address {text}, which must not be called. "
                    "Add the host to private_hosts for a private address, or set loopback: true for this machine"
                )
            if not encrypted and not (address.is_loopback or host in self.private):
                message = f"host {host} must be called over https because it is neither local nor private"
                raise Misconfigured(message)

    def _is_permitted(self, host: str, address: _Address) -> bool:
        if address in _METADATA or address.is_link_local or address.is_multicast or address.is_unspecified:
            return False
        if address.is_loopback:
            return self.loopback or host in self.private
        if address.is_reserved:
            return False
        if any(address in network for network in _SPECIAL if network.version == address.version):
            return host in self.private
        site_local = isinstance(address, ipaddress.IPv6Address) and address.is_site_local
        return (address.is_global and not site_local) or host in self.private


def _innermost(address: _Address) -> _Address:
    """Return the IPv4 address that a gateway would call for an IPv6 address, else the address itself."""
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
