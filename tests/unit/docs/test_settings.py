"""Whatever can be set, written or typed is documented; what the documents show can be typed."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from pydantic import BaseModel
from typer.main import get_command

from counterfoil.cli.commands import COMMANDS, app_with
from counterfoil.connectors import files, openapi, query, stripe, tryton
from counterfoil.connectors.http import Http
from counterfoil.connectors.settings import SETTINGS
from counterfoil.core.case import Choice
from counterfoil.core.effect import EffectState
from counterfoil.core.matching import FoilState
from counterfoil.core.run import RunStatus
from counterfoil.model.kinds import KINDS
from tests.source import ROOT, modules, tracked

VARIABLE = re.compile(r"\b(?:COUNTERFOIL|ACME)(?:_[A-Z0-9]+)+\b")
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.M | re.S)
INLINE = re.compile(r"`(counterfoil [^`\n]+)`")
TERMINALS = {"sh", "bash", "console", ""}
PAGES = sorted(file for file in {*tracked(), *(ROOT / "docs").rglob("*.md")} if file.suffix == ".md")


def read(name: str) -> str:
    return (ROOT / "docs" / name).read_text("utf-8")


def variables() -> set[str]:
    """Environment variables that the product, its example and its tests' set-up read."""
    texts = [module.text for module in modules()]
    texts += [file.read_text("utf-8") for file in (ROOT / "examples").rglob("*.yaml")]
    texts += [(ROOT / "tests" / "conftest.py").read_text("utf-8"), (ROOT / "Makefile").read_text("utf-8")]
    return {found for text in texts for found in VARIABLE.findall(text)}


def named(text: str) -> set[str]:
    """What a page names in code."""
    return set(re.findall(r"`([^`\n]+)`", text))


def test_every_environment_variable_is_documented() -> None:
    assert {"COUNTERFOIL_PEOPLE", "ACME_ERP_KEY"} <= variables()
    assert variables() - named(read("reference/configuration.md")) == set()


def test_no_documented_variable_is_read_by_nobody() -> None:
    assert set(VARIABLE.findall(read("reference/configuration.md"))) - variables() == set()


def shared_settings() -> set[str]:
    """Those of `Http.of`, as its docstring names them."""
    return set(re.findall(r"`(\w+)`", (Http.of.__doc__ or "").partition("Settings:")[2]))


def settings() -> dict[str, set[str]]:
    """Connector -> every setting it takes, as its code holds them."""
    return {
        "stripe": set(stripe.connector.StripeSettings.model_fields) | set(SETTINGS),
        "roundup": set(SETTINGS),
        "tryton": set(tryton.settings.TrytonSettings.model_fields) | set(SETTINGS),
        "http": set(openapi.settings.HttpSettings.model_fields) | SETTINGS,
        "files": set(files.settings.FilesSettings.model_fields),
        "query": set(query.settings.QuerySettings.model_fields),
    }


@pytest.mark.parametrize("connector", ["stripe", "roundup", "tryton", "http", "files", "query"])
def test_every_setting_of_a_system_is_documented(connector: str) -> None:
    page = read("reference/configuration.md").partition("## Settings of systems")[2]
    shared, _, each = page.partition("| connector |")
    (row,) = re.findall(rf"^\| `{connector}` \|.*$", each, re.M)
    assert shared_settings() - named(shared) == set()
    assert settings()[connector] - shared_settings() - named(row) == set()


@pytest.mark.parametrize("model", [files.settings.BookFiles, query.settings.BookQuery])
def test_every_setting_of_a_book_is_documented(model: type[BaseModel]) -> None:
    assert set(model.model_fields) - named(read("how-to/read-files-and-queries.md")) == set()


def test_every_kind_of_file_is_documented() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", read("reference/governance.md"), re.M))
    assert set(KINDS) - rows == set()
    assert set(KINDS) - named(read("explanation/governance.md")) == set()


def test_every_state_of_a_foil_is_explained() -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", read("explanation/foils.md"), re.M))
    assert {str(state) for state in FoilState} - rows == set()


@pytest.mark.parametrize(
    ("page", "words"),
    [
        ("how-to/resolve-a-case.md", Choice),
        ("how-to/read-a-trace.md", EffectState),
        ("how-to/read-a-trace.md", RunStatus),
    ],
)
def test_no_choice_and_no_state_is_left_out(page: str, words: type[Choice | EffectState | RunStatus]) -> None:
    rows = set(re.findall(r"^\| `(\w+)` \|", read(page), re.M))
    assert {str(word) for word in words} - rows == set()


def typed(text: str) -> list[str]:
    """Every `counterfoil ...` that a page shows, in a terminal's block or within a sentence."""
    lines = [
        line.strip()
        for language, body in FENCE.findall(text)
        if language in TERMINALS
        for line in body.splitlines()
    ]
    shown = [line for line in lines if line.startswith("counterfoil ")]
    shown += [found for line in lines for found in re.findall(r"\$\((counterfoil [^)|]+)", line)]
    return shown + INLINE.findall(re.sub(r"```.*?```", "", text, flags=re.S))


def wrong(line: str) -> str | None:
    """Why a line cannot be typed: a command or an option that there is not."""
    words = shlex.split(re.split(r"\s(?:&|\|\|?|&&|>|#)(?:\s|$)", line.replace("…", ""))[0])[1:]
    command = get_command(app_with(COMMANDS))
    while words and hasattr(command, "commands"):
        if words[0].startswith("-"):
            break
        if words[0].isupper():  # stands for any
            return None
        found = command.commands.get(words[0])
        if found is None:
            # `connectors` stands alone, or has commands below it.
            return f"there is no command {words[0]!r}" if command.name in (None, "counterfoil") else None
        command, words = found, words[1:]
    known = {
        option for parameter in command.params for option in (*parameter.opts, *parameter.secondary_opts)
    }
    options = {word.partition("=")[0].strip("[]") for word in words if word.strip("[").startswith("--")}
    missing = options - known - {"--help"}
    return f"{command.name} has no option {', '.join(sorted(missing))}" if missing else None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_command_that_is_shown_can_be_typed(page: Path) -> None:
    found = {line: why for line in typed(page.read_text("utf-8")) if (why := wrong(line))}
    assert found == {}


@pytest.mark.parametrize(
    "text",
    [
        "```sh\ncounterfoil pots\n```",
        "```\n  counterfoil runs --colour red\n```",
        "```sh\nx=$(counterfoil cases --nothing | wc -l)\n```",
        "Type `counterfoil frobnicate` now.",
    ],
)
def test_a_planted_command_is_found(text: str) -> None:
    assert [line for line in typed(text) if wrong(line)] != []


def test_a_good_command_is_let_through() -> None:
    text = "```sh\ncounterfoil runs --key K || true\ncounterfoil connectors test x --trial f:g\n```\n`counterfoil`"
    assert [line for line in typed(text) if wrong(line)] == []
    assert len(typed(text)) == 2
