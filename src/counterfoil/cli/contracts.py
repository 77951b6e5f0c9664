"""Contract commands: lint, and comparison of two versions with the breaking changes. They need no server."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from counterfoil.cli.contract_reports.changes import JudgedChange
from counterfoil.cli.contract_reports.lines import RevisionLines
from counterfoil.cli.contract_reports.summary import Comparison
from counterfoil.cli.contract_sources import STDIN, file_of, read_source
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, complain, say, write_findings, write_json
from counterfoil.core.finding import Finding
from counterfoil.core.plural import counted

if TYPE_CHECKING:
    from counterfoil.contracts.overrides import Overrides
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
    GITHUB = "github"
    JUNIT = "junit"


class UndecidedChanges(StrEnum):
    BREAK = "break"
    WARN = "warn"


@contracts.command("diff")
def diff(
    base: Annotated[
        str,
        typer.Argument(help="The old version: a JSON or YAML file, a URL, REV:PATH of Git, or - for stdin."),
    ],
    revision: Annotated[str, typer.Argument(help="The new version, from the same sources.")],
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
        DiffFormat, typer.Option("--format", help="Output format: text, json, markdown, github or junit.")
    ] = DiffFormat.TEXT,
) -> None:
    """Compare two versions of a contract.

    Exit code 1: there is a breaking change, or with --undecided=break an undecided one. Exit code 2: a file cannot be
    read.
    """
    from counterfoil.contracts.openapi.reads import InvalidReads
    from counterfoil.json_or_yaml import UnreadableText, read

    selected = profile or (ProfileName.CONSUMER if reads is not None else ProfileName.STANDARD)
    if reads is not None and selected is not ProfileName.CONSUMER:
        raise CommandFailed(f"--reads works with --profile consumer only, not with {selected}.")
    if base == revision == STDIN:
        raise CommandFailed("Only one of BASE and REVISION can be standard input.")
    try:
        (_, old), (data, new) = read_source(base), read_source(revision)
        old, new = _without_prefix(old, base_prefix), _without_prefix(new, revision_prefix)
        declared = read(reads) if reads is not None else None
        own = _overrides(overrides)
        both = kind or _common_kind((base, old), (revision, new))
        changes = list(_changes(both, old, new, selected, direction, declared))
    except InvalidReads as error:
        raise CommandFailed(f"{reads}: {error}") from error
    except UnreadableText as error:
        raise CommandFailed(str(error)) from error
    today = datetime.now(UTC).date()
    comparison = Comparison(
        changes=[JudgedChange(way, *own.judge(change, today)) for way, change in changes],
        kind=both, profile=selected, direction=direction, base=base, revision=revision,
        expired=own.expired(today), unused=own.unused((change for _, change in changes), today),
        breaking_only=breaking_only, undecided_breaks=undecided is UndecidedChanges.BREAK,
    )  # fmt: skip
    _write(comparison, format, RevisionLines(data, revision_prefix))
    for note in comparison.notes:
        complain(f"{overrides}: {note}")
    if comparison.breaking or (comparison.undecided_breaks and comparison.undecided):
        raise typer.Exit(1)


def _overrides(path: Path | None) -> Overrides:
    from counterfoil.contracts.overrides import InvalidOverrides, Overrides, read_overrides
    from counterfoil.json_or_yaml import read

    try:
        return read_overrides(read(path)) if path is not None else Overrides()
    except InvalidOverrides as error:
        raise CommandFailed(f"{path}: {error}") from error


def _write(comparison: Comparison, format: DiffFormat, lines: RevisionLines) -> None:
    from counterfoil.cli.contract_reports import github, json_report, junit, markdown, text

    match format:
        case DiffFormat.JSON:
            write_json(json_report.json_report(comparison))
            return
        case DiffFormat.GITHUB:
            output = github.github(comparison, file_of(comparison.revision), lines)
        case DiffFormat.JUNIT:
            output = junit.junit(comparison)
        case DiffFormat.MARKDOWN:
            output = markdown.markdown(comparison)
        case DiffFormat.TEXT:
            output = text.text(comparison)
    for line in output:
        say(line)


def _without_prefix(description: dict[str, Any], prefix: str) -> dict[str, Any]:
    """Return a description whose paths begin after a prefix, so that two dated versions have the same paths."""
    paths = description.get("paths")
    if not prefix or not isinstance(paths, dict):
        return description
    return {**description, "paths": {str(path).removeprefix(prefix): item for path, item in paths.items()}}


def _common_kind(base: tuple[str, Any], revision: tuple[str, Any]) -> DescriptionKind:
    kinds = {_detect_kind(description, name) for name, description in (base, revision)}
    if len(kinds) > 1:
        raise CommandFailed(
            f"{base[0]} and {revision[0]} are of different kinds: {', '.join(sorted(kinds))}."
        )
    return kinds.pop()


def _detect_kind(description: dict[str, Any], path: str) -> DescriptionKind:
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
        say(f"{counted(count, 'file')}, {counted(len(findings), 'finding')}")
    if findings:
        raise typer.Exit(1)


def _lint_file(path: Path, alone: bool) -> list[Finding] | None:
    """Return the findings of a file; None if it contains no contract.

    An unreadable file of a folder is a finding. With `alone`, a file that is unreadable or no contract raises
    CommandFailed.
    """
    from counterfoil.contracts.lint import form_of
    from counterfoil.json_or_yaml import UnreadableText, parse

    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "\nkind:" in f"\n{text}" and path.suffix != ".json":
            return list(_lint_governance(path, text))
        data = parse(text.encode())
    except (OSError, UnicodeDecodeError, UnreadableText) as error:
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
