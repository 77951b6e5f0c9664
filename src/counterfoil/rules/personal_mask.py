"""Personal data as a reader sees it: values of marked fields are masked unless the reader has the object's permission.

Pure, except that masked texts are noted in `PersonalTexts`, which replaces them in prose afterwards.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from msgspec.structs import replace

from counterfoil.core import wire
from counterfoil.core.audit import Leaf
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt, searched_texts
from counterfoil.core.effect import Effect
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.personal_texts import MASKED, PersonalTexts, without_answer
from counterfoil.core.search_words import object_words
from counterfoil.model import Model
from counterfoil.model.personal import MarkedForm, Marks

_PROSE = frozenset(["message", "note", "error", "comment", "reason", "detail", "text", "next_action"])
"""Members of audit leaves with texts that persons and systems wrote."""


class MaskedLeaf(Leaf, frozen=True, kw_only=True):
    """A leaf whose body is masked. Its hash is that of the whole body, as the tree has it."""

    sealed_hash: bytes

    @property
    def hash(self) -> bytes:
        return self.sealed_hash


class PersonalMask:
    """Masks the records of one request. `rights` are the legal entities in which the reader may read each object."""

    def __init__(
        self, model: Model, rights: Mapping[str, EntityScope], scope: EntityScope, texts: PersonalTexts
    ) -> None:
        self._fields, self._rights, self._texts = model.personal, rights, texts
        self._open = frozenset(
            name for name in self._fields.objects if name in rights and _covers(rights[name], scope)
        )
        """Objects that the reader may read in every entity that they see."""

    @property
    def hides_nothing(self) -> bool:
        return self._open == self._fields.objects

    def may_read(self, objects: Iterable[str], entity: str | None = None) -> bool:
        """Test whether the reader may read personal data of all these objects; without an entity, in every one."""
        names = frozenset(objects) & self._fields.objects
        return all(
            name in self._open
            or (entity is not None and name in self._rights and self._rights[name].sees(entity))
            for name in names
        )

    def echo(self, texts: Iterable[str]) -> None:
        """Leave texts of the reader as they are, where an answer has them whole."""
        for text in texts:
            self._texts.echo(text)

    def prose(self, text: str) -> str:
        """Return a text without the personal texts that were masked for the reader so far."""
        return self._texts.replace(text)

    def fault(self, text: str) -> str:
        """Return why a system failed, without what may be quoted from its answer."""
        return text if self.hides_nothing else without_answer(text)

    def event(self, event: CanonicalEvent) -> CanonicalEvent:
        form = self._fields.events.get(event.type) or self._fields.of(event.object)
        return replace(event, data=self._masked(form, event.data, event.legal_entity))

    def head(self, head: Head) -> Head:
        return replace(head, state=self._masked(self._fields.of(head.object), head.state, head.entity))

    def effect(self, effect: Effect) -> Effect:
        """Return a call with masked input and result, without the rendered request if that may hold personal data."""
        result = effect.result
        return replace(
            effect,
            input=self._stored(self._fields.inputs.get(effect.operation), effect.input),
            result=None
            if result is None
            else self._stored(self._fields.outputs.get(effect.operation), result),
            request=effect.request if self.hides_nothing else b"",
        )

    def output(self, operation: str, value: Any) -> Any:
        """Return the result of an operation."""
        form = self._fields.outputs.get(operation)
        return self._by_name(value) if form is None else self._masked(form, value)

    def body(self, data: bytes) -> bytes:
        """Return a stored value of an unknown form: fields with the name of a marked field are masked."""
        return self._stored(None, data)

    def receipt(self, receipt: Receipt) -> Receipt:
        """Return a delivery without its payload, which comes before mapping: any part of it may be personal."""
        return receipt if self.hides_nothing else replace(receipt, body=MASKED.encode(), headers={})

    def quoting(self, text: str, receipt: Receipt) -> str:
        """Return a text about a delivery with `(masked)` for each value of its payload that it quotes."""
        if self.hides_nothing:
            return text
        try:
            body = wire.read_json(receipt.body)
        except wire.WireRefused:
            return f"{receipt.ext_id}: {MASKED}"
        quoted = PersonalTexts([receipt.ext_id, receipt.system, receipt.type])
        for part in _texts(body):
            if part not in receipt.ext_id:
                quoted.add(part)
        return quoted.replace(text)

    def leaf(self, leaf: Leaf) -> Leaf:
        """Return an audit leaf without the texts that persons and systems wrote, and without marked fields."""
        if self.hides_nothing:
            return leaf
        try:
            before = wire.loads(leaf.body)
        except ValueError:
            return MaskedLeaf(**_fields_of(leaf, body=MASKED.encode()), sealed_hash=leaf.hash)
        after = _without_prose(self._by_name(before))
        if after == before:
            return leaf
        return MaskedLeaf(**_fields_of(leaf, body=wire.dumps(after)), sealed_hash=leaf.hash)

    def is_named_by(self, head: Head, texts: Iterable[str]) -> bool:
        """Test whether one of the texts is a searched text of the object that the reader may read."""
        names = searched_texts(self.head(head).state).values()
        return bool(set(names) & {text.lower() for text in texts})

    def words_of(self, head: Head) -> list[str]:
        """Return the searched words of the names of an object that the reader may read."""
        state = self.head(head).state
        return object_words({field: value for field, value in state.items() if value != MASKED})

    def personal_objects(self, data: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
        """Yield the objects with hidden personal data that fields such as `customer_id` name: object and key."""
        for field, value in data.items():
            name = field.removesuffix("_id")
            if isinstance(value, str) and name in self._fields.objects and not self.may_read([name]):
                yield name, value

    def hidden(self) -> frozenset[str]:
        """Return the objects whose personal data the reader may not read in every entity."""
        return self._fields.objects - self._open

    def _stored(self, form: MarkedForm | None, data: bytes) -> bytes:
        before = wire.loads(data)
        after = self._by_name(before) if form is None else self._masked(form, before)
        return data if after == before else wire.dumps(after)

    def _masked(self, form: MarkedForm, value: Any, entity: str | None = None) -> Any:
        if not form.marks or self.may_read(form.objects, entity):
            return value
        return self._inside(form.marks, value)

    def _inside(self, marks: Marks, value: Any) -> Any:
        if isinstance(value, list):
            return [self._inside(marks, item) for item in value]
        if not isinstance(value, dict):
            return value
        masked = dict(value)
        for name in marks.keys() & value.keys():
            below = marks[name]
            masked[name] = self._hidden(value[name]) if below is None else self._inside(below, value[name])
        return masked

    def _by_name(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._by_name(item) for item in value]
        if not isinstance(value, dict):
            return value
        hidden = {
            n
            for n in self._fields.by_name.keys() & value.keys()
            if not self.may_read(self._fields.by_name[n])
        }
        return {
            key: self._hidden(part) if key in hidden else self._by_name(part) for key, part in value.items()
        }

    def _hidden(self, value: Any) -> Any:
        """Return what stands in place of a personal value: a word for a text, null for any other value."""
        if isinstance(value, str):
            self._texts.add(value)
            return MASKED if value else value
        if isinstance(value, list):
            return [self._hidden(item) for item in value]
        if isinstance(value, dict):
            return {key: self._hidden(part) for key, part in value.items()}
        return None


def _covers(right: EntityScope, scope: EntityScope) -> bool:
    return right.names is None or (scope.names is not None and scope.names <= right.names)


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for part in value.values() if isinstance(value, dict) else value:
            yield from _texts(part)
    elif value is not None and not isinstance(value, bool):
        yield str(value)


def _without_prose(value: Any) -> Any:
    if isinstance(value, list):
        return [_without_prose(item) for item in value]
    if not isinstance(value, dict):
        return value
    return {
        key: MASKED if key in _PROSE and isinstance(part, str) and part else _without_prose(part)
        for key, part in value.items()
    }


def _fields_of(leaf: Leaf, **changed: Any) -> dict[str, Any]:
    return {name: getattr(leaf, name) for name in leaf.__struct_fields__} | changed
