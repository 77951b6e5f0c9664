"""Imports go downward only: who may import whom inside the package."""

from __future__ import annotations

import sys

import pytest

from tests.source import PACKAGE, Module, modules, planted

EXPRESSION = {"core", "json_or_yaml", "expr", "contracts", "canon"}
GOVERNANCE = EXPRESSION | {"model", "rules"}
BESIDE = {"store", "connectors", "bus"}
ENGINE = GOVERNANCE | BESIDE | {"flow", "change", "replay", "prove"}

# What stands below each floor. A floor may import itself and what is listed, nothing else of the package.
BELOW: dict[str, set[str]] = {
    "": {"core"},
    "core": set(),
    "json_or_yaml": {"core"},
    "canon": {"core", "json_or_yaml"},
    "expr": {"core"},
    "contracts": {"core", "json_or_yaml"},
    "model": EXPRESSION,
    "rules": EXPRESSION | {"model"},
    "store": {"core"},
    "connectors": {"core", "json_or_yaml"},
    "bus": {"core"},
    "flow": GOVERNANCE | BESIDE,
    "change": GOVERNANCE | BESIDE,
    "replay": GOVERNANCE | BESIDE,
    "prove": GOVERNANCE | BESIDE,
    "sheets": set(),
    "reconcile": {"core", "sheets"},
    "testing": GOVERNANCE | BESIDE | {"flow"},
    "application": ENGINE,
    "people_file": {"core"},
    "people_follower": {"core", "store", "people_file"},
    "bootstrap": ENGINE | {"application", "people_file", "people_follower"},
    "serving": ENGINE | {"application", "bootstrap"},
    "web": ENGINE | {"application", "sheets"},
    # The command line is the door to every process, so it alone may start the others.
    "cli": ENGINE
    | {"application", "bootstrap", "people_file", "serving", "web", "testing", "demo", "twins", "reconcile"},
    "twins": {"core"},
    "demo": {"core", "twins"},
}

CORE_MAY_USE = {"msgspec"}


def upward(module: Module) -> list[str]:
    """Imports of the package that do not go downward, and in core everything but the standard library."""
    if module.floor not in BELOW:
        return [f"{module.path}:1: {module.floor!r} has no floor; give it one in tests/unit/test_floors.py"]
    findings = []
    for node, name in module.imports():
        parts = name.split(".")
        if parts[0] != PACKAGE:
            foreign = parts[0] not in sys.stdlib_module_names and parts[0] not in CORE_MAY_USE
            if module.floor == "core" and foreign:
                findings.append(module.at(node, f"core may not use {parts[0]}"))
            continue
        target = parts[1] if len(parts) > 1 else ""
        if target.startswith("__") or (target and target not in BELOW and module.floor == ""):
            continue  # `from counterfoil import __version__` names a value, not a floor
        if target != module.floor and target not in BELOW[module.floor]:
            findings.append(module.at(node, f"{module.floor or PACKAGE} may not import {name}"))
    return findings


def test_imports_go_downward_only() -> None:
    assert [finding for module in modules() for finding in upward(module)] == []


def test_the_rules_see_the_package() -> None:
    assert {"core", "connectors"} <= {module.floor for module in modules()}


def test_the_table_of_floors_has_no_circle() -> None:
    settled: set[str] = set()
    while len(settled) < len(BELOW):
        free = {floor for floor, below in BELOW.items() if floor not in settled and below <= settled}
        assert free, f"these import each other: {sorted(set(BELOW) - settled)}"
        settled |= free


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/money.py", "from counterfoil.rules import decide"),
        ("core/money.py", "import pydantic"),
        ("rules/workflow/decide.py", "from counterfoil.store.port.store import Store"),
        ("rules/workflow/decide.py", "from counterfoil import flow"),
        ("rules/workflow/decide.py", "from ...web import pages"),
        ("rules/workflow/decide.py", "import counterfoil.connectors.sdk"),
        (
            "rules/workflow/decide.py",
            "if True:\n    def late():\n        from counterfoil.bootstrap import application",
        ),
        ("expr/parse.py", "from counterfoil.contracts import diff"),
        ("store/sql/sqlite.py", "from counterfoil.connectors import sdk"),
        ("store/sql/sqlite.py", "from counterfoil.model import Model"),
        ("connectors/http.py", "from counterfoil.store import store"),
        ("connectors/http.py", "from counterfoil.expr import compile"),
        ("bus/nats.py", "from counterfoil.rules import routing"),
        ("flow/runs/turn.py", "from counterfoil.bootstrap import application"),
        ("flow/runs/turn.py", "from counterfoil.change import plan"),
        ("application.py", "from counterfoil.web import server"),
        ("web/http/server.py", "from counterfoil.cli import main"),
        ("twins/billing.py", "from counterfoil.connectors.sdk import Request"),
        ("demo/run.py", "from counterfoil.cli.main import main"),
        ("demo/run.py", "import importlib\nimportlib.import_module('counterfoil.store')"),
        ("novel/thing.py", "x = 1"),
        ("__init__.py", "from counterfoil.flow import turn"),
    ],
)
def test_a_planted_upward_import_is_found(path: str, line: str) -> None:
    assert upward(planted(path, line)) != []


@pytest.mark.parametrize(
    ("path", "line"),
    [
        ("core/wire.py", "import msgspec\nimport datetime"),
        (
            "rules/workflow/decide.py",
            "from counterfoil.model import Model\nfrom ..core import money\nfrom . import retry",
        ),
        (
            "flow/runs/turn.py",
            "from counterfoil.store import store\nfrom counterfoil.rules.workflow.decide import decide",
        ),
        ("cli/main.py", "from counterfoil import __version__\nfrom counterfoil.demo import run"),
        ("demo/run.py", "import stripe\nfrom counterfoil.twins import billing"),
    ],
)
def test_a_downward_import_is_let_through(path: str, line: str) -> None:
    assert upward(planted(path, line)) == []
