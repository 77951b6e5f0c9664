"""Contract commands: lint, and comparison of two versions with the breaking changes. They need no server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from counterfoil.cli import contract_changes
from counterfoil.cli.contract_changes import JudgedChange
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_findings, write_json
from counterfoil.core.finding import Finding

if TYPE_CHECKING:
    from counterfoil.contracts.report import Change, Direction, Report

contracts = typer.Typer(help="Contracts: JSON Schema, OpenAPI and AsyncAPI.", no_args_is_help=True)
_ENDS = (".json", ".yaml", ".yml")


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


class DiffFormat(StrEnum):
    TEXT = "text"
    JSON = "json"
    MARKDOWN = "markdown"


class UndecidedChanges(StrEnum):
    BREAK = "break"
    WARN = "warn"


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
    undecided: Annotated[
        UndecidedChanges, typer.Option(help="Effect of undecided changes on the exit code.")
    ] = UndecidedChanges.WARN,
    reads: Annotated[
        Path | None, typer.Option(help="A file that declares the fields a consumer reads and sends.")
    ] = None,
    overrides: Annotated[
        Path | None, typer.Option(help="A file with severities of rules and accepted changes.")
    ] = None,
    base_prefix: Annotated[str, typer.Option(help="Prefix of the paths of BASE to ignore.")] = "",
    revision_prefix: Annotated[str, typer.Option(help="Prefix of the paths of REVISION to ignore.")] = "",
    breaking_only: Annotated[bool, typer.Option(help="Show breaking changes only.")] = False,
    format: Annotated[
        DiffFormat, typer.Option("--format", help="Output format: text, json or markdown.")
    ] = DiffFormat.TEXT,
) -> None:
    """Compare two versions of a contract.

    Exit code 1: there is a breaking change, or with --undecided=break an undecided one. Exit code 2: a file cannot be
    read.
    """
    from counterfoil.contracts.load import UnreadableDescription, read
    from counterfoil.contracts.openapi.reads import InvalidReads
    from counterfoil.contracts.overrides import InvalidOverrides, Overrides, read_overrides

    selected = profile or (ProfileName.CONSUMER if reads is not None else ProfileName.STANDARD)
    if reads is not None and selected is not ProfileName.CONSUMER:
        raise CommandFailed(f"--reads works with --profile consumer only, not with {selected}.")
    try:
        old, new = (
            _without_prefix(_load(base), base_prefix),
            _without_prefix(_load(revision), revision_prefix),
        )
        declared = read(reads) if reads is not None else None
        own = read_overrides(read(overrides)) if overrides is not None else Overrides()
        kinds = {kind or _detect_kind(old, base), kind or _detect_kind(new, revision)}
        if len(kinds) > 1:
            raise CommandFailed(f"{base} and {revision} are of different kinds: {', '.join(sorted(kinds))}.")
        both = kinds.pop()
        changes = list(_changes(both, old, new, selected, direction, declared))
    except InvalidReads as error:
        raise CommandFailed(f"{reads}: {error}") from error
    except InvalidOverrides as error:
        raise CommandFailed(f"{overrides}: {error}") from error
    except UnreadableDescription as error:
        raise CommandFailed(str(error)) from error
    today = datetime.now(UTC).date()
    judged = [JudgedChange(way, *own.judge(change, today)) for way, change in changes]
    header = {"kind": both, "profile": selected, "direction": direction}
    _write(judged, header, format, breaking_only=breaking_only)
    for entry in own.unused((change for _, change in changes), today):
        typer.echo(
            f"{overrides}: no change is accepted by {entry.fingerprint or entry.rule} any more", err=True
        )
    if is_breaking(judged) or (undecided is UndecidedChanges.BREAK and is_undecided(judged)):
        raise typer.Exit(1)


def _write(
    judged: list[JudgedChange], header: dict[str, Any], format: DiffFormat, *, breaking_only: bool
) -> None:
    if format is DiffFormat.JSON:
        rows = [_json(item) for item in judged if item.change.breaking or not breaking_only]
        verdicts = {"breaking": is_breaking(judged), "undecided": is_undecided(judged)}
        write_json({**header, **verdicts, "changes": rows})
        return
    lines = contract_changes.markdown if format is DiffFormat.MARKDOWN else contract_changes.text
    what = f"{header['kind']}, profile {header['profile']}, {header['direction']}"
    several = header["direction"] is DirectionName.FULL
    for line in lines(judged, what, several=several, only_breaking=breaking_only):
        say(line)


def is_breaking(judged: list[JudgedChange]) -> bool:
    return any(item.change.breaking for item in judged)


def is_undecided(judged: list[JudgedChange]) -> bool:
    return any(not item.change.decided and not item.accepted for item in judged)


def _without_prefix(description: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return a description whose paths begin after a prefix, so that two dated versions have the same paths."""
    paths = description.get("paths")
    if not prefix or not isinstance(paths, dict):
        return description
    return {**description, "paths": {str(path).removeprefix(prefix): item for path, item in paths.items()}}


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


