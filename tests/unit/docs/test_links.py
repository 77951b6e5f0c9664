"""Documents point at things that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.source import ROOT, tracked

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
HEADING = re.compile(r"^#+ (.+)$", re.M)


def anchors(text: str) -> set[str]:
    """The anchors of a page's headings, made the way that hosting sites make them."""
    return {
        re.sub(r"\s", "-", re.sub(r"[^\w\s-]", "", heading.lower())).strip("-")
        for heading in HEADING.findall(text)
    }


def dead_links(page: Path, text: str) -> list[str]:
    """Relative links of a page to files or headings that are not there."""
    dead = []
    prose = re.sub(r"```.*?```", "", text, flags=re.S)
    for target in LINK.findall(prose):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        file = (page.parent / name).resolve() if name else page
        if not file.exists():
            dead.append(f"{page.name}: {target} is not there")
        elif anchor and file.suffix == ".md":
            headings = text if file == page else file.read_text("utf-8")
            if anchor not in anchors(headings):
                dead.append(f"{page.name}: {target} names no heading")
    return dead


PAGES = sorted(file for file in tracked() if file.suffix == ".md")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page: Path) -> None:
    assert dead_links(page, page.read_text("utf-8")) == []


@pytest.mark.parametrize("target", ["nowhere.md", "../docs/nowhere.md", "#nowhere", "glossary.md#nowhere"])
def test_a_planted_dead_link_is_found(target: str) -> None:
    assert dead_links(ROOT / "docs" / "README.md", f"# Here\n[x]({target})") != []


@pytest.mark.parametrize("target", ["glossary.md", "#here", "glossary.md#the-parts", "https://example.com"])
def test_a_good_link_is_let_through(target: str) -> None:
    assert dead_links(ROOT / "docs" / "README.md", f"# Here\n[x]({target})") == []


def test_every_page_is_listed_on_the_first() -> None:
    listed = {
        (ROOT / "docs" / target).resolve()
        for target in LINK.findall((ROOT / "docs/README.md").read_text("utf-8"))
    }
    pages = {page for page in PAGES if page.is_relative_to(ROOT / "docs")} - {ROOT / "docs/README.md"}
    assert pages - listed == set()
