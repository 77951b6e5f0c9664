"""Which addresses outbound calls may reach."""

from __future__ import annotations

import pytest

from counterfoil.connectors.address import Reach
from counterfoil.core.errors import Misconfigured

PUBLIC = [
    "93.184.215.14",
    "2606:2800:21f:cb07:6820:80da:af6b:8b2c",
    "::ffff:93.184.215.14",
    "64:ff9b::5db8:d70e",
]
LOOPBACK = ["127.0.0.1", "127.8.9.1", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1", "2002:7f00:1::"]
PRIVATE = [
    "10.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "100.64.0.1",
    "192.0.0.8",
    "192.88.99.1",
    "3fff::1",
    "fd12:3456::1",
    "fec0::1",
    "::ffff:10.0.0.1",
    "2002:a00:1::",
]
NEVER = [
    "169.254.169.254",
    "::ffff:169.254.169.254",
    "64:ff9b::a9fe:a9fe",
    "2002:a9fe:a9fe::",
    "fe80::1",
    "fe80::1%2",
    "fd00:ec2::254",
    "100.100.100.200",
    "168.63.129.16",
    "224.0.0.1",
    "ff02::1",
    "0.0.0.0",
    "::",
    "240.0.0.1",
    "255.255.255.255",
    "64:ff9b:1::a00:1",
]
HOST = "api.example.com"


def permitted(address: str, reach: Reach, *, encrypted: bool = True) -> bool:
    try:
        reach.check_addresses(HOST, [address], encrypted=encrypted)
    except Misconfigured:
        return False
    return True


@pytest.mark.parametrize("address", PUBLIC)
def test_public_address_is_reached_over_https_only(address: str) -> None:
    assert permitted(address, Reach())
    assert not permitted(address, Reach(), encrypted=False)
    assert not permitted(address, Reach(loopback=True), encrypted=False)


@pytest.mark.parametrize("address", LOOPBACK)
def test_this_machine_is_reached_only_when_the_configuration_says_so(address: str) -> None:
    assert not permitted(address, Reach())
    assert not permitted(address, Reach(private=frozenset({"other.example.com"})))
    assert permitted(address, Reach(loopback=True), encrypted=False)
    assert permitted(address, Reach(private=frozenset({HOST})), encrypted=False)


@pytest.mark.parametrize("address", PRIVATE)
def test_private_address_is_reached_only_for_a_host_that_is_named(address: str) -> None:
    assert not permitted(address, Reach())
    assert not permitted(address, Reach(loopback=True))
    assert not permitted(address, Reach(hosts=frozenset({HOST})))
    assert permitted(address, Reach(private=frozenset({HOST})), encrypted=False)


@pytest.mark.parametrize("address", NEVER)
def test_no_configuration_makes_metadata_or_link_local_reachable(address: str) -> None:
    assert not permitted(address, Reach(hosts=frozenset({HOST}), private=frozenset({HOST}), loopback=True))


def test_one_forbidden_address_among_several_is_enough() -> None:
    with pytest.raises(Misconfigured, match=r"10\.0\.0\.1"):
        Reach().check_addresses(HOST, [PUBLIC[0], "10.0.0.1"], encrypted=True)


def test_other_hosts_must_be_named() -> None:
    reach = Reach(hosts=frozenset({"files.example.com"}), private=frozenset({"erp.internal"}))
    for host in (HOST, "files.example.com", "erp.internal"):
        reach.check_host(host, HOST)
    with pytest.raises(Misconfigured, match=r"evil\.example\.net"):
        reach.check_host("evil.example.net", HOST)
