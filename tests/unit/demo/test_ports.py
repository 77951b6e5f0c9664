"""Ports for programs that start later."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from counterfoil.demo import ports

USUAL = (
    int(ports.KERNEL_RANGE.read_text("ascii").split()[0])
    if ports.KERNEL_RANGE.exists()
    else ports.FIRST_OUTGOING_PORT
)


def test_no_outgoing_connection_can_take_a_chosen_port() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        with socket.create_connection(listener.getsockname()) as outgoing:
            assert outgoing.getsockname()[1] >= USUAL
    assert all(ports.LOWEST_PORT <= ports.free_port() < USUAL for _ in range(50))


def test_a_port_is_chosen_once() -> None:
    chosen = [ports.free_port() for _ in range(50)]
    assert len(set(chosen)) == 50


def test_no_other_process_chooses_a_port_that_is_chosen() -> None:
    """The other process may use this port alone, and no program listens on it yet."""
    port = ports.free_port()
    code = (
        "from counterfoil.demo import ports\n"
        f"ports.LOWEST_PORT, ports._outgoing_start = {port}, lambda: {port + 1}\n"
        "print(ports.free_port())"
    )
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert other.returncode != 0
    assert "no port of 127.0.0.1 is free" in other.stderr
    with socket.socket() as program:
        program.bind(("127.0.0.1", port))


def test_the_previous_ports_are_kept_while_they_are_free() -> None:
    first = ports.choose_ports(("erp", "desk"), {})
    assert ports.choose_ports(("erp", "desk"), first) == first
    with socket.socket() as occupied:
        occupied.bind(("127.0.0.1", first["erp"]))
        second = ports.choose_ports(("erp", "desk"), first)
    assert second["erp"] != first["erp"]
    assert second["desk"] == first["desk"]


def test_two_names_never_get_one_port() -> None:
    port = ports.free_port()
    assert len(set(ports.choose_ports(("erp", "desk"), {"erp": port, "desk": port}).values())) == 2


@pytest.mark.parametrize("text", ["", "no numbers", "1024 65535\n"])
def test_a_range_that_leaves_no_room_is_not_followed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    (tmp_path / "range").write_text(text, "ascii")
    monkeypatch.setattr(ports, "KERNEL_RANGE", tmp_path / "range")
    assert ports.free_port() < ports.FIRST_OUTGOING_PORT
