"""Imports between the rooms of web: the API never needs a page, and HTTP needs neither, except for its server."""

from __future__ import annotations

from tests.source import Module, modules, planted

BELOW = {"http": ("http",), "api": ("http", "api"), "pages": ("http", "api", "pages")}


def upward(module: Module) -> list[str]:
    parts = module.path.parts
    room = parts[parts.index("web") + 1] if "web" in parts else ""
    if room not in BELOW or module.path.name == "server.py":
        return []
    return [
        module.at(node, f"web/{room} may not import {name}")
        for node, name in module.imports()
        if name.startswith("counterfoil.web.") and name.split(".")[2] not in BELOW[room]
    ]


def test_rooms_import_downward_only() -> None:
    assert [finding for module in modules() for finding in upward(module)] == []


def test_an_upward_import_is_found() -> None:
    assert upward(planted("web/api/lists.py", "from counterfoil.web.pages import runs"))
