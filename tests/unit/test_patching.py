"""Replacements in tests: they reach each importer of a constant, and a renamed target is an error."""

from __future__ import annotations

import sys
from types import ModuleType, SimpleNamespace

import pytest

from counterfoil.flow.intake import admit
from counterfoil.flow.runs import snapshot
from counterfoil.flow.worker import worker
from tests.patching import importers, replace_attribute, replace_constant


def module_with(monkeypatch: pytest.MonkeyPatch, name: str, **values: object) -> ModuleType:
    module = ModuleType(name)
    vars(module).update(values)
    monkeypatch.setitem(sys.modules, name, module)
    return module


def test_a_constant_is_replaced_in_each_importer(monkeypatch: pytest.MonkeyPatch) -> None:
    constant = object()
    home = module_with(monkeypatch, "trial.home", LIMIT=constant)
    importer = module_with(monkeypatch, "trial.importer", LIMIT=constant)
    homonym = module_with(monkeypatch, "trial.homonym", LIMIT=object())
    replace_constant(home, "LIMIT", 5)
    assert (home.LIMIT, importer.LIMIT) == (5, 5)
    assert homonym.LIMIT != 5


def test_a_name_that_does_not_exist_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    home = module_with(monkeypatch, "trial.home", LIMIT=1)
    with pytest.raises(AttributeError):
        replace_constant(home, "FORMER_NAME", 5)
    with pytest.raises(AttributeError):
        replace_attribute(SimpleNamespace(limit=1), "former_name", 5)


def test_the_lease_of_crash_tests_reaches_the_modules_that_use_it() -> None:
    """tests/crash/process.py shortens the lease of its processes in this way."""
    assert {snapshot, worker, admit} <= set(importers(snapshot, "LEASE"))
