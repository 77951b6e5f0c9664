"""Relative paths in governance files start at the file that names them, in every folder and for every setting."""

from __future__ import annotations

import importlib
import pkgutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import counterfoil.connectors
from counterfoil.change.connector_checks import ConnectorChecks
from counterfoil.change.connector_config import configuration
from counterfoil.connectors.settings import PATH
from counterfoil.model import Model, read
from counterfoil.model.file_paths import PATH_SETTINGS
from counterfoil.model.source import MAX_BYTES

API = "info: {title: t}\nopenapi: 3.1.0\npaths: {}\n"
ROLE = "kind: role\nname: clerk\n"
PLACES: dict[str, tuple[str, ...]] = {
    "settings: {openapi: PATH}": ("settings", "openapi"),
    "settings: {ca_file: PATH}": ("settings", "ca_file"),
    "settings: {zone: 'file:PATH'}": ("settings", "zone"),
    "secrets: {token: 'file:PATH'}": ("secrets", "token"),
    "url: 'file:PATH'": ("url",),
}
"""Every place of a system that may have a path."""


def system(more: str) -> str:
    return f"kind: system\nname: bank\nrole: bank\nconnector: http\nowner: clerk\n{more}\n"


def write(folder: Path, **texts: str) -> Path:
    for name, text in {"roles.yaml": ROLE, **texts}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, "utf-8")
    return folder


def at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value[step] if isinstance(value, dict) else getattr(value, step)
    return value


def configured(model: Model, folder: Path, path: tuple[str, ...]) -> str:
    config, missing = configuration(model, model.systems["bank"], folder)
    assert missing == {}
    return str(at(config, path))


@pytest.mark.parametrize("below", ["", "systems/", "systems/eu/"])
@pytest.mark.parametrize(("more", "path"), PLACES.items())
def test_a_path_starts_at_its_file_now_and_in_a_stored_release(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, more: str, path: tuple[str, ...], below: str
) -> None:
    text = system(more.replace("PATH", "parts/x.txt"))
    folder = write(tmp_path / "one", **{f"{below}bank.yaml": text, f"{below}parts/x.txt": "content"})
    monkeypatch.chdir(write(tmp_path / "working", **{"parts/x.txt": "of the working folder"}))
    model, findings = read(folder)
    assert [f for f in findings if f.severity == "error"] == []
    expected = str(folder / below / "parts/x.txt") if path[-1] in PATH_SETTINGS else "content"
    assert configured(model, folder, path) == expected
    assert configured(Model.from_json(model.to_json()), folder, path) == expected
    elsewhere = write(tmp_path / "two", **{f"{below}bank.yaml": text, f"{below}parts/x.txt": "content"})
    assert read(elsewhere)[0].digest == model.digest


@pytest.mark.parametrize(("more", "path"), PLACES.items())
def test_absolute_paths_and_those_at_the_top_stay_as_written(
    tmp_path: Path, more: str, path: tuple[str, ...]
) -> None:
    for place, text in (("deep/bank.yaml", "/etc/x.txt"), ("bank.yaml", "x.txt"), ("bank.yaml", "../x.txt")):
        folder = write(
            tmp_path / text.strip("/.").replace("/", "-"), **{place: system(more.replace("PATH", text))}
        )
        document = read(folder)[0].systems["bank"]
        assert at(document, path).removeprefix("file:") == text


def test_a_path_of_an_earlier_release_starts_in_the_working_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write(tmp_path / "one", **{"bank.yaml": system("secrets: {token: 'file:keys/x'}")})
    monkeypatch.chdir(write(tmp_path / "working", **{"keys/x": "old"}))
    model = read(folder)[0]
    assert configured(model, folder, ("secrets", "token")) == "old"
    write(folder, **{"keys/x": "new"})
    assert configured(model, folder, ("secrets", "token")) == "new"


def test_the_path_of_an_overlay_starts_at_the_overlay(tmp_path: Path) -> None:
    change = "changes: [{kind: system, name: bank, set: {settings: {openapi: api.json}, secrets: {token: 'file:t'}}}]"
    overlay = f"kind: overlay\nname: test\nof: {{environment: test}}\n{change}\n"
    texts = {"systems/bank.yaml": system("settings: {openapi: api.json}"), "test/overlay.yaml": overlay}
    bank = read(write(tmp_path, **texts), environment="test")[0].systems["bank"]
    assert (bank.settings, bank.secrets) == ({"openapi": "test/api.json"}, {"token": "file:test/t"})
    assert read(tmp_path, environment="")[0].systems["bank"].settings == {"openapi": "systems/api.json"}


def test_the_path_of_a_pattern_starts_at_the_file_that_has_the_text(tmp_path: Path) -> None:
    body = '{kind: system, role: bank, connector: http, owner: clerk, settings: {openapi: "${api}", ca_file: ca.pem}}'
    pattern = f"kind: pattern\nname: http-bank\nparameters: {{api: the description}}\nbody: {body}\n"
    use = "kind: system\nname: bank\npattern: {name: http-bank, with: {api: api.json}}\n"
    model, findings = read(write(tmp_path, **{"patterns/p.yaml": pattern, "systems/bank.yaml": use}))
    assert [f for f in findings if f.severity == "error"] == []
    assert model.systems["bank"].settings == {"openapi": "systems/api.json", "ca_file": "patterns/ca.pem"}


@pytest.mark.parametrize("size", [0, MAX_BYTES + 1])
def test_a_description_may_live_in_the_folder(tmp_path: Path, size: int) -> None:
    settings = "url: https://bank.example.com\nsettings: {openapi: api.yaml, auth: {scheme: none}}"
    folder = write(tmp_path, **{"bank/bank.yaml": system(settings), "bank/api.yaml": API + "#" * size})
    model, findings = read(folder, also=ConnectorChecks(folder))
    assert [str(f) for f in findings if f.severity == "error"] == []
    assert {document.name for document in model.documents} == {"clerk", "bank"}
    (folder / "bank" / "api.yaml").write_text("kind: role\nname: x\nopenapi: 3.1.0\n")
    assert "unknown-key" in {finding.rule for finding in read(folder)[1]}


def test_every_path_setting_of_the_connectors_is_moved() -> None:
    """A new setting that is a path has the annotation, and then belongs to PATH_SETTINGS."""
    annotated = set()
    for module in pkgutil.walk_packages(counterfoil.connectors.__path__, "counterfoil.connectors."):
        for value in vars(importlib.import_module(module.name)).values():
            if isinstance(value, type) and issubclass(value, BaseModel):
                fields = value.model_fields.items()
                annotated |= {name for name, info in fields if PATH in info.metadata}
                assert not [
                    name for name, _ in fields if name.endswith(("_file", "_path")) and name not in annotated
                ]
    assert annotated == set(PATH_SETTINGS)
