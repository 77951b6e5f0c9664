"""Contract commands: compare two versions of a contract and report breaking changes. They need no server."""

from __future__ import annotations

from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from counterfoil.cli import lint
from counterfoil.cli.client import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_json

if TYPE_CHECKING:
    from counterfoil.contracts.report import Change, Direction, Report

contracts = typer.Typer(help="Contracts: JSON Schema, OpenAPI and AsyncAPI.", no_args_is_help=True)
contracts.command("lint")(lint.lint)


class DescriptionKind(StrEnum):
    OPENAPI = "openapi"
    JSONSCHEMA = "jsonschema"
    ASYNCAPI = "asyncapi"


class ProfileName(StrEnum):
    STRICT = "strict"
    STANDARD = "standard"
    CONSUMER = "consumer"


class DirectionName(StrEnum):
    BACKWARD = "backward"
    FORWARD = "forward"
    FULL = "full"


@contracts.command("diff")
def diff(
    base: Annotated[Path, typer.Argument(help="The old version: a JSON or YAML file.")],
    revision: Annotated[Path, typer.Argument(help="The new version.")],
    kind: Annotated[
        DescriptionKind | None, typer.Option(help="Kind of the files; detected if absent.")
    ] = None,
    profile: Annotated[
        ProfileName | None,
        typer.Option(help="Rules for what is breaking; default: standard, or consumer with --reads."),
    ] = None,
    direction: Annotated[
        DirectionName,
        typer.Option(help="Compatibility to check: old values under new (backward), the reverse, or both."),
    ] = DirectionName.BACKWARD,
    reads: Annotated[
        Path | None, typer.Option(help="A file that declares the fields a consumer reads and sends.")
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Compare two versions of a contract.

    Exit code 1: there is a breaking change.
    """
    from counterfoil.contracts.load import UnreadableDescription, read
    from counterfoil.contracts.openapi.reads import InvalidReads

    selected = profile or (ProfileName.CONSUMER if reads is not None else ProfileName.STANDARD)
    if reads is not None and selected is not ProfileName.CONSUMER:
        raise CommandFailed(f"--reads works with --profile consumer only, not with {selected}.")
    try:
        old, new = _load(base), _load(revision)
        declared = read(reads) if reads is not None else None
        kinds = {kind or _detect_kind(old, base), kind or _detect_kind(new, revision)}
        if len(kinds) > 1:
            raise CommandFailed(f"{base} and {revision} are of different kinds: {', '.join(sorted(kinds))}.")
        both = kinds.pop()
        changes = list(_changes(both, old, new, selected, direction, declared))
    except InvalidReads as error:
        raise CommandFailed(f"{reads}: {error}") from error
    except UnreadableDescription as error:
        raise CommandFailed(str(error)) from error
    breaking = any(change.breaking for _, change in changes)
    if format is Format.JSON:
        write_json(
            {
                "kind": both, "profile": selected, "direction": direction, "breaking": breaking,
                "changes": [_json(way, change) for way, change in changes],
            }
        )  # fmt: skip
    else:
        _show(changes, f"{both}, profile {selected}, {direction}", several=direction is DirectionName.FULL)
    if breaking:
        raise typer.Exit(1)


def _load(path: Path) -> Any:
    from counterfoil.contracts.load import load

    return load(path)


def _detect_kind(description: dict[str, Any], path: Path) -> DescriptionKind:
    if "openapi" in description or "swagger" in description:
        return DescriptionKind.OPENAPI
    if "asyncapi" in description:
        return DescriptionKind.ASYNCAPI
    if not description or any(
        word in description
        for word in ("$schema", "$ref", "$defs", "definitions", "type", "properties", "enum", "const", "items",
                     "allOf", "anyOf", "oneOf", "not", "required", "$id")
    ):  # fmt: skip
        return DescriptionKind.JSONSCHEMA
    raise CommandFailed(f"The kind of {path} cannot be detected; name it with --kind.")


def _changes(
    kind: DescriptionKind, old: Any, new: Any, profile: ProfileName, direction: DirectionName, declared: Any
) -> Iterator[tuple[str, Change]]:
    """Yield every change with its direction; a change that both directions report and neither breaks comes once."""
    ways: dict[DirectionName, tuple[Direction, ...]] = {
        DirectionName.BACKWARD: ("backward",),
        DirectionName.FORWARD: ("forward",),
        DirectionName.FULL: ("backward", "forward"),
    }
    reported: set[tuple[str, str, str]] = set()
    for way in ways[direction]:
        for change in _compare(kind, old, new, profile, way, declared).changes:
            key = (change.rule, change.where, change.message)
            if change.breaking or key not in reported:
                yield way, change
            reported.add(key)


def _compare(
    kind: DescriptionKind, old: Any, new: Any, profile: ProfileName, way: Direction, declared: Any
) -> Report:
    from counterfoil.contracts import compare_asyncapi, compare_json_schema, compare_openapi
    from counterfoil.contracts.load import binary
    from counterfoil.contracts.openapi.reads import InvalidReads

    if kind is DescriptionKind.JSONSCHEMA:
        fields = declared.get("reads") if isinstance(declared, dict) else declared
        if declared is not None and not (
            isinstance(fields, list) and all(isinstance(f, str) for f in fields)
        ):
            raise InvalidReads(
                "for a JSON Schema, expected a list of dotted paths or an object with such a list under `reads`"
            )
        return compare_json_schema(binary(old), binary(new), way, profile.value, reads=fields)
    if declared is not None and not isinstance(declared, dict):
        raise InvalidReads("expected an object")
    first, second = (old, new) if way == "backward" else (new, old)
    compare = compare_openapi if kind is DescriptionKind.OPENAPI else compare_asyncapi
    return compare(first, second, profile.value, reads=declared)


def _json(way: str, change: Change) -> dict[str, Any]:
    row = {
        "rule": change.rule, "where": change.where, "direction": way, "breaking": change.breaking,
        "decided": change.decided, "users": change.users, "message": change.message,
    }  # fmt: skip
    if change.example is not msgspec.UNSET:
        row["example"] = change.example
    return row


def _show(changes: list[tuple[str, Change]], what: str, *, several: bool) -> None:
    breaking = [item for item in changes if item[1].breaking]
    undecided = [item for item in changes if not item[1].breaking and not item[1].decided]
    harmless = [item for item in changes if not item[1].breaking and item[1].decided]
    for title, group in (
        ("Breaking", breaking),
        ("Undecided (the rules cannot tell; not counted as breaking)", undecided),
        ("Not breaking", harmless),
    ):
        if not group:
            continue
        say(f"{title}:")
        for way, change in group:
            places = f"  ({change.users} places)" if change.users > 1 else ""
            direction = f" [{way}]" if several else ""
            say(f"  {change.rule}{direction}  {change.where or '/'}{places}")
            say(f"      {change.message}")
            if change.example is not msgspec.UNSET and change.breaking:
                say(f"      example: {_example_text(change.example)}")
        say("")
    say(f"{len(breaking)} breaking, {len(undecided)} undecided, {len(harmless)} other changes ({what})")


def _example_text(example: Any) -> str:
    import json

    text = json.dumps(example, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else text[:157] + "..."
