"""The rules of lint: one function each, and the table that says which contracts it looks at."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import date
from typing import Any

from counterfoil.contracts.lint import vocabulary as v
from counterfoil.contracts.lint.fields import Field, Path
from counterfoil.contracts.lint.subject import OUTSIDE, WITH_FIELDS, LintRule, LintSubject, RuleHit

METHODS = ("get", "put", "post", "delete", "options", "head", "patch", "trace")

# ------------------------------------------------------------------ names


def one_convention(subject: LintSubject) -> Iterator[RuleHit]:
    # Headers keep the manners of HTTP, whatever the fields are like.
    names = [(field.name, field.path) for field in subject.fields if "headers" not in field.path]
    yield from _odd(names, "field")


def component_names(subject: LintSubject) -> Iterator[RuleHit]:
    for kind, found in _map(subject.data.get("components")).items():
        names: list[tuple[str, Path]] = [(name, ("components", kind, name)) for name in _map(found)]
        yield from _odd(names, kind.rstrip("s"))


def operation_ids(subject: LintSubject) -> Iterator[RuleHit]:
    seen: dict[str, Path] = {}
    named: list[tuple[str, Path]] = []
    for path, operation in _operations(subject):
        name = operation.get("operationId")
        if not isinstance(name, str) or not name:
            yield path, "the operation has no operationId", "name it; generated clients call it by that name"
        elif name in seen:
            yield (*path, "operationId"), f"`{name}` names another operation too", "choose another name"
        else:
            seen[name] = path
            named.append((name, (*path, "operationId")))
    yield from _odd(named, "operation")


def path_names(subject: LintSubject) -> Iterator[RuleHit]:
    for path in _map(subject.data.get("paths")):
        at: Path = ("paths", path)
        parts = [part for part in path.split("/") if part and not part.startswith("{")]
        if path != "/" and path.endswith("/"):
            yield at, "the path ends with a slash", "leave the slash away: two spellings are two addresses"
        if any(part != part.lower() for part in parts):
            yield at, "the path has capital letters", "write it in lower case"
        verbs = [
            part for part in parts if (found := v.words(part)) and found[0] in v.VERBS and len(found) > 1
        ]
        if verbs:
            yield at, f"`{verbs[0]}` says what the method says", "name the thing; the method is the verb"


def enum_values(subject: LintSubject) -> Iterator[RuleHit]:
    for field in subject.fields:
        ways = [v.written(text) for text in field.values if v.words(text)]
        # Texts of another kind (`10 %`, `EUR/USD`) are no names.
        if len(ways) > 1 and all(ways) and not set.intersection(*ways):
            yield field.path, f"the values of `{field.name}` are written in several ways", "choose one"


def event_name(subject: LintSubject) -> Iterator[RuleHit]:
    name = str(subject.data.get("name", ""))
    parts = name.split(".")
    if len(parts) < 2 or not (parts[-1][:1] == "v" and parts[-1][1:].isdigit()):
        fix = f"name it `{name}.v1`: two versions will live beside each other"
        yield ("name",), "the event's name has no version", fix
        return
    said = (v.words(parts[-2]) or [""])[-1]
    if len(parts) < 3 or not (said.endswith("ed") or said in v.IRREGULAR):
        fix = "name it `object.happened.vN`, with a word that says what has happened"
        yield ("name",), f"`{name}` does not say what has happened to what", fix


def state_names(subject: LintSubject) -> Iterator[RuleHit]:
    for path, state in _keyed(subject.data, "becomes"):
        if isinstance(state, str) and not state.startswith("=") and "snake_case" not in v.written(state):
            yield (
                path,
                f"the state `{state}` is not in snake_case",
                "write it in small letters with `_` between",
            )


# ------------------------------------------------------------------ versions


def described_version(subject: LintSubject) -> Iterator[RuleHit]:
    info = _map(subject.data.get("info"))
    version = info.get("version")
    if not isinstance(version, str) or not v.VERSION.fullmatch(version):
        at: Path = ("info", "version") if "version" in info else ("info",)
        yield at, f"the version {version!r} orders before and after nothing", "use 1.4.0, or a date"


def schema_version(subject: LintSubject) -> Iterator[RuleHit]:
    if "$schema" not in subject.data:
        fix = 'add "$schema": "https://json-schema.org/draft/2020-12/schema"'
        yield (), "the schema does not say by which draft it is read", fix
    if not isinstance(subject.data.get("$id"), str):
        yield (), "the schema has no `$id`", "give it an address of its own that ends with its version"
    elif not any(ch.isdigit() for ch in subject.data["$id"]):
        yield ("$id",), "the schema's `$id` names no version", "end it with one: `.../invoice/v1`"


def lifecycle(subject: LintSubject) -> Iterator[RuleHit]:
    for path, operation in _operations(subject):
        deprecated = operation.get("deprecated") is True
        sunset = next((operation[key] for key in ("x-sunset", "sunset") if key in operation), None)
        if deprecated and sunset is None:
            yield (
                (*path, "deprecated"),
                "deprecated, and nobody knows until when",
                "add `x-sunset: YYYY-MM-DD`",
            )
        if sunset is not None:
            key = "x-sunset" if "x-sunset" in operation else "sunset"
            if not _is_date(sunset):
                yield (*path, key), f"the sunset {sunset!r} is no date", "write it as YYYY-MM-DD"
            elif not deprecated:
                yield (*path, key), "a sunset without `deprecated: true`", "mark it deprecated"


# ------------------------------------------------------------------ required metadata


def described(subject: LintSubject) -> Iterator[RuleHit]:
    info = _map(subject.data.get("info"))
    for key, why in (("title", "what it is called"), ("description", "what it is for")):
        if not info.get(key):
            yield ("info",), f"the description does not say {why}", f"add `info.{key}`"
    if not info.get("contact") and not info.get("x-owner"):
        yield ("info",), "nobody answers for this description", "add `info.contact`"


def explained(subject: LintSubject) -> Iterator[RuleHit]:
    for path, operation in _operations(subject):
        if not operation.get("summary") and not operation.get("description"):
            yield path, "the operation says nothing about itself", "add a `summary`"


def error_answers(subject: LintSubject) -> Iterator[RuleHit]:
    for path, operation in _operations(subject):
        answers = _map(operation.get("responses"))
        if answers and not any(str(code)[:1] in "45" or code == "default" for code in answers):
            yield (*path, "responses"), "no answer tells of a failure", "describe `default`, or 4XX and 5XX"


def secured(subject: LintSubject) -> Iterator[RuleHit]:
    if "security" in subject.data:
        return
    for path, operation in _operations(subject):
        if "security" not in operation:
            fix = "add `security`; `security: []` says that it is open on purpose"
            yield path, "nothing says who may call it", fix


def schema_described(subject: LintSubject) -> Iterator[RuleHit]:
    for key, why in (("title", "what it is called"), ("description", "what it is for")):
        if not subject.data.get(key):
            yield (), f"the schema does not say {why}", f"add `{key}`"


def owned(subject: LintSubject) -> Iterator[RuleHit]:
    if not subject.data.get("owner"):
        fix = "add `owner:` with a role"
        yield ("name",), "nobody owns the workflow: its exceptions have no address", fix
    if not subject.data.get("doc"):
        yield ("name",), "the workflow does not say what it is for", "add `doc:` in one sentence"


# ------------------------------------------------------------------ envelope


def envelope_repeated(subject: LintSubject) -> Iterator[RuleHit]:
    for name in _map(subject.data.get("data")):
        if str(name).removesuffix("?") in v.ENVELOPE:
            fix = "leave it away, or name what it means here"
            yield ("data", name), f"`{name}` is part of every event's envelope", fix


def envelope_whole(subject: LintSubject) -> Iterator[RuleHit]:
    for path, node in _dicts(subject.data, ()):
        properties = _map(node.get("properties"))
        if path[-1:] == ("properties",) or "specversion" not in properties:
            continue
        required = node.get("required") if isinstance(node.get("required"), list) else []
        missing = [name for name in v.REQUIRED_ENVELOPE if name not in (required or [])]
        if missing:
            fix = "require id, source, specversion and type"
            yield path, f"a CloudEvents envelope that does not require {', '.join(missing)}", fix
        if "time" not in properties:
            yield path, "a CloudEvents envelope that does not say when", "add `time`, an RFC 3339 date-time"


def messages_enveloped(subject: LintSubject) -> Iterator[RuleHit]:
    default = str(subject.data.get("defaultContentType", ""))
    for path, message in _messages(subject.data):
        if "$ref" in message:
            continue
        media = str(message.get("contentType", default))
        text = {field.name for field in subject.fields if field.path[: len(path)] == path}
        if "cloudevents" not in media and not text & {"specversion", "ce_id", "ce-id", "ce_specversion"}:
            fix = "say `contentType: application/cloudevents+json`, or describe the ce_ headers"
            yield path, "the message has no envelope: no id, no source, no time", fix


def retry_safe(subject: LintSubject) -> Iterator[RuleHit]:
    shared = _map(_map(subject.data.get("components")).get("parameters"))
    for path, operation in _operations(subject):
        if path[-1] != "post":
            continue
        here = _map(_map(subject.data.get("paths")).get(str(path[1]))).get("parameters")
        given = [*_list(operation.get("parameters")), *_list(here)]
        names = {_parameter(each, shared) for each in given}
        if not any("idempotency" in name for name in names):
            fix = "take an `Idempotency-Key` header"
            yield path, "a repeated POST cannot be told from a second one", fix


# ------------------------------------------------------------------ money


def money_exact(subject: LintSubject) -> Iterator[RuleHit]:
    """In files of governance money has a type of its own; elsewhere it is minor units, or a decimal text."""
    governed = subject.form not in OUTSIDE
    for field in subject.fields:
        if not _is_amount(field):
            continue
        if governed and field.type in ("number", "integer", "string"):
            yield field.path, f"`{field.name}` is money and typed as a {field.type}", "type it `money`"
        elif not governed and field.type == "number":
            fix = "use minor units (`type: integer`) beside a currency, or a decimal text"
            yield field.path, f"`{field.name}` is money and a floating number", fix
        elif not governed and field.type == "string" and not (field.format or field.pattern or field.values):
            fix = "add `format: decimal` or a pattern such as `^-?\\d+\\.\\d{2}$`"
            yield field.path, f"`{field.name}` is money and any text", fix


def money_currency(subject: LintSubject) -> Iterator[RuleHit]:
    for field in subject.fields:
        bare = _is_amount(field) and field.type in ("integer", "number", "string")
        if bare and not any("currency" in v.words(name) for name in field.near):
            fix = "add a `currency` (ISO 4217) beside it"
            yield field.path, f"`{field.name}` is money without a currency", fix


# ------------------------------------------------------------------ dates


def moments(subject: LintSubject) -> Iterator[RuleHit]:
    governed = subject.form not in OUTSIDE
    for field in subject.fields:
        last = (v.words(field.name) or [""])[-1]
        wanted = v.MOMENTS.get(last)
        if wanted is None or field.type in ("", "any", "boolean", "object", "array") or field.values:
            continue
        if governed:
            if field.type not in ("timestamp", "date"):
                yield (
                    field.path,
                    f"`{field.name}` says when and is typed as {field.type}",
                    f"type it `{wanted}`",
                )
            elif field.type != wanted and last in ("at", "on"):
                fix = f"type it `{wanted}`, or end it with `_{'on' if wanted == 'timestamp' else 'at'}`"
                yield field.path, f"`{field.name}` reads like a {wanted} and is a {field.type}", fix
        elif field.type in ("integer", "number"):
            fix = "use an RFC 3339 text (`format: date-time`)"
            yield field.path, f"`{field.name}` is a count of something since somewhen", fix
        elif field.type == "string" and not (field.format or field.pattern):
            fix = f"add `format: {'date-time' if wanted == 'timestamp' else 'date'}`"
            yield field.path, f"`{field.name}` says when, in any text", fix


# ------------------------------------------------------------------ personal data


def personal_marked(subject: LintSubject) -> Iterator[RuleHit]:
    mark = "x-pii" if subject.form in OUTSIDE else "pii"
    for field in subject.fields:
        said = v.personal(field.name)
        if said and field.pii is None and field.type not in ("boolean", "object", "array"):
            fix = f"mark it `{mark}: true`; `{mark}: false` says that it tells of nobody"
            yield field.path, f"`{field.name}` may tell of a person ({said}) and is not marked", fix


RULES: tuple[LintRule, ...] = (
    LintRule("name-convention", OUTSIDE, "Fields are written in one way: who guesses a name guesses right.",
         one_convention),
    LintRule("name-component", ("openapi", "asyncapi"), "Components of a kind are written in one way.",
         component_names),
    LintRule("name-operation", ("openapi",), "Every operation has its own operationId; all are written in one way.",
         operation_ids),
    LintRule("name-path", ("openapi",), "A path names things in lower case, without a verb and without a last slash.",
         path_names),
    LintRule("name-value", WITH_FIELDS, "The values of an enum are written in one way.", enum_values),
    LintRule("name-event", ("event",), "An event is named `object.happened.vN`: a fact, with its version.", event_name),
    LintRule("name-state", ("workflow",), "Business states are in snake_case: people search for them.", state_names),
    LintRule("version-described", ("openapi", "asyncapi"), "`info.version` is a semantic version or a date.",
         described_version),
    LintRule("version-schema", ("jsonschema",), "A schema names its draft, and itself with a version.", schema_version),
    LintRule("version-lifecycle", ("openapi",), "What is deprecated has a sunset date, and the other way round.",
         lifecycle),
    LintRule("metadata-described", ("openapi", "asyncapi"), "A description has a title, a purpose and a contact.",
         described),
    LintRule("metadata-operation", ("openapi",), "Every operation has a summary.", explained),
    LintRule("metadata-errors", ("openapi",), "Every operation describes what a failure looks like.", error_answers),
    LintRule("metadata-security", ("openapi",), "Every operation says who may call it.", secured),
    LintRule("metadata-schema", ("jsonschema",), "A schema has a title and a description.", schema_described),
    LintRule("metadata-workflow", ("workflow",), "A workflow has an owner and says what it is for.", owned),
    LintRule("envelope-repeated", ("event",), "An event's data does not repeat its envelope: two truths differ one day.",
         envelope_repeated),
    LintRule("envelope-whole", ("jsonschema", "openapi"), "A CloudEvents envelope requires what CloudEvents 1.0 does, "
         "and says when.", envelope_whole),
    LintRule("envelope-message", ("asyncapi",), "A message carries an envelope: without an id no repeat is recognised.",
         messages_enveloped),
    LintRule("envelope-retry", ("openapi",), "A POST takes an idempotency key: a time-out is not a failure.", retry_safe),
    LintRule("money-exact", WITH_FIELDS, "Money is exact: `money` in governance files, minor units or decimal text "
         "elsewhere, never a floating number.", money_exact),
    LintRule("money-currency", OUTSIDE, "An amount has a currency beside it or around it.", money_currency),
    LintRule("date-form", WITH_FIELDS, "`_at` is a moment with a zone, `_on` and `_date` are days, and both have a "
         "format.", moments),
    LintRule("pii-mark", WITH_FIELDS, "What tells of a person is marked, or marked as not doing so: erasure goes by the "
         "mark.", personal_marked),
)  # fmt: skip


# ------------------------------------------------------------------ looking


def _map(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _list(value: Any) -> list[Any]:
    return value if isinstance(value, list) else []


def _odd(names: Iterable[tuple[str, Path]], what: str) -> Iterator[RuleHit]:
    """Names that are not written as most of the others are. One that fits several ways offends none, and one with
    dots or `$` in it keeps the manners of somebody else."""
    known = [(name, path, v.written(name)) for name, path in names]
    count = Counter(way for _, _, ways in known for way in ways)
    if not count:
        return
    most = max(v.CONVENTIONS, key=lambda way: count[way])
    told: set[str] = set()
    for name, path, ways in known:
        if most not in ways and v.PLAIN.fullmatch(name) and name not in told:
            told.add(name)
            yield path, f"the {what} `{name}` is not in {most}, as most others are", f"write it in {most}"


def _operations(subject: LintSubject) -> Iterator[tuple[Path, dict[str, Any]]]:
    for path, item in _map(subject.data.get("paths")).items():
        for method, operation in _map(item).items():
            if method in METHODS and isinstance(operation, dict):
                yield ("paths", path, method), operation


def _messages(data: dict[str, Any]) -> Iterator[tuple[Path, dict[str, Any]]]:
    components = _map(_map(data.get("components")).get("messages"))
    for name, message in components.items():
        yield ("components", "messages", name), _map(message)
    for channel, item in _map(data.get("channels")).items():
        for name, message in _map(_map(item).get("messages")).items():
            yield ("channels", channel, "messages", name), _map(message)
        for verb in ("publish", "subscribe"):
            message = _map(_map(_map(item).get(verb)).get("message"))
            if message and "oneOf" not in message:
                yield ("channels", channel, verb, "message"), message


def _parameter(each: Any, shared: dict[str, Any]) -> str:
    found = _map(each)
    if "$ref" in found:
        found = _map(shared.get(str(found["$ref"]).rsplit("/", 1)[-1]))
    return str(found.get("name", "")).lower()


def _dicts(node: Any, path: Path) -> Iterator[tuple[Path, dict[str, Any]]]:
    if isinstance(node, dict):
        yield path, node
        for key, value in node.items():
            yield from _dicts(value, (*path, key))
    elif isinstance(node, list):
        for position, item in enumerate(node):
            yield from _dicts(item, (*path, position))


def _keyed(node: Any, key: str) -> Iterator[tuple[Path, Any]]:
    for path, found in _dicts(node, ()):
        if key in found:
            yield (*path, key), found[key]


def _is_amount(field: Field) -> bool:
    said = v.words(field.name)
    return (
        bool(said)
        and said[-1] in v.MONEY
        and field.type not in ("money", "", "any", "object", "array", "boolean")
    )


def _is_date(value: Any) -> bool:
    if isinstance(value, date):
        return True
    try:
        date.fromisoformat(str(value)[:10])
    except ValueError:
        return False
    return True
