"""Ports of 127.0.0.1 for programs that start later.

A port that the kernel chooses (bind to 0) lies in the range of outgoing connections, so any connection of this
machine may take it between the choice and the start of the program. These ports lie below that range, and a process
that has chosen one reserves it until its end, so that no other process chooses it before its program listens.
"""

from __future__ import annotations

import fcntl
import functools
import os
import random
import socket
import tempfile
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
    """Return a free port that no process of this user has chosen and that no outgoing connection takes.

    Raises RuntimeError if there is none.
    """
    ports = [port for port in range(LOWEST_PORT, _outgoing_start()) if port not in _chosen]
    random.shuffle(ports)  # so that processes that choose at the same time choose different ports
    for port in ports:
        if _reserved(port) and free(port):
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


@functools.cache
def _reservations() -> int:
    """Return the open file whose byte N is locked by the process that has chosen port N.

    It stays open: a process that closes a file loses its locks on it.
    """
    path = Path(tempfile.gettempdir()) / f"counterfoil-ports-{os.getuid()}"
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)


def _reserved(port: int) -> bool:
    """Lock the port for this process until its end; return False if another process has it."""
    file = _reservations()
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except (BlockingIOError, PermissionError):
        return False
    return True


def _outgoing_start() -> int:
    try:
        start = int(KERNEL_RANGE.read_text("ascii").split()[0])
    except (OSError, ValueError, IndexError):
        return FIRST_OUTGOING_PORT
    return start if start > LOWEST_PORT else FIRST_OUTGOING_PORT
