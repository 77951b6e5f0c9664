"""Lint rules: one function each, and the table of the forms of contract that each checks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from counterfoil.contracts.json_parts import as_list, as_map
from counterfoil.contracts.lint import vocabulary as v
from counterfoil.contracts.lint.subject import (
    OUTSIDE,
    WITH_FIELDS,
    Field,
    LintRule,
    LintSubject,
    Path,
    RuleHit,
)

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

# ------------------------------------------------------------------ names


def check_field_names(subject: LintSubject) -> Iterator[RuleHit]:
    # Headers follow the conventions of HTTP, not those of the fields.
    names = [(field.name, field.path) for field in subject.fields if "headers" not in field.path]
    yield from _inconsistent_names(names, "field")


def check_component_names(subject: LintSubject) -> Iterator[RuleHit]:
    for kind, components in as_map(subject.data.get("components")).items():
        names: list[tuple[str, Path]] = [(name, ("components", kind, name)) for name in as_map(components)]
        yield from _inconsistent_names(names, kind.rstrip("s"))


def check_operation_ids(subject: LintSubject) -> Iterator[RuleHit]:
    paths: dict[str, Path] = {}
    names: list[tuple[str, Path]] = []
    for path, operation in _operations(subject):
        name = operation.get("operationId")
        if not isinstance(name, str) or not name:
            fix = "add one; generated clients use it as the name of the operation"
            yield path, "the operation has no operationId", fix
        elif name in paths:
            yield (*path, "operationId"), f"the operationId `{name}` is used twice", "choose another name"
        else:
            paths[name] = path
            names.append((name, (*path, "operationId")))
    yield from _inconsistent_names(names, "operation")


def check_path_names(subject: LintSubject) -> Iterator[RuleHit]:
    for path in as_map(subject.data.get("paths")):
        key_path: Path = ("paths", path)
        parts = [part for part in path.split("/") if part and not part.startswith("{")]
        if path != "/" and path.endswith("/"):
            fix = "remove the slash: with and without it are two addresses"
            yield key_path, "the path ends with a slash", fix
        if any(part != part.lower() for part in parts):
            yield key_path, "the path has capital letters", "write it in lower case"
        verb = next((part for part in parts if len(v.words(part)) > 1 and v.words(part)[0] in v.VERBS), None)
        if verb is not None:
            yield key_path, f"`{verb}` repeats the HTTP method", "use a noun; the method is the verb"


def check_enum_values(subject: LintSubject) -> Iterator[RuleHit]:
    for field in subject.fields:
        conventions = [v.conventions_of(text) for text in field.values if v.words(text)]
        # Texts such as `10 %` or `EUR/USD` are not names.
        if len(conventions) > 1 and all(conventions) and not set.intersection(*conventions):
            yield field.path, f"the values of `{field.name}` mix naming conventions", "use one convention"


def check_event_name(subject: LintSubject) -> Iterator[RuleHit]:
    name = str(subject.data.get("name", ""))
    parts = name.split(".")
    if len(parts) < 2 or not (parts[-1][:1] == "v" and parts[-1][1:].isdigit()):
        fix = f"name it `{name}.v1`: later several versions are active at once"
        yield ("name",), "the event's name has no version", fix
        return
    verb = (v.words(parts[-2]) or [""])[-1]
    if len(parts) < 3 or not (verb.endswith("ed") or verb in v.IRREGULAR):
        fix = "name it `object.happened.vN`, with a verb in the past tense"
        yield ("name",), f"`{name}` does not name an object and what happened to it", fix


def check_state_names(subject: LintSubject) -> Iterator[RuleHit]:
    for path, state in _keyed(subject.data, "becomes"):
        if (
            isinstance(state, str)
            and not state.startswith("=")
            and "snake_case" not in v.conventions_of(state)
        ):
            yield (path, f"the state `{state}` is not in snake_case", "use lower-case words joined by `_`")


# ------------------------------------------------------------------ versions


def check_version(subject: LintSubject) -> Iterator[RuleHit]:
    info = as_map(subject.data.get("info"))
    version = info.get("version")
    if not isinstance(version, str) or not v.VERSION.fullmatch(version):
        path: Path = ("info", "version") if "version" in info else ("info",)
        yield path, f"the version {version!r} cannot be ordered", "use a version such as 1.4.0, or a date"


def check_schema_version(subject: LintSubject) -> Iterator[RuleHit]:
    if "$schema" not in subject.data:
        fix = 'add "$schema": "https://json-schema.org/draft/2020-12/schema"'
        yield (), "the schema does not state its draft", fix
    if not isinstance(subject.data.get("$id"), str):
        yield (), "the schema has no `$id`", "add an own URI that ends with the version"
    elif not any(ch.isdigit() for ch in subject.data["$id"]):
        yield ("$id",), "the `$id` of the schema has no version", "end it with a version: `.../invoice/v1`"


def check_lifecycle(subject: LintSubject) -> Iterator[RuleHit]:
    for path, operation in _operations(subject):
        deprecated = operation.get("deprecated") is True
        sunset = next((operation[key] for key in ("x-sunset", "sunset") if key in operation), None)
        if deprecated and sunset is None:
            yield ((*path, "deprecated"), "deprecated without a removal date", "add `x-sunset: YYYY-MM-DD`")
        if sunset is not None:
            key = "x-sunset" if "x-sunset" in operation else "sunset"
            if not _is_date(sunset):
                yield (*path, key), f"the sunset {sunset!r} is not a date", "write it as YYYY-MM-DD"
            elif not deprecated:
                yield (*path, key), "a sunset without `deprecated: true`", "add `deprecated: true`"


# ------------------------------------------------------------------ required metadata


def check_description(subject: LintSubject) -> Iterator[RuleHit]:
    info = as_map(subject.data.get("info"))
    for key in ("title", "description"):
        if not info.get(key):
            yield ("info",), f"the description has no {key}", f"add `info.{key}`"
    if not info.get("contact") and not info.get("x-owner"):
        yield ("info",), "the description has no contact", "add `info.contact`"


def check_summary(subject: LintSubject) -> Iterator[RuleHit]:
    for path, operation in _operations(subject):
        if not operation.get("summary") and not operation.get("description"):
            yield path, "the operation has no summary", "add a `summary`"


def check_error_responses(subject: LintSubject) -> Iterator[RuleHit]:
    for path, operation in _operations(subject):
        responses = as_map(operation.get("responses"))
        if responses and not any(str(code)[:1] in "45" or code == "default" for code in responses):
            fix = "describe `default`, or 4XX and 5XX"
            yield (*path, "responses"), "no response describes a failure", fix


def check_security(subject: LintSubject) -> Iterator[RuleHit]:
    if "security" in subject.data:
        return
    for path, operation in _operations(subject):
        if "security" not in operation:
            fix = "add `security`; `security: []` marks it as intentionally public"
            yield path, "the operation has no security requirement", fix


def check_schema_description(subject: LintSubject) -> Iterator[RuleHit]:
    for key in ("title", "description"):
        if not subject.data.get(key):
            yield (), f"the schema has no {key}", f"add `{key}`"


def check_owner(subject: LintSubject) -> Iterator[RuleHit]:
    if not subject.data.get("owner"):
        fix = "add `owner:` with a role"
        yield ("name",), "the workflow has no owner to receive its Cases", fix
    if not subject.data.get("doc"):
        yield ("name",), "the workflow has no description", "add `doc:` with one sentence about its purpose"


# ------------------------------------------------------------------ envelope


def check_repeated_envelope(subject: LintSubject) -> Iterator[RuleHit]:
    for name in as_map(subject.data.get("data")):
        if str(name).removesuffix("?") in v.ENVELOPE:
            fix = "remove it, or choose a more specific name"
            yield ("data", name), f"`{name}` is already part of the envelope of every event", fix


def check_envelope_fields(subject: LintSubject) -> Iterator[RuleHit]:
    for path, node in _dicts(subject.data, ()):
        properties = as_map(node.get("properties"))
        if path[-1:] == ("properties",) or "specversion" not in properties:
            continue
        required = node.get("required") if isinstance(node.get("required"), list) else []
        missing = [name for name in v.REQUIRED_ENVELOPE if name not in (required or [])]
        if missing:
            fix = "require id, source, specversion and type"
            yield path, f"the CloudEvents envelope does not require {', '.join(missing)}", fix
        if "time" not in properties:
            yield path, "the CloudEvents envelope has no time", "add `time`, an RFC 3339 date-time"


def check_message_envelope(subject: LintSubject) -> Iterator[RuleHit]:
    default = str(subject.data.get("defaultContentType", ""))
    for path, message in _messages(subject.data):
        if "$ref" in message:
            continue
        media = str(message.get("contentType", default))
        names = {field.name for field in subject.fields if field.path[: len(path)] == path}
        if "cloudevents" not in media and not names & {"specversion", "ce_id", "ce-id", "ce_specversion"}:
            fix = "set `contentType: application/cloudevents+json`, or describe the ce_ headers"
            yield path, "the message has no envelope with id, source and time", fix


def check_retries(subject: LintSubject) -> Iterator[RuleHit]:
    shared = as_map(as_map(subject.data.get("components")).get("parameters"))
    for path, operation in _operations(subject):
        if path[-1] != "post":
            continue
        path_parameters = as_map(as_map(subject.data.get("paths")).get(str(path[1]))).get("parameters")
        parameters = [*as_list(operation.get("parameters")), *as_list(path_parameters)]
        names = {_parameter(parameter, shared) for parameter in parameters}
        if not any("idempotency" in name for name in names):
            fix = "accept an `Idempotency-Key` header"
            yield path, "a retried POST cannot be distinguished from a second request", fix


# ------------------------------------------------------------------ money


def check_money_type(subject: LintSubject) -> Iterator[RuleHit]:
    """Require the type `money` in governance files; minor units or a decimal text elsewhere."""
    governed = subject.form not in OUTSIDE
    for field in subject.fields:
        if not _is_amount(field):
            continue
        if governed and field.type in ("number", "integer", "string"):
            yield field.path, f"`{field.name}` is money but has the type {field.type}", "use the type `money`"
        elif not governed and field.type == "number":
            fix = "use minor units (`type: integer`) with a currency, or a decimal text"
            yield field.path, f"`{field.name}` is money but a floating-point number", fix
        elif not governed and field.type == "string" and not (field.format or field.pattern or field.values):
            fix = "add `format: decimal` or a pattern such as `^-?\\d+\\.\\d{2}$`"
            yield field.path, f"`{field.name}` is money but allows any text", fix


def check_currency(subject: LintSubject) -> Iterator[RuleHit]:
    for field in subject.fields:
        bare = _is_amount(field) and field.type in ("integer", "number", "string")
        if bare and not any("currency" in v.words(name) for name in field.near):
            fix = "add a field `currency` (ISO 4217) to the same object"
            yield field.path, f"`{field.name}` is money without a currency", fix


# ------------------------------------------------------------------ dates


def check_times(subject: LintSubject) -> Iterator[RuleHit]:
    governed = subject.form not in OUTSIDE
    for field in subject.fields:
        last = (v.words(field.name) or [""])[-1]
        expected = v.MOMENTS.get(last)
        if expected is None or field.type in ("", "any", "boolean", "object", "array") or field.values:
            continue
        if governed:
            if field.type not in ("timestamp", "date"):
                problem = f"`{field.name}` is a time but has the type {field.type}"
                yield field.path, problem, f"use the type `{expected}`"
            elif field.type != expected and last in ("at", "on"):
                suffix = "on" if expected == "timestamp" else "at"
                fix = f"use the type `{expected}`, or end the name with `_{suffix}`"
                problem = f"`{field.name}` has the name of a {expected} but the type {field.type}"
                yield field.path, problem, fix
        elif field.type in ("integer", "number"):
            fix = "use an RFC 3339 text (`format: date-time`)"
            problem = f"`{field.name}` is a time, but its type is a number without a unit and a start"
            yield field.path, problem, fix
        elif field.type == "string" and not (field.format or field.pattern):
            fix = f"add `format: {'date-time' if expected == 'timestamp' else 'date'}`"
            yield field.path, f"`{field.name}` is a time but allows any text", fix


# ------------------------------------------------------------------ personal data


def check_personal_mark(subject: LintSubject) -> Iterator[RuleHit]:
    mark = "x-pii" if subject.form in OUTSIDE else "pii"
    for field in subject.fields:
        words = v.personal(field.name)
        if words and field.pii is None and field.type not in ("boolean", "object", "array"):
            fix = f"mark it `{mark}: true`, or `{mark}: false` if it is not personal data"
            yield field.path, f"`{field.name}` may be personal data ({words}) and is not marked", fix


RULES: tuple[LintRule, ...] = (
    LintRule("name-convention", OUTSIDE, "Field names follow one convention, so that they can be guessed.",
         check_field_names),
    LintRule("name-component", ("openapi", "asyncapi"), "Component names of one kind follow one convention.",
         check_component_names),
    LintRule("name-operation", ("openapi",), "Every operation has a unique operationId; all follow one convention.",
         check_operation_ids),
    LintRule("name-path", ("openapi",), "A path uses lower-case nouns, without a verb and without a trailing slash.",
         check_path_names),
    LintRule("name-value", WITH_FIELDS, "Enum values follow one convention.", check_enum_values),
    LintRule("name-event", ("event",), "An event is named `object.happened.vN`: a fact and its version.", check_event_name),
    LintRule("name-state", ("workflow",), "Business states are in snake_case, because people search for them.", check_state_names),
    LintRule("version-described", ("openapi", "asyncapi"), "`info.version` is a semantic version or a date.",
         check_version),
    LintRule("version-schema", ("jsonschema",), "A schema states its draft and an `$id` with a version.", check_schema_version),
    LintRule("version-lifecycle", ("openapi",), "A deprecated operation has a sunset date, and a sunset date is only on deprecated operations.",
         check_lifecycle),
    LintRule("metadata-described", ("openapi", "asyncapi"), "A description has a title, a description and a contact.",
         check_description),
    LintRule("metadata-operation", ("openapi",), "Every operation has a summary.", check_summary),
    LintRule("metadata-errors", ("openapi",), "Every operation describes an error response.", check_error_responses),
    LintRule("metadata-security", ("openapi",), "Every operation has a security requirement.", check_security),
    LintRule("metadata-schema", ("jsonschema",), "A schema has a title and a description.", check_schema_description),
    LintRule("metadata-workflow", ("workflow",), "A workflow has an owner and a description.", check_owner),
    LintRule("envelope-repeated", ("event",), "The data of an event does not repeat its envelope, because the two could differ.",
         check_repeated_envelope),
    LintRule("envelope-whole", ("jsonschema", "openapi"), "A CloudEvents envelope requires what CloudEvents 1.0 does, and has a time.", check_envelope_fields),
    LintRule("envelope-message", ("asyncapi",), "A message has an envelope; without an id no duplicate is recognised.",
         check_message_envelope),
    LintRule("envelope-retry", ("openapi",), "A POST accepts an idempotency key, because a timeout is not a failure.", check_retries),
    LintRule("money-exact", WITH_FIELDS, "Money is exact: `money` in governance files, minor units or decimal text elsewhere, never a floating-point number.", check_money_type),
    LintRule("money-currency", OUTSIDE, "An amount has a currency in the same or an enclosing object.", check_currency),
    LintRule("date-form", WITH_FIELDS, "`_at` is a timestamp with a zone, `_on` and `_date` are dates, and both have a format.", check_times),
    LintRule("pii-mark", WITH_FIELDS, "Personal data is marked, or marked as not personal: erasure depends on the mark.", check_personal_mark),
)  # fmt: skip


# ------------------------------------------------------------------ reading documents


def _inconsistent_names(names: Iterable[tuple[str, Path]], noun: str) -> Iterator[RuleHit]:
    """Yield names outside the most common convention.

    A name that fits several conventions is never reported. Nor is one with dots or `$`: it follows an external
    convention.
    """
    entries = [(name, path, v.conventions_of(name)) for name, path in names]
    count = Counter(convention for _, _, conventions in entries for convention in conventions)
    if not count:
        return
    common = max(v.CONVENTIONS, key=lambda convention: count[convention])
    reported: set[str] = set()
    for name, path, conventions in entries:
        if common not in conventions and v.PLAIN.fullmatch(name) and name not in reported:
            reported.add(name)
            yield path, f"the {noun} `{name}` is not in {common} like most others", f"write it in {common}"


def _operations(subject: LintSubject) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, item in as_map(subject.data.get("paths")).items():
        for method, operation in as_map(item).items():
            if method in METHODS and isinstance(operation, dict):
                yield ("paths", path, method), operation


def _messages(data: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    components = as_map(as_map(data.get("components")).get("messages"))
    for name, message in components.items():
        yield ("components", "messages", name), as_map(message)
    for channel, item in as_map(data.get("channels")).items():
        for name, message in as_map(as_map(item).get("messages")).items():
            yield ("channels", channel, "messages", name), as_map(message)
        for verb in ("publish", "subscribe"):
            message = as_map(as_map(as_map(item).get(verb)).get("message"))
            if message and "oneOf" not in message:
                yield ("channels", channel, verb, "message"), message


def _parameter(parameter: Any, shared: dict[str, Any]) -> str:
    node = as_map(parameter)
    if "$ref" in node:
        node = as_map(shared.get(str(node["$ref"]).rsplit("/", 1)[-1]))
    return str(node.get("name", "")).lower()


def _dicts(node: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _dicts(value, (*path, key))
    elif isinstance(node, list):
        for position, item in enumerate(node):
            yield from _dicts(item, (*path, position))


def _keyed(node: Any, key: str) -> Iterator[tuple[Path, Any]]:
    for path, entries in _dicts(node, ()):
        if key in entries:
            yield (*path, key), entries[key]


def _is_amount(field: Field) -> bool:
    if field.type in ("money", "", "any", "object", "array", "boolean"):
        return False
    return any(word in v.MONEY for word in v.words(field.name)[-1:])


def _is_date(value: Any) -> bool:
    if isinstance(value, date):
        return True
    try:
        date.fromisoformat(str(value)[:10])
    except ValueError:
        return False
    return True
