"""Claims about formats hold for the validator: their samples, their patterns, and their subsets."""

from __future__ import annotations

import itertools
import re

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from counterfoil.contracts.jsonschema.pattern import UnsupportedPattern, language
from counterfoil.contracts.jsonschema.regular import both, complement, find, matches
from counterfoil.contracts.jsonschema.values import (
    FORMAT_SUBSETS,
    SAMPLES,
    SHAPES,
    has_format,
    pattern_matches,
)

LAX = re.compile(r"^[^0-9][0-9]{3}-")
"""The validator takes any character for a year's first digit; RFC 3339 does not."""
ALL = [sample for samples in SAMPLES.values() for sample in samples]


@st.composite
def near_a_sample(draw: st.DrawFn) -> str:
    """A string of some format with a few characters exchanged, taken out or put in."""
    text = draw(st.sampled_from(ALL))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(text)))
        put = draw(
            st.sampled_from(
                ["", "0", "1", "a", "Z", "z", "T", ":", ".", "-", "+", "@", "/", " ", "é", "\n", "[", "%20"]
            )
        )
        text = text[:at] + put + text[at + draw(st.integers(0, 1)) :]
    return text


@pytest.mark.parametrize("name", SAMPLES)
def test_samples_are_of_their_format(name: str) -> None:
    assert [sample for sample in SAMPLES[name] if not has_format(sample, name)] == []


@settings(
    max_examples=700, deadline=None, derandomize=True, database=None, suppress_health_check=list(HealthCheck)
)
@given(near_a_sample())
def test_strings_of_a_format_have_its_shape_and_are_of_the_wider_format(text: str) -> None:
    for name in SAMPLES:
        if has_format(text, name) and not LAX.match(text):
            assert name not in SHAPES or matches(language(SHAPES[name]), text), name
            assert all(has_format(text, wide) for narrow, wide in FORMAT_SUBSETS if narrow == name), name


PATTERNS = ["^a", "b$", "[a-c]+", "^(a|bc)*$", "^[^b]{2,3}$", r"^\d+\.\d{2}$", r"\w-\w", "^a?b*c+$", "^(?:x|^y)z", "a|^b$",
            r"^[\w.+-]+@\w+$", "^$", "", r"\s", "[.]", r"^\x41\u0042$", "^(a{2}){1,2}$"]  # fmt: skip


@settings(max_examples=300, deadline=None, derandomize=True, database=None)
@given(st.sampled_from(PATTERNS), st.text(st.sampled_from("abcxyz.-@1 2AB_"), max_size=7))
def test_a_language_holds_the_strings_in_which_the_validator_finds_the_expression(
    pattern: str, text: str
) -> None:
    assert matches(language(pattern), text) is pattern_matches(pattern, text)


def test_a_string_that_tells_two_expressions_apart_does() -> None:
    apart = 0
    for one, other in itertools.permutations(PATTERNS, 2):
        text = find(both([language(one), complement(language(other))]))
        if text is not None:
            apart += 1
            assert pattern_matches(one, text)
            assert not pattern_matches(other, text)
    assert apart > 150


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)b",
        "(?<!a)b",
        r"(a)\1",
        r"\bword\b",
        r"\p{L}",
        "a^b",
        "(a$)+",
        "[",
        "(",
        "a{2,1}",
        "[[:alpha:]]",
        "*a",
    ],
)
def test_what_no_language_can_say_is_not_guessed(pattern: str) -> None:
    with pytest.raises(UnsupportedPattern):
        language(pattern)
