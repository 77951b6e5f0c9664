"""Addresses of clients: in one form, and the part by which clients are counted."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network


def plain_address(text: str) -> IPv4Address | IPv6Address:
    """Return an address; a server that listens on IPv6 sees IPv4 clients as `::ffff:192.0.2.1`. Raises ValueError."""
    address = ip_address(text)
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def network_of(address: str) -> str:
    """Return the part of an address that one client cannot change: all of IPv4, the first 64 bits of IPv6."""
    try:
        ip = plain_address(address)
    except ValueError:
        return address
    if ip.version == 4:
        return str(ip)
    return str(ip_network(f"{ip}/64", strict=False).network_address)
