"""Personal texts in prose: what is replaced, and what stays."""

from __future__ import annotations

import pytest

from counterfoil.core.personal_texts import MASKED, PersonalTexts, without_answer
from counterfoil.core.search_words import begins_one


def texts(*personal: str, echoed: tuple[str, ...] = ()) -> PersonalTexts:
    masked = PersonalTexts(echoed)
    for text in personal:
        masked.add(text)
    return masked


@pytest.mark.parametrize(
    ("text", "replaced"),
    [
        ("Ann Marsh", MASKED),
        ("ANN MARSH is blocked", f"{MASKED} is blocked"),
        ("Ann Marshall", "Ann Marshall"),
        ("of 4711, and 4711", "of 4711, and 4711"),
        ("DE8937040044 of Al", f"{MASKED} of Al"),
        ("al", MASKED),
    ],
)
def test_a_name_is_replaced_whole_and_a_short_text_where_it_stands_alone(text: str, replaced: str) -> None:
    assert texts("Ann Marsh", "4711", "DE8937040044", "Al").replace(text) == replaced


def test_markup_has_the_word_where_the_name_is_escaped() -> None:
    assert texts("O'Hara & Sons").replace_escaped("<b>O&#x27;Hara &amp; Sons</b>") == f"<b>{MASKED}</b>"


def test_what_the_caller_wrote_stays_where_it_stands_alone() -> None:
    masked = texts("Ann Marsh", echoed=("Ann Marsh",))
    masked.echo("call Ann Marsh ")
    assert masked.replace("ann marsh") == "ann marsh"
    assert masked.replace("call Ann Marsh") == "call Ann Marsh"
    assert masked.replace("Ann Marsh is blocked") == f"{MASKED} is blocked"


@pytest.mark.parametrize(
    ("fault", "safe"),
    [
        ("answered 503: b'Ann'", f"answered 503: {MASKED}"),
        ("no answer within 5 s", "no answer within 5 s"),
        ("", ""),
    ],
)
def test_a_fault_keeps_its_cause_without_the_answer(fault: str, safe: str) -> None:
    assert without_answer(fault) == safe


def test_a_short_word_is_searched_whole() -> None:
    assert begins_one("mar", ["marsh"])
    assert not begins_one("ma", ["marsh"])
    assert begins_one("ma", ["ma"])
