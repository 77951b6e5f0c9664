"""Parts of JSON documents by pointer, and malformed parts as empty ones."""

from __future__ import annotations

import pytest

from counterfoil.contracts.json_parts import as_list, as_map, escape, part_at, pointer, reference_of, unescape


def test_a_pointer_leads_back_to_its_part() -> None:
    document = {"a/b": [{"~1": "here"}]}
    path = ["a/b", "0", "~1"]
    assert pointer(path) == "/a~1b/0/~01"
    assert [unescape(part) for part in pointer(path)[1:].split("/")] == path
    assert part_at(document, path) == "here"


@pytest.mark.parametrize("path", [["b"], ["a", "2"], ["a", "-1"], ["a", "x"], ["a", "0", "c"]])
def test_a_path_without_a_part_is_an_error(path: list[str]) -> None:
    with pytest.raises(LookupError):
        part_at({"a": [1, 2]}, path)


def test_malformed_parts_are_empty() -> None:
    assert (as_list({}), as_map([]), reference_of({"$ref": 1}), reference_of([])) == ([], {}, "", "")
    assert escape("a~/") == "a~0~1"
