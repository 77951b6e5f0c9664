"""Read folders that share most of their texts without parsing these again."""

from __future__ import annotations

import pickle
from functools import lru_cache
from importlib import import_module

import pytest

from counterfoil.core.finding import Finding
from counterfoil.model.source import Source, parse


def parse_each_text_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep what `read` parses, until the test ends. Each reader gets documents of its own, because expansion changes them."""
    monkeypatch.setattr(import_module("counterfoil.model.read"), "parse", _parse)


def _parse(text: str, file: str) -> tuple[list[Source], list[Finding]]:
    parsed: tuple[list[Source], list[Finding]] = pickle.loads(_parsed(text, file))
    return parsed


@lru_cache(maxsize=1_000)
def _parsed(text: str, file: str) -> bytes:
    return pickle.dumps(parse(text, file), pickle.HIGHEST_PROTOCOL)
