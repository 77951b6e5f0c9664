"""Check of the settings of an `http` system against its OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import TypeAlias

from counterfoil.connectors import signature
from counterfoil.connectors.openapi.document import ApiDocument, ApiOperation
from counterfoil.connectors.openapi.render import is_unknown_placeholder, placeholders
from counterfoil.connectors.openapi.settings import (
    CallSettings,
    FeedSettings,
    FindSettings,
    HttpSettings,
    ListingSettings,
    OperationSettings,
    RecordsSettings,
    WebhookSettings,
)
from counterfoil.connectors.sdk import OperationSpec, Repeat, SettingProblem, SystemConfig
from counterfoil.connectors.settings import missing_secrets
from counterfoil.core.finding import did_you_mean

Place: TypeAlias = tuple[str | int, ...]
Problems: TypeAlias = Iterator[SettingProblem]

_FIND_FIXES = (
    "add `find:` with the `operationId` of a read, `$key` in its `parameters`, and `match` with the key's place in an item",
    "add `find:` with the `operationId` of a read of the object, and `state` with what it shows once the write is done",
)
"""How to declare a look-up by the key, and by the state."""


def find_problems(
    settings: HttpSettings,
    document: ApiDocument | None,
    specs: Mapping[str, OperationSpec],
    config: SystemConfig,
) -> list[SettingProblem]:
    """Return all problems, each with its place. Without a document only those that need none."""
    problems = missing_secrets(config, settings.auth.needs())
    if settings.webhook is not None:
        problems += _webhook(settings.webhook, config)
    if document is not None:
        problems += _calls(settings, document, specs)
    return problems


def _calls(settings: HttpSettings, document: ApiDocument, specs: Mapping[str, OperationSpec]) -> Problems:
    for name, operation in settings.operations.items():
        if name in specs:
            yield from _operation(_at("operations", name), operation, specs[name], document)
        else:
            yield from _call(_at("operations", name), operation, document)
    for name, feed in settings.feeds.items():
        yield from _feed(_at("feeds", name), feed, document)
    for name, listing in settings.listings.items():
        yield from _listing(_at("listings", name), listing, document)
    if settings.check is not None:
        yield from _call(_at("check"), settings.check, document)
        yield from _reads(_at("check"), settings.check, document)


def _at(*steps: str) -> Place:
    return ("settings", *steps)


def _webhook(webhook: WebhookSettings, config: SystemConfig) -> Problems:
    if webhook.scheme not in signature.SCHEMES | {"hmac"}:
        schemes = sorted(signature.SCHEMES | {"hmac"})
        near = did_you_mean(webhook.scheme, schemes, f"one of {', '.join(schemes)}")
        yield SettingProblem(
            _at("webhook", "scheme"), f"there is no signature scheme `{webhook.scheme}`", near
        )
    elif webhook.scheme != "none":
        yield from missing_secrets(config, ["hook_secret"])
    yield from _hmac(webhook)
    for name in ("id", "type"):
        value = getattr(webhook, name)
        if not value.startswith(("/", "header:")):
            message = f"`{value}` is neither a pointer nor header:NAME"
            yield SettingProblem(_at("webhook", name), message)


def _hmac(webhook: WebhookSettings) -> Problems:
    at = _at("webhook", "hmac")
    if (webhook.scheme == "hmac") != (webhook.hmac is not None):
        message = "the scheme `hmac` and its form in `hmac` belong together"
        yield SettingProblem(at, message, "declare both, or name another scheme without `hmac`")
    elif webhook.hmac is not None:
        form = webhook.hmac.form
        for key, fault in form.faults().items():
            yield SettingProblem((*at, key), fault)
        for name in ("id", "type"):
            header = getattr(webhook, name).removeprefix("header:")
            is_header = getattr(webhook, name).startswith("header:")
            if is_header and header.lower() not in form.signed_headers():
                message = f"the signature does not cover the header `{header}`"
                fix = f"add {{header:{header}}} to `signed`, if the vendor signs it; else use a pointer into the body"
                yield SettingProblem(_at("webhook", name), message, fix)


def _operation(
    at: Place, operation: OperationSettings, spec: OperationSpec, document: ApiDocument
) -> Problems:
    yield from _call(at, operation, document)
    described = document.operations.get(operation.operation_id)
    if spec.repeat is Repeat.READ:
        for name in ("horizon", "retention", "key_header", "key_field", "find", "job"):
            if getattr(operation, name):
                yield SettingProblem((*at, name), "a read must not have it", f"remove `{name}`")
        yield from _reads(at, operation, document)
    else:
        yield from _write(at, operation, spec, described)
    if described is not None and described.answer is not None:
        for name, pointer in operation.result.items():
            yield from _pointer((*at, "result", name), described.answer, pointer, document)
    if operation.find is not None:
        yield from _find((*at, "find"), operation.find, operation, document)
        yield from _match((*at, "find"), operation.find, spec.repeat)


def _write(
    at: Place, operation: OperationSettings, spec: OperationSpec, described: ApiOperation | None
) -> Problems:
    if described is not None and described.method == "GET":
        message = f"{described.id} is a GET, which changes nothing, but repeat is {spec.repeat}"
        yield SettingProblem((*at, "operationId"), message)
    if not operation.result:
        yield SettingProblem((*at, "result"), "a write needs pointers to the ids of the created object")
    keyed = operation.key_header or operation.key_field or _uses_key(operation)
    if spec.repeat in (Repeat.KEY, Repeat.UNIQUE, Repeat.FIND) and not keyed:
        message = f"repeat {spec.repeat} needs the key in key_header, key_field or $key"
        yield SettingProblem(at, message)
    if spec.repeat is Repeat.KEY and spec.retention <= spec.horizon:
        yield SettingProblem((*at, "retention"), "repeat key needs a retention longer than the horizon")
    if spec.repeat in (Repeat.FIND, Repeat.STATE) and spec.horizon <= 0:
        yield SettingProblem((*at, "horizon"), f"repeat {spec.repeat} needs a horizon")
    if spec.repeat is Repeat.BLIND and operation.find is not None:
        yield SettingProblem((*at, "find"), "repeat blind has no look-up; with one, use repeat find")
    if spec.repeat is not Repeat.BLIND and operation.find is None:
        message = (
            f"repeat {spec.repeat} needs a look-up: when an answer is lost, it asks the API whether the write was done, "
            "so that nothing is sent twice"
        )
        yield SettingProblem((*at, "find"), message, _FIND_FIXES[spec.repeat is Repeat.STATE])
    if operation.key_field and described is not None and not described.takes_body:
        yield SettingProblem((*at, "key_field"), f"{described.id} takes no body")


def _find(at: Place, find: FindSettings, operation: OperationSettings, document: ApiDocument) -> Problems:
    yield from _call(at, find, document)
    described = document.operations.get(find.operation_id)
    if described is None:
        return
    if find.one and find.cursor:
        yield SettingProblem(at, "one object has no pages")
    if sum(pointer is not None for pointer in (find.next, find.next_item)) != (find.cursor is not None):
        yield SettingProblem(at, "cursor needs exactly one of next and next_item")
    if find.cursor and find.cursor not in described.parameters:
        yield _no_parameter((*at, "cursor"), described, find.cursor)
    result = operation.look_up_result
    if set(result) != set(operation.result):
        yield SettingProblem((*at, "result"), "must have the same names as the operation's result")
    if described.answer is None:
        return
    yield from _pointer((*at, "items"), described.answer, find.items, document)
    items = document.resolve(document.inside(described.answer, find.items)[0])
    if items and find.one == ("items" in items):
        answer = "a list" if find.one else "one object"
        yield SettingProblem((*at, "one"), f"{described.id} returns {answer} at {find.items!r}")
    item = _item(described, find.items, document)
    for key, pointers in (
        ("match", find.match),
        ("state", find.state),
        ("result", result.values()),
        ("next_item", [find.next_item]),
    ):
        for pointer in pointers:
            if pointer is not None:
                yield from _pointer((*at, key), item, pointer, document)


def _match(at: Place, find: FindSettings, repeat: Repeat) -> Problems:
    """Yield the problems of what a look-up compares: it must select one object, and show whether the write was done."""
    selecting = [find.parameters, find.body, *find.match.values()]
    if repeat is Repeat.STATE:
        if not any(text == "$key" or text.startswith("$input.") for text in placeholders(selecting)):
            yield SettingProblem(at, "the look-up uses neither $key nor $input, so it would read any object")
        if not find.state:
            message = "the look-up compares no state, so it cannot show whether the write was done"
            fix = "add `state:` with what the object shows afterwards, such as {/status: void}"
            yield SettingProblem((*at, "state"), message, fix)
    else:
        if "$key" not in placeholders(selecting):
            yield SettingProblem(at, "the look-up does not use $key, so it would find any item")
        if find.state:
            message = f"repeat {repeat} is looked up by its key; only repeat state compares a state"
            yield SettingProblem((*at, "state"), message, "remove `state`, or use `repeat: state`")
    if not find.match and not (repeat is Repeat.STATE and find.one):
        yield SettingProblem((*at, "match"), "the look-up compares nothing, so it would accept any item")
    for key in ("match", "state"):
        yield from _placeholders((*at, key), getattr(find, key))


def _feed(at: Place, feed: FeedSettings, document: ApiDocument) -> Problems:
    yield from _call(at, feed, document, extra=(feed.cursor, feed.limit))
    if (feed.next is None) == (feed.next_item is None):
        yield SettingProblem(at, "the cursor needs exactly one of next and next_item")
    yield from _records(at, feed, feed.next, feed.next_item, document)


def _listing(at: Place, listing: ListingSettings, document: ApiDocument) -> Problems:
    paging = (listing.cursor, listing.page, listing.offset)
    yield from _call(at, listing, document, extra=(*paging, listing.limit))
    if sum(parameter is not None for parameter in paging) > 1:
        yield SettingProblem(at, "pages are selected by one of cursor, page and offset")
    pointers = sum(pointer is not None for pointer in (listing.next, listing.next_item))
    if pointers != (listing.cursor is not None):
        yield SettingProblem(at, "cursor needs exactly one of next and next_item, and they need it")
    if (listing.page or listing.offset) and listing.limit is None:
        message = "pages by number or offset need their size"
        yield SettingProblem(at, message, "add `limit:` with the parameter for the size of a page")
    yield from _records(at, listing, listing.next, listing.next_item, document)


def _records(
    at: Place, records: RecordsSettings, next: str | None, next_item: str | None, document: ApiDocument
) -> Problems:
    """Yield the problems of a feed or listing that are independent of its paging, and of pointers to its cursor."""
    yield from _reads(at, records, document)
    described = document.operations.get(records.operation_id)
    if described is None or described.answer is None:
        return
    yield from _pointer((*at, "items"), described.answer, records.items, document)
    if next is not None:
        yield from _pointer((*at, "next"), described.answer, next, document)
    item = _item(described, records.items, document)
    kind = records.type if records.type.startswith("/") else None
    for name, pointer in (
        ("id", records.id),
        ("version", records.version),
        ("type", kind),
        ("next_item", next_item),
    ):
        if pointer is not None:
            yield from _pointer((*at, name), item, pointer, document)


def _item(described: ApiOperation, items: str, document: ApiDocument) -> object:
    schema, _ = document.inside(described.answer, items)
    resolved = document.resolve(schema)
    return resolved.get("items", resolved)


def _call(
    at: Place, call: CallSettings, document: ApiDocument, extra: tuple[str | None, ...] = ()
) -> Problems:
    described = document.operations.get(call.operation_id)
    if described is None:
        message = f"the API has no operation `{call.operation_id}`"
        fix = _near(call.operation_id, document.operations, "the API's operations")
        yield SettingProblem((*at, "operationId"), message, fix)
        return
    for name in (*call.parameters, *(name for name in extra if name)):
        if name not in described.parameters:
            yield _no_parameter((*at, "parameters"), described, name)
        elif described.parameters[name].place == "cookie":
            message = f"{name} is a cookie, and this connector sends no cookies"
            yield SettingProblem((*at, "parameters"), message)
    key_header = getattr(call, "key_header", None) or ""
    for name, parameter in described.parameters.items():
        is_set = name in call.parameters or name in extra or name.lower() == key_header.lower()
        if parameter.required and not is_set:
            yield SettingProblem((*at, "parameters"), f"{described.id} requires {name}")
    for template in (call.parameters, call.body):
        yield from _placeholders(at, template)
    yield from _body((*at, "body"), call, described, document)


def _no_parameter(at: Place, described: ApiOperation, name: str) -> SettingProblem:
    fix = _near(name, described.parameters, "its parameters")
    return SettingProblem(at, f"{described.id} has no parameter {name}", fix)


def _near(name: str, names: Iterable[str], title: str) -> str:
    """Return the near name, or all names if they are few."""
    everything = sorted(names)
    return did_you_mean(name, everything, f"{title}: {', '.join(everything)}" if len(everything) < 10 else "")


def _body(at: Place, call: CallSettings, described: ApiOperation, document: ApiDocument) -> Problems:
    if call.body is None:
        return
    if not described.takes_body:
        yield SettingProblem(at, f"{described.id} takes no body")
        return
    if not isinstance(call.body, Mapping):
        return
    properties, required, closed = document.members(described.body)
    key_field = getattr(call, "key_field", None) or ""
    for name in call.body:
        if closed and name not in properties:
            fix = _near(name, properties, "its properties")
            yield SettingProblem((*at, name), f"{described.id} has no property {name}", fix)
    for name in sorted(required - set(call.body) - {key_field.partition(".")[0]}):
        yield SettingProblem(at, f"{described.id} requires {name}")


def _reads(at: Place, call: CallSettings, document: ApiDocument) -> Problems:
    described = document.operations.get(call.operation_id)
    if described is not None and described.method not in ("GET", "POST"):
        message = f"{described.id} is a {described.method}, which is not a read"
        yield SettingProblem((*at, "operationId"), message)


def _placeholders(at: Place, template: object) -> Problems:
    for placeholder in placeholders(template):
        if is_unknown_placeholder(placeholder):
            message = f"{placeholder} is neither $key nor $input.something"
            yield SettingProblem(at, message, "write $$ for a plain $")


def _uses_key(call: CallSettings) -> bool:
    return "$key" in placeholders([call.parameters, call.body])


def _pointer(at: Place, schema: object, pointer: str, document: ApiDocument) -> Problems:
    _, missing = document.inside(schema, pointer)
    if missing is not None:
        yield SettingProblem(at, f"{pointer} does not exist: there is no {missing!r}")
