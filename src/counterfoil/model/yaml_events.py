"""Parser events of YAML text: ruamel's reader, scanner and parser as one object with the hot paths made short.

The same events as `YAML(typ="safe", pure=True).parse`, in half the time: a folder of governance is read on every
check, and nearly all of that time is spent here. A test holds the two to each other.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ruamel.yaml.docinfo import DocInfo
from ruamel.yaml.parser import Parser
from ruamel.yaml.reader import Reader
from ruamel.yaml.scanner import Scanner


class Place:
    """A position in the text, without the copy of it that ruamel's marks carry for their messages."""

    __slots__ = ("column", "index", "line")

    def __init__(self, index: int, line: int, column: int) -> None:
        self.index = index
        self.line = line
        self.column = column

    def __str__(self) -> str:
        return f"line {self.line + 1}, column {self.column + 1}"


class _Loader(Reader, Scanner, Parser):
    # Properties that look each other up on every character, as plain attributes.
    reader: Any = None
    scanner: Any = None
    resolver: Any = None
    scanner_processing_version: Any = (1, 2)
    processing_version: Any = (1, 2)

    def __init__(self, text: str) -> None:
        self.comment_handling = None
        self.doc_infos = [DocInfo()]
        self.reader = self.scanner = self.resolver = self
        Reader.__init__(self, text, loader=self)
        Scanner.__init__(self, loader=self)
        Parser.__init__(self, loader=self)

    def get_mark(self) -> Place:
        return Place(self.index, self.line, self.column)

    def need_more_tokens(self) -> bool:
        if self.done:
            return False
        if not self.tokens:
            return True
        if not self.possible_simple_keys:
            return False
        self.stale_possible_simple_keys()
        return bool(self.next_possible_simple_key() == self.tokens_taken)

    def check_token(self, *choices: Any) -> bool:
        while self.need_more_tokens():
            self.fetch_more_tokens()
        return bool(self.tokens) and (not choices or isinstance(self.tokens[0], choices))

    def forward(self, length: int = 1) -> None:
        end = self.pointer + length
        text = self.buffer[self.pointer : end]
        if end + 1 >= len(self.buffer) or "\n" in text or "\r" in text or "\ufeff" in text:
            Reader.forward(self, length)
        else:
            self.pointer = end
            self.index += length
            self.column += length


def events(text: str) -> Iterator[Any]:
    """The events of a text, as they are parsed. Raises YAMLError where it is no YAML."""
    loader = _Loader(text)
    while loader.check_event():
        yield loader.get_event()
