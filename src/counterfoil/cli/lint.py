"""`contracts lint`: the rules of good contracts over a file or a folder, each finding with its line."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.cli.client import CommandFailed
from counterfoil.cli.output import Format, FormatOption, say, write_json
from counterfoil.core.finding import Finding

_ENDS = (".json", ".yaml", ".yml")


def lint(
    file: Annotated[
        Path,
        typer.Argument(help="A JSON Schema, an OpenAPI or AsyncAPI description, governance files, a folder."),
    ],
    format: FormatOption = Format.TEXT,
) -> None:
    """Check contracts for names, versions, metadata, envelope, money, dates and personal data."""
    if not file.exists():
        raise CommandFailed(f"{file}: there is no such file.")
    files = sorted(p for p in file.rglob("*") if p.suffix in _ENDS) if file.is_dir() else [file]
    found: list[Finding] = []
    contracts = 0
    for path in files:
        read = _lint_file(path, alone=not file.is_dir())
        found += read or []
        contracts += read is not None
    if not contracts:
        raise CommandFailed(f"{file} holds no contract.")
    if format is Format.JSON:
        write_json(
            [
                {
                    "file": f.file, "line": f.line, "column": f.column, "rule": f.rule,
                    "severity": f.severity, "message": f.message, "fix": f.fix,
                }
                for f in found
            ]
        )  # fmt: skip
    else:
        for f in found:
            say(f"{f.file}:{f.line}: {f.rule}: {f.message}\n    {f.fix}")
        say(f"{contracts} {'file' if contracts == 1 else 'files'}, {len(found)} findings")
    if found:
        raise typer.Exit(1)


def _lint_file(path: Path, alone: bool) -> list[Finding] | None:
    """What a file's contracts are found to have; None for one that holds none. One that cannot be read is a finding of
    its folder. Raises CommandFailed for a file that was named itself and is none."""
    from counterfoil.contracts.lint import form_of
    from counterfoil.contracts.load import UnreadableDescription, parse

    try:
        text = path.read_bytes().decode("utf-8-sig")
        if "\nkind:" in f"\n{text}" and path.suffix != ".json":
            return list(_governance(path, text))
        data = parse(text.encode())
    except (OSError, UnicodeDecodeError, UnreadableDescription) as error:
        if alone:
            raise CommandFailed(f"{path}: {error}") from error
        fix = "mend it, or keep it out of the folder"
        return [Finding("unreadable", str(error), str(path), 0, 0, "warning", fix)]
    if form_of(data) is None:
        if alone:
            raise CommandFailed(f"{path}: no JSON Schema, OpenAPI, AsyncAPI or governance document.")
        return None
    return list(_outside(path, text, data))


def _outside(path: Path, text: str, data: object) -> Iterator[Finding]:
    from counterfoil.contracts.lint import lint as lint_document
    from counterfoil.contracts.lint.places import places

    found = lint_document(data)
    at = places(text, (each.path for each in found)) if found else {}
    for each in found:
        line, column = at.get(each.path, (0, 0))
        yield Finding(each.rule, each.message, str(path), line, column, "warning", each.fix)


def _governance(path: Path, text: str) -> Iterator[Finding]:
    """As it is written: whether it is of its kind is `check`'s to say, and so is what a pattern makes of it."""
    from counterfoil.model.lint import lint_documents
    from counterfoil.model.source import parse

    sources, faults = parse(text, str(path))
    yield from faults
    yield from lint_documents(
        source
        for source in sources
        if not source.lost and isinstance(source.data, dict) and "pattern" not in source.data
    )
