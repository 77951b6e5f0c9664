"""`contracts lint`: check a file or a folder against the contract rules; each finding has its line."""

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
    contracts = 0
    for path in files:
        of_file = _lint_file(path, alone=not file.is_dir())
        findings += of_file or []
        contracts += of_file is not None
    if not contracts:
        raise CommandFailed(f"{file} contains no contract.")
    if format is Format.JSON:
        write_json(
            [
                {
                    "file": f.file, "line": f.line, "column": f.column, "rule": f.rule,
                    "severity": f.severity, "message": f.message, "fix": f.fix,
                }
                for f in findings
            ]
        )  # fmt: skip
    else:
        for f in findings:
            say(f"{f.file}:{f.line}: {f.rule}: {f.message}\n    {f.fix}")
        say(f"{contracts} {'file' if contracts == 1 else 'files'}, {len(findings)} findings")
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
        if alone:
            raise CommandFailed(f"{path}: {error}") from error
        fix = "repair the file, or move it out of the folder"
        return [Finding("unreadable", str(error), str(path), 0, 0, "warning", fix)]
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
