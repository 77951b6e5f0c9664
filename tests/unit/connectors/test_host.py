"""Which connectors are installed, and what a wrong one says."""

from __future__ import annotations

from importlib.metadata import EntryPoint

import pytest

from counterfoil.connectors import host
from counterfoil.connectors.openapi import connect as connect_http
from counterfoil.connectors.sdk import SystemConfig
from counterfoil.core.errors import Misconfigured


def test_installed_connectors_are_listed_by_name_in_order() -> None:
    points = host.installed()
    assert list(points) == sorted(points)
    assert {"http", "roundup"} <= set(points)


def test_a_connector_is_loaded_by_its_name() -> None:
    assert host.load("http") is connect_http


def test_a_connector_that_is_not_installed_names_those_that_are() -> None:
    with pytest.raises(Misconfigured, match=r"no connector named 'htp' is installed; did you mean `http`\?"):
        host.load("htp")


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        ("counterfoil.connectors.nowhere:connect", "cannot be loaded: No module named"),
        ("counterfoil.connectors.host:nothing", "cannot be loaded: .*nothing"),
        ("counterfoil.connectors.host:GROUP", "is not a function"),
    ],
)
def test_a_broken_entry_point_says_what_is_wrong(
    monkeypatch: pytest.MonkeyPatch, value: str, reason: str
) -> None:
    broken = EntryPoint("broken", value, host.GROUP)
    monkeypatch.setattr(host, "entry_points", lambda group: [broken] if group == host.GROUP else [])
    with pytest.raises(Misconfigured, match=reason):
        host.load("broken")


def test_connectors_are_built_by_system_and_every_problem_is_reported() -> None:
    good = SystemConfig("desk", "https://desk.example.com/x", secrets={"username": "u", "password": "p"})
    assert list(host.build([("roundup", good)])) == ["desk"]
    bad = SystemConfig("desk2", "https://desk.example.com/x")
    with pytest.raises(Misconfigured) as raised:
        host.build(
            [("roundup", good), ("roundup", bad), ("htp", SystemConfig("erp", "https://erp.example.com"))]
        )
    missing, unknown = str(raised.value).splitlines()[:2], str(raised.value).splitlines()[2:]
    assert missing == [
        f"system desk2: secrets.{name}: the secret `{name}` is missing; add `{name}:`"
        for name in ("username", "password")
    ]
    assert [line.partition(";")[0] for line in unknown] == [
        "system erp: no connector named 'htp' is installed"
    ]
