"""Contracts on the command line: what changed between two versions of one, and whom it breaks. No server is needed."""

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


class Kind(StrEnum):
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
    base: Annotated[Path, typer.Argument(help="The contract as it was: a JSON or YAML file.")],
    revision: Annotated[Path, typer.Argument(help="The contract as it is to be.")],
    kind: Annotated[Kind | None, typer.Option(help="What they are; guessed when it is not given.")] = None,
    profile: Annotated[
        ProfileName | None, typer.Option(help="What counts as breaking; standard, or consumer with --reads.")
    ] = None,
    direction: Annotated[
        DirectionName, typer.Option(help="Whose values must stay valid: those of before, of now, or both.")
    ] = DirectionName.BACKWARD,
    reads: Annotated[
        Path | None, typer.Option(help="A file that declares what a consumer reads and sends.")
    ] = None,
    format: FormatOption = Format.TEXT,
) -> None:
    """Say what changed between two versions of a contract, and whom it breaks; exit code 1 when it breaks somebody."""
    from counterfoil.contracts.load import UnreadableDescription, read
    from counterfoil.contracts.openapi.reads import InvalidReads

    chosen = profile or (ProfileName.CONSUMER if reads is not None else ProfileName.STANDARD)
    if reads is not None and chosen is not ProfileName.CONSUMER:
        raise CommandFailed(f"--reads counts under --profile consumer alone, not under {chosen}.")
    try:
        old, new = _described(base), _described(revision)
        declared = read(reads) if reads is not None else None
        kinds = {kind or _guess(old, base), kind or _guess(new, revision)}
        if len(kinds) > 1:
            raise CommandFailed(f"{base} and {revision} are of two kinds: {', '.join(sorted(kinds))}.")
        found = kinds.pop()
        told = list(_told(found, old, new, chosen, direction, declared))
    except InvalidReads as error:
        raise CommandFailed(f"{reads}: {error}") from error
    except UnreadableDescription as error:
        raise CommandFailed(str(error)) from error
    breaking = any(change.breaking for _, change in told)
    if format is Format.JSON:
        write_json(
            {
                "kind": found, "profile": chosen, "direction": direction, "breaking": breaking,
                "changes": [_json(way, change) for way, change in told],
            }
        )  # fmt: skip
    else:
        _show(told, f"{found}, profile {chosen}, {direction}", several=direction is DirectionName.FULL)
    if breaking:
        raise typer.Exit(1)


def _described(path: Path) -> Any:
    from counterfoil.contracts.load import load

    return load(path)


def _guess(description: dict[str, Any], path: Path) -> Kind:
    if "openapi" in description or "swagger" in description:
        return Kind.OPENAPI
    if "asyncapi" in description:
        return Kind.ASYNCAPI
    if not description or any(
        word in description
        for word in ("$schema", "$ref", "$defs", "definitions", "type", "properties", "enum", "const", "items",
                     "allOf", "anyOf", "oneOf", "not", "required", "$id")
    ):  # fmt: skip
        return Kind.JSONSCHEMA
    raise CommandFailed(f"{path} is no contract that is known by its look; say what it is with --kind.")


def _told(
    kind: Kind, old: Any, new: Any, profile: ProfileName, direction: DirectionName, declared: Any
) -> Iterator[tuple[str, Change]]:
    """Every change with the direction in which it was judged; what is told in both and breaks in neither, once."""
    ways: dict[DirectionName, tuple[Direction, ...]] = {
        DirectionName.BACKWARD: ("backward",),
        DirectionName.FORWARD: ("forward",),
        DirectionName.FULL: ("backward", "forward"),
    }
    told: set[tuple[str, str, str]] = set()
    for way in ways[direction]:
        for change in _compare(kind, old, new, profile, way, declared).changes:
            key = (change.rule, change.where, change.message)
            if change.breaking or key not in told:
                yield way, change
            told.add(key)


def _compare(kind: Kind, old: Any, new: Any, profile: ProfileName, way: Direction, declared: Any) -> Report:
    from counterfoil.contracts import compare_asyncapi, compare_json_schema, compare_openapi
    from counterfoil.contracts.load import binary
    from counterfoil.contracts.openapi.reads import InvalidReads

    if kind is Kind.JSONSCHEMA:
        fields = declared.get("reads") if isinstance(declared, dict) else declared
        if declared is not None and not (
            isinstance(fields, list) and all(isinstance(f, str) for f in fields)
        ):
            raise InvalidReads(
                "for a JSON Schema, a list of dotted paths, or an object with such a list as `reads`"
            )
        return compare_json_schema(binary(old), binary(new), way, profile.value, reads=fields)
    if declared is not None and not isinstance(declared, dict):
        raise InvalidReads("an object was expected")
    first, second = (old, new) if way == "backward" else (new, old)
    compare = compare_openapi if kind is Kind.OPENAPI else compare_asyncapi
    return compare(first, second, profile.value, reads=declared)


def _json(way: str, change: Change) -> dict[str, Any]:
    row = {
        "rule": change.rule, "where": change.where, "direction": way, "breaking": change.breaking,
        "decided": change.decided, "users": change.users, "message": change.message,
    }  # fmt: skip
    if change.example is not msgspec.UNSET:
        row["example"] = change.example
    return row


def _show(told: list[tuple[str, Change]], what: str, *, several: bool) -> None:
    breaking = [each for each in told if each[1].breaking]
    undecided = [each for each in told if not each[1].breaking and not each[1].decided]
    harmless = [each for each in told if not each[1].breaking and each[1].decided]
    for title, group in (
        ("Breaking", breaking),
        ("Not decided, and not counted", undecided),
        ("Breaks nobody", harmless),
    ):
        if not group:
            continue
        say(f"{title}:")
        for way, change in group:
            places = f"  ({change.users} places)" if change.users > 1 else ""
            say(f"  {change.rule}{f' [{way}]' if several else ''}  {change.where or '/'}{places}")
            say(f"      {change.message}")
            if change.example is not msgspec.UNSET and change.breaking:
                say(f"      example: {_shown(change.example)}")
        say("")
    say(f"{len(breaking)} breaking, {len(undecided)} undecided, {len(harmless)} other changes ({what})")


def _shown(example: Any) -> str:
    import json

    text = json.dumps(example, ensure_ascii=False, default=str)
    return text if len(text) <= 160 else text[:157] + "..."
