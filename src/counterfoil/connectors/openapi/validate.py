"""Check of the settings of an `http` system against its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from counterfoil.connectors import signature
from counterfoil.connectors.openapi.document import ApiDocument, ApiOperation
from counterfoil.connectors.openapi.render import is_unknown_placeholder, placeholders
from counterfoil.connectors.openapi.settings import (
    CallSettings,
    FeedSettings,
    FindSettings,
    HttpSettings,
    OperationSettings,
)
from counterfoil.connectors.sdk import Repeat


def find_problems(settings: HttpSettings, document: ApiDocument, secrets: Mapping[str, str]) -> list[str]:
    """Return all problems, each with its place in the settings. Empty if the connector can work."""
    return list(_problems(settings, document, secrets))


def _problems(settings: HttpSettings, document: ApiDocument, secrets: Mapping[str, str]) -> Iterator[str]:
    for secret in settings.auth.needs():
        if not secrets.get(secret):
            yield f"auth: {settings.auth.scheme} needs the secret {secret}"
    for name, operation in settings.operations.items():
        yield from _operation(f"operations.{name}", operation, document)
    for name, feed in settings.feeds.items():
        yield from _feed(f"feeds.{name}", feed, document)
    if settings.check is not None:
        yield from _call("check", settings.check, document)
        yield from _reads("check", settings.check, document)
    if settings.webhook is not None:
        if settings.webhook.scheme not in signature.SCHEMES:
            schemes = ", ".join(sorted(signature.SCHEMES))
            yield f"webhook.scheme: {settings.webhook.scheme!r} is not one of {schemes}"
        elif settings.webhook.scheme != "none" and not secrets.get("hook_secret"):
            yield f"webhook: {settings.webhook.scheme} needs the secret hook_secret"
        for name in ("id", "type"):
            value = getattr(settings.webhook, name)
            if not value.startswith(("/", "header:")):
                yield f"webhook.{name}: {value!r} is neither a pointer nor header:NAME"


def _operation(where: str, operation: OperationSettings, document: ApiDocument) -> Iterator[str]:
    yield from _call(where, operation, document)
    described = document.operations.get(operation.operation_id)
    if operation.repeat is Repeat.READ:
        for name in ("horizon", "retention", "key_header", "key_field", "find", "job"):
            if getattr(operation, name):
                yield f"{where}.{name}: a read must not have it"
        yield from _reads(where, operation, document)
    else:
        yield from _write(where, operation, described)
    if described is not None and described.answer is not None:
        for name, pointer in operation.result.items():
            yield from _pointer(f"{where}.result.{name}", described.answer, pointer, document)
    if operation.find is not None:
        yield from _find(f"{where}.find", operation.find, operation, document)


def _write(where: str, operation: OperationSettings, described: ApiOperation | None) -> Iterator[str]:
    if described is not None and described.method == "GET":
        yield f"{where}.operationId: {described.id} is a GET, which changes nothing, but repeat is {operation.repeat}"
    if not operation.result:
        yield f"{where}.result: a write needs pointers to the ids of the created object"
    keyed = operation.key_header or operation.key_field or _uses_key(operation)
    if operation.repeat in (Repeat.KEY, Repeat.UNIQUE, Repeat.FIND) and not keyed:
        yield f"{where}: repeat {operation.repeat} needs the key in key_header, key_field or $key"
    if operation.repeat is Repeat.KEY and operation.retention <= operation.horizon:
        yield f"{where}.retention: repeat key needs a retention longer than the horizon"
    if operation.repeat is Repeat.FIND and operation.horizon <= 0:
        yield f"{where}.horizon: repeat find needs a horizon"
    if operation.repeat is Repeat.BLIND and operation.find is not None:
        yield f"{where}.find: repeat blind has no look-up; with one, use repeat find"
    if operation.repeat is not Repeat.BLIND and operation.find is None:
        yield f"{where}.find: repeat {operation.repeat} needs a look-up"
    if operation.key_field and described is not None and not described.takes_body:
        yield f"{where}.key_field: {described.id} takes no body"


def _find(
    where: str, find: FindSettings, operation: OperationSettings, document: ApiDocument
) -> Iterator[str]:
    yield from _call(where, find, document)
    described = document.operations.get(find.operation_id)
    if described is None:
        return
    if not _uses_key(find) and not any("$key" in placeholders(value) for value in find.match.values()):
        yield f"{where}: the look-up does not use $key, so it would find any item"
    if not find.match:
        yield f"{where}.match: the look-up compares nothing, so it would accept any item"
    if find.one and find.cursor:
        yield f"{where}: one object has no pages"
    if sum(pointer is not None for pointer in (find.next, find.next_item)) != (find.cursor is not None):
        yield f"{where}: cursor needs exactly one of next and next_item"
    if find.cursor and find.cursor not in described.parameters:
        yield f"{where}.cursor: {described.id} has no parameter {find.cursor}"
    for value in find.match.values():
        yield from _placeholders(f"{where}.match", value)
    result = operation.result if find.result is None else find.result
    if set(result) != set(operation.result):
        yield f"{where}.result: must have the same names as the operation's result"
    if described.answer is None:
        return
    yield from _pointer(f"{where}.items", described.answer, find.items, document)
    items = document.resolve(document.inside(described.answer, find.items)[0])
    if items and find.one == ("items" in items):
        yield f"{where}.one: {described.id} returns {'a list' if find.one else 'one object'} at {find.items!r}"
    item = _item(described, find.items, document)
    for pointer in (*find.match, *result.values(), *filter(None, [find.next_item])):
        yield from _pointer(f"{where}: item", item, pointer, document)


def _feed(where: str, feed: FeedSettings, document: ApiDocument) -> Iterator[str]:
    yield from _call(where, feed, document, extra=(feed.cursor, feed.limit))
    yield from _reads(where, feed, document)
    if (feed.next is None) == (feed.next_item is None):
        yield f"{where}: the cursor needs exactly one of next and next_item"
    described = document.operations.get(feed.operation_id)
    if described is None or described.answer is None:
        return
    yield from _pointer(f"{where}.items", described.answer, feed.items, document)
    if feed.next is not None:
        yield from _pointer(f"{where}.next", described.answer, feed.next, document)
    item = _item(described, feed.items, document)
    kind = feed.type if feed.type.startswith("/") else None
    for name, pointer in (
        ("id", feed.id),
        ("version", feed.version),
        ("type", kind),
        ("next_item", feed.next_item),
    ):
        if pointer is not None:
            yield from _pointer(f"{where}.{name}", item, pointer, document)


def _item(described: ApiOperation, items: str, document: ApiDocument) -> object:
    schema, _ = document.inside(described.answer, items)
    resolved = document.resolve(schema)
    return resolved.get("items", resolved)


def _call(
    where: str, call: CallSettings, document: ApiDocument, extra: tuple[str | None, ...] = ()
) -> Iterator[str]:
    described = document.operations.get(call.operation_id)
    if described is None:
        yield f"{where}.operationId: the document has no operation {call.operation_id}"
        return
    for name in (*call.parameters, *(name for name in extra if name)):
        if name not in described.parameters:
            yield f"{where}.parameters: {described.id} has no parameter {name}"
        elif described.parameters[name].place == "cookie":
            yield f"{where}.parameters: {name} is a cookie, and this connector sends no cookies"
    key_header = getattr(call, "key_header", None) or ""
    for name, parameter in described.parameters.items():
        is_set = name in call.parameters or name in extra or name.lower() == key_header.lower()
        if parameter.required and not is_set:
            yield f"{where}.parameters: {described.id} requires {name}"
    for template in (call.parameters, call.body):
        yield from _placeholders(where, template)
    yield from _body(where, call, described, document)


def _body(where: str, call: CallSettings, described: ApiOperation, document: ApiDocument) -> Iterator[str]:
    if call.body is None:
        return
    if not described.takes_body:
        yield f"{where}.body: {described.id} takes no body"
        return
    if not isinstance(call.body, Mapping):
        return
    properties, required, closed = document.members(described.body)
    key_field = getattr(call, "key_field", None) or ""
    for name in call.body:
        if closed and name not in properties:
            yield f"{where}.body: {described.id} has no property {name}"
    for name in sorted(required - set(call.body) - {key_field.partition(".")[0]}):
        yield f"{where}.body: {described.id} requires {name}"


def _reads(where: str, call: CallSettings, document: ApiDocument) -> Iterator[str]:
    described = document.operations.get(call.operation_id)
    if described is not None and described.method not in ("GET", "POST"):
        yield f"{where}.operationId: {described.id} is a {described.method}, which is not a read"


def _placeholders(where: str, template: object) -> Iterator[str]:
    for placeholder in placeholders(template):
        if is_unknown_placeholder(placeholder):
            yield f"{where}: {placeholder} is neither $key nor $input.something; write $$ for a plain $"


def _uses_key(call: CallSettings) -> bool:
    return "$key" in placeholders([call.parameters, call.body])


def _pointer(where: str, schema: object, pointer: str, document: ApiDocument) -> Iterator[str]:
    _, missing = document.inside(schema, pointer)
    if missing is not None:
        yield f"{where}: {pointer} does not exist: there is no {missing!r}"