def _json(item: JudgedChange) -> dict[str, Any]:
    change = item.change
    row = {
        "rule": change.rule, "where": change.where, "direction": item.way, "breaking": change.breaking,
        "decided": change.decided, "users": change.users, "used_by": list(change.used_by), "message": change.message,
        "fingerprint": change.fingerprint,
    }  # fmt: skip
    if item.accepted:
        row["accepted"] = item.accepted
    if change.example is not msgspec.UNSET:
        row["example"] = change.example
    return row


@contracts.command("lint")
def lint(
    file: Annotated[
        Path,
        typer.Argument(
            help="A JSON Schema, an OpenAPI or AsyncAPI description, a governance file, or a folder of them."
        ),
    ],
    format: FormatOption = Format.TEXT,
) -> None:
    """Check contracts against the lint rules.

    The rules cover names, versions, metadata, envelope, money, dates and personal data. Exit code 1: there is a finding.
    """
    if not file.exists():
        raise CommandFailed(f"{file}: no such file or folder.")
    files = sorted(p for p in file.rglob("*") if p.suffix in _ENDS) if file.is_dir() else [file]
    findings: list[Finding] = []
    count = 0
    for path in files:
        of_file = _lint_file(path, alone=not file.is_dir())
        findings += of_file or []
        count += of_file is not None
    if not count:
        raise CommandFailed(f"{file} contains no contract.")
    if format is Format.JSON:
        write_findings(findings)
    else:
        for f in findings:
            say(f"{f.file}:{f.line}: {f.rule}: {f.message}\n    {f.fix}")
        say(f"{count} {'file' if count == 1 else 'files'}, {len(findings)} findings")
    if findings:
        raise typer.Exit(1)


def _lint_file(path: Path, alone: bool) -> list[Finding] | None:
    """Return the findings of a file; None if it contains no contract.

    An unreadable file of a folder is a finding. With `alone`, a file that is unreadable or no contract raises
    CommandFailed.
    """
    from counterfoil.contracts.lint import form_of
    from counterfoil.contracts.load import UnreadableDescription, parse

    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "\nkind:" in f"\n{text}" and path.suffix != ".json":
            return list(_lint_governance(path, text))
        data = parse(text.encode())
    except (OSError, UnicodeDecodeError, UnreadableDescription) as error:
        why = "the file is not UTF-8 text" if isinstance(error, UnicodeDecodeError) else str(error)
        if alone:
            raise CommandFailed(f"{path}: {why}") from error
        fix = "repair the file, or move it out of the folder"
        return [Finding("unreadable", why, str(path), 0, 0, "warning", fix)]
    if form_of(data) is None:
        if alone:
            raise CommandFailed(f"{path} is not a JSON Schema, OpenAPI, AsyncAPI or governance document.")
        return None
    return list(_lint_description(path, text, data))


def _lint_description(path: Path, text: str, data: object) -> Iterator[Finding]:
    from counterfoil.contracts.lint import lint as lint_document
    from counterfoil.contracts.lint.places import places

    violations = lint_document(data)
    at = places(text, (violation.path for violation in violations)) if violations else {}
    for violation in violations:
        line, column = at.get(violation.path, (0, 0))
        yield Finding(violation.rule, violation.message, str(path), line, column, "warning", violation.fix)


def _lint_governance(path: Path, text: str) -> Iterator[Finding]:
    """Lint the documents as written. Their structure and the expansion of patterns are checked by `check` alone."""
    from counterfoil.model.lint import lint_documents
    from counterfoil.model.source import parse

    sources, faults = parse(text, str(path))
    yield from faults
    yield from lint_documents(
        source
        for source in sources
        if not source.lost and isinstance(source.data, dict) and "pattern" not in source.data
    )
