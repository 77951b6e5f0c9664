"""XML as a stream of small trees, in bounded memory. Entities and document types are refused, as are endless texts and depths."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from xml.parsers import expat

from counterfoil.connectors.files.reader import FileRefused

CHUNK_BYTES = 64 * 1024
MAX_TOKEN_BYTES = 1024 * 1024
"""Length of one tag or comment, which the parser holds as a whole."""
MAX_TEXT_LENGTH = 64 * 1024
MAX_DEPTH = 40
MAX_PART_ELEMENTS = 200_000
"""Elements of one part: a batch of some thousand transactions."""


class XmlNode:
    """One element with its text, its attributes, its children in their order, and its line in the file."""

    __slots__ = ("attributes", "children", "line", "tag", "text")

    def __init__(self, tag: str, line: int, attributes: dict[str, str]) -> None:
        self.tag, self.line, self.attributes = tag, line, attributes
        self.text = ""
        self.children: list[XmlNode] = []

    def all(self, path: str) -> list[XmlNode]:
        """Return all descendants at a path such as `NtryDtls/TxDtls`."""
        nodes = [self]
        for step in path.split("/"):
            nodes = [child for node in nodes for child in node.children if child.tag == step]
        return nodes

    def first(self, *paths: str) -> XmlNode | None:
        """Return the first node at the first of the paths that has one."""
        return next((node for path in paths for node in self.all(path)), None)

    def value(self, *paths: str) -> str | None:
        """Return the text of the first node at the first path that has one with a text."""
        texts = (node.text.strip() for path in paths for node in self.all(path))
        return next((text for text in texts if text), None)


class XmlPart(NamedTuple):
    """A complete element at the depth of the parts. `group` is the number of its parent, in the order of the file."""

    group: int
    node: XmlNode | None
    """None where the group itself ends."""
    line: int


class XmlParts:
    """Reader of the parts of one file: the elements at `path`, whose last name is that of a group, and their children."""

    def __init__(self, path: Path, root: str, group: tuple[str, ...]) -> None:
        self._path, self._root, self._group = path, root, group
        self.namespace = ""
        """Namespace of the root."""
        self._parts: list[XmlPart] = []
        self._depth = 0
        self._names: list[str] = []
        self._in_group = False
        self._open: list[XmlNode] = []
        self._text: list[str] = []
        self._text_length = 0
        self._elements = 0
        self._groups = 0
        self._parser = expat.ParserCreate(namespace_separator=" ")
        self._parser.buffer_text = True
        self._parser.StartElementHandler = self._start
        self._parser.EndElementHandler = self._end
        self._parser.CharacterDataHandler = self._characters
        self._parser.StartDoctypeDeclHandler = self._refuse_declaration

    def __iter__(self) -> Iterator[XmlPart]:
        """Yield the parts. Raises FileRefused, at the latest after the last one."""
        read = 0
        with self._path.open("rb") as file:
            while True:
                chunk = file.read(CHUNK_BYTES)
                read += len(chunk)
                try:
                    self._parser.Parse(chunk, not chunk)
                except expat.ExpatError as error:
                    raise self._refusal(
                        f"this is no complete XML ({expat.ErrorString(error.code)}); export the file again",
                        error.lineno,
                    ) from None
                except (LookupError, ValueError):
                    raise self._refusal("the file states an encoding that cannot be read") from None
                yield from self._parts
                self._parts.clear()
                if not chunk:
                    return
                if read - self._parser.CurrentByteIndex > MAX_TOKEN_BYTES + CHUNK_BYTES:
                    raise self._refusal("a tag or a comment is too long")

    def _refusal(self, why: str, line: int | None = None) -> FileRefused:
        return FileRefused(f"{self._path.name}, line {line or self._parser.CurrentLineNumber}: {why}")

    def _refuse_declaration(self, *_: object) -> None:
        raise self._refusal(
            "a document type and entities are not allowed; remove the declaration `<!DOCTYPE`"
        )

    def _start(self, name: str, attributes: dict[str, str]) -> None:
        self._depth += 1
        if self._depth > MAX_DEPTH:
            raise self._refusal(f"the elements are nested more than {MAX_DEPTH} deep")
        namespace, _, local = name.rpartition(" ")
        if self._depth == 1:
            self.namespace = namespace
            if local != self._root:
                raise self._refusal(f"the file begins with `{local}`, and not with `{self._root}`")
        tag = local if namespace == self.namespace else name
        self._text.clear()
        self._text_length = 0
        if not self._in_group:
            self._names.append(tag)
            self._in_group = tuple(self._names) == self._group
        else:
            self._elements += 1
            if self._elements > MAX_PART_ELEMENTS:
                raise self._refusal(f"one entry has more than {MAX_PART_ELEMENTS} elements")
            node = XmlNode(tag, self._parser.CurrentLineNumber, attributes)
            if self._open:
                self._open[-1].children.append(node)
            self._open.append(node)

    def _characters(self, text: str) -> None:
        self._text_length += len(text)
        if self._text_length > MAX_TEXT_LENGTH:
            raise self._refusal("a text is too long")
        if self._open:
            self._text.append(text)

    def _end(self, _name: str) -> None:
        line = self._parser.CurrentLineNumber
        if self._open:
            node = self._open.pop()
            if not node.children:
                node.text = "".join(self._text)
            if not self._open:
                self._elements = 0
                self._parts.append(XmlPart(self._groups, node, line))
        else:
            self._names.pop()
            if self._in_group:
                self._in_group = False
                self._parts.append(XmlPart(self._groups, None, line))
                self._groups += 1
        self._text.clear()
        self._text_length = 0
        self._depth -= 1
