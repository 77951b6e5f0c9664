"""Texts of a document with their places."""

from __future__ import annotations

from counterfoil.model.texts import texts_where

DOCUMENT = {
    "doc": "=not a formula",
    "given": [{"event": "x", "data": {"on": "=today", "doc": "=1"}}, "=now", 3, None, ["=a", ["=b"]]],
}


def test_each_text_that_matches_has_its_place_and_some_keys_are_left_out() -> None:
    assert texts_where(DOCUMENT, lambda text: text.startswith("="), ("doc",)) == [
        ("=today", ("given", 0, "data", "on")),
        ("=now", ("given", 1)),
        ("=a", ("given", 4, 0)),
        ("=b", ("given", 4, 1, 0)),
    ]


def test_a_text_may_stand_alone_and_other_values_have_none() -> None:
    assert texts_where("=now", bool) == [("=now", ())]
    assert texts_where(None, bool) == texts_where(7, bool) == []
