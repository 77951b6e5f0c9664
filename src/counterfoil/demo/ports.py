"""Ports of 127.0.0.1 for programs that start later.

A port that the kernel chooses (bind to 0) lies in the range of outgoing connections, so any connection of this
machine may take it between the choice and the start of the program. These ports lie below that range.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Mapping, Sequence
from pathlib import Path

LOWEST_PORT = 16384
"""Below are the ports that well-known servers listen on."""
KERNEL_RANGE = Path("/proc/sys/net/ipv4/ip_local_port_range")
FIRST_OUTGOING_PORT = 32768
"""First port of outgoing connections where the kernel does not say its range."""

_chosen: set[int] = set()


def free(port: int) -> bool:
    """Return whether a process could listen on this port of 127.0.0.1 now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def free_port() -> int:
    """Return a free port that this process has not returned before and that no outgoing connection takes.

    Raises RuntimeError if there is none.
    """
    ports = [port for port in range(LOWEST_PORT, _outgoing_start()) if port not in _chosen]
    random.shuffle(ports)  # so that processes that choose at the same time choose different ports
    for port in ports:
        if free(port):
            _chosen.add(port)
            return port
    raise RuntimeError("no port of 127.0.0.1 is free")


def choose_ports(names: Sequence[str], previous: Mapping[str, int]) -> dict[str, int]:
    """Return a port for each name: the previous one if it is free, otherwise another free port."""
    chosen: dict[str, int] = {}
    for name in names:
        port = previous.get(name)
        if port is None or port in chosen.values() or not free(port):
            port = free_port()
        chosen[name] = port
    return chosen


def _outgoing_start() -> int:
    try:
        start = int(KERNEL_RANGE.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST_OUTGOING_PORT
    return start if start > LOWEST_PORT else FIRST_OUTGOING_PORT
