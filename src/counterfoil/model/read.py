"""Read a governance folder into a Model with all findings. Bad input gives findings, never an exception.

This is the only module of the model that reads files: `*.yaml` and `*.yml` in the folder and below, with several
documents per file, except descriptions of APIs, the CSV files that tables name, and the receipts that tests name. Sizes are bounded, because a branch under review may contain
any text.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import TypeAlias

from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import Finding
from counterfoil.core.wire import WireRefused, read_json
from counterfoil.model import kinds, overlays, tables
from counterfoil.model.checks import check
from counterfoil.model.document import Document, build
from counterfoil.model.documents import ANY
from counterfoil.model.extends import extend
from counterfoil.model.file_paths import in_folder, is_description
from counterfoil.model.model import Model
from counterfoil.model.patterns import expand
from counterfoil.model.secret_values import secret_findings, without_secrets
from counterfoil.model.source import MAX_BYTES, Source, parse

Folder: TypeAlias = str | os.PathLike[str]
File: TypeAlias = FilePath
MAX_FILES = 5_000
_NO_FILE = "the folder has no governance file (`*.yaml` or `*.yml`)"
_FIRST_FOLDER = "name another folder; `counterfoil init DIR` writes a first one"


def read(
    path: Folder,
    *,
    checks: bool = True,
    environment: str | None = None,
    also: Callable[[Model], Iterable[Finding]] | None = None,
) -> tuple[Model, list[Finding]]:
    """Read the Model of a folder, with all findings sorted by place.

    `environment` chooses the overlays that are applied to the Model. Without it, the overlays of every environment
    are checked and none is applied. Every region and legal entity is checked. `checks=False` stops after the form
    of each document. A document with an error of form is not in the Model; the checks do not report it as missing.
    `also` is a further check of the Model of every place.
    """
    folder = FilePath(path)
    documents: list[Document] = []
    findings: list[Finding] = []
    broken: set[tuple[str, str]] = set()
    if not folder.is_dir():
        return Model([]), [Finding("unreadable", "the folder does not exist", str(path), 0, 0)]
    sources: list[Source] = []
    for name, text in _files(folder, findings):
        of_file, faults = parse(text, name)
        sources.extend(of_file)
        findings.extend(faults)
    if not sources and not findings:
        # A folder named by mistake would pass every check, and as a change it would remove everything.
        findings.append(Finding("unreadable", _NO_FILE, str(path), 0, 0, fix=_FIRST_FOLDER))
    findings.extend(expand(sources))
    findings.extend(extend(sources))
    for source in sources:
        if not source.lost:
            findings.extend(secret_findings(source))
        document, faults = _document(source, folder, findings)
        findings.extend(faults)
        if document is None:
            broken |= _name_of(source)
        else:
            documents.append(document)
    if any(finding.rule in ("unreadable", "too-large") for finding in findings):
        broken.add((ANY, ANY))
    unique = _unique(documents, findings)
    further = also if checks else None
    model, findings = _overlaid(Model(unique, broken), environment, str(path), findings, checks, further)
    return model, without_secrets(findings, sources)


def _overlaid(
    written: Model,
    environment: str | None,
    folder: str,
    findings: list[Finding],
    checks: bool,
    also: Callable[[Model], Iterable[Finding]] | None,
) -> tuple[Model, list[Finding]]:
    """Return the Model of an environment, and the findings of all its places."""
    all_overlays = written.overlays
    places = [overlay.of for _, overlay in written.documents_of(kinds.Overlay)]
    environments = {of.environment for of in places if of.environment is not None}
    if environment and environments and environment not in environments:
        listed = ", ".join(sorted(environments))
        message = f"no overlay is for the environment `{environment}`; there are overlays for: {listed}"
        findings.append(Finding("overlay-form", message, folder, 0, 0))
    of_environment = [d for d in all_overlays if isinstance(d.value, kinds.Overlay) and not d.value.of.by_run]
    chosen = overlays.applicable(of_environment, overlays.Where(environment or ""))
    model, wrong = overlays.apply_overlays(written, chosen)
    model = Model((d for d in model.documents if _belongs_to(d, environment or "")), model.broken)
    if not checks:
        return model, sorted({*findings, *wrong})
    findings.extend(overlays.faults(written, all_overlays))
    plain: set[Finding] | None = None
    reported: set[Finding] = set()
    for where in overlays.places(written, all_overlays, environment):
        model_there, wrong = overlays.apply_overlays(written, overlays.applicable(all_overlays, where))
        findings.extend(wrong)
        of_place = {*check(model_there), *(also(model_there) if also is not None else ())}
        if plain is None:
            plain = of_place
            findings.extend(of_place)
        # A finding of one place names it; the same finding of another place adds nothing.
        more = of_place - plain - reported
        reported |= more
        findings.extend(replace(f, message=f"{f.message} (in {where})") for f in more)
    return model, sorted(set(findings))


def _belongs_to(document: Document, environment: str) -> bool:
    """Return True if a document stays in the Model of an environment, whose own overlays are already applied."""
    if not isinstance(document.value, kinds.Overlay):
        return True
    return document.value.of.by_run and document.value.of.environment in (None, environment)


def _document(
    source: Source, folder: FilePath, earlier: list[Finding]
) -> tuple[Document | None, list[Finding]]:
    """Build a document with its rows.

    If some text was refused, its kind is still checked, to report all findings at once. Lines that already have a
    finding are skipped.
    """
    if source.lost:
        return None, []
    document, findings = build(source)
    if source.broken:
        lines = {(finding.file, finding.line) for finding in earlier}
        return None, [finding for finding in findings if (finding.file, finding.line) not in lines]
    if document is not None:
        in_place = in_folder(document, lambda file: FilePath(file).parent.relative_to(folder).as_posix())
        document = _with_rows(in_place, folder, findings)
    return document, findings


def _files(folder: FilePath, findings: list[Finding]) -> Iterator[tuple[str, str]]:
    """Yield (name, text) of each file, sorted by name, so that every machine reports the same."""
    root = folder.resolve()
    names = []
    for place, below, files in os.walk(folder):
        below[:] = sorted(d for d in below if not d.startswith("."))
        texts = (f for f in files if f.endswith((".yaml", ".yml")) and not f.startswith("."))
        names += [FilePath(place) / f for f in texts]
    if len(names) > MAX_FILES:
        findings.append(Finding("too-large", f"more than {MAX_FILES} files", str(folder), 0, 0))
        return
    for name in sorted(names):
        if _describes_api(name):
            continue
        text = _text(name, root, MAX_BYTES, findings)
        if text is not None:
            yield str(name), text


def _describes_api(name: FilePath) -> bool:
    """Return True for the description of an API. A file that cannot be read is reported later."""
    try:
        return name.is_file() and is_description(name.read_bytes())
    except OSError:
        return False


def _text(name: FilePath, root: FilePath, limit: int, findings: list[Finding]) -> str | None:
    """Return the text of a file, or None with a finding. A link must not lead out of the folder."""
    problem = ""
    try:
        if not name.resolve().is_relative_to(root):
            problem = "the path leads out of the folder"
        elif not name.is_file():
            problem = "the file does not exist"
        elif name.stat().st_size > limit:
            message = f"more than {limit // 1024} KB in one file"
            findings.append(Finding("too-large", message, str(name), 1, 1))
            return None
        else:
            return name.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        problem = "the file is not UTF-8 text"
    except OSError as error:
        problem = error.strerror or "the file cannot be read"
    findings.append(Finding("unreadable", problem, str(name), 1, 1))
    return None


def _name_of(source: Source) -> set[tuple[str, str]]:
    """Return kind and name of a refused document, so that no check reports it as missing; `*` for what cannot be read."""
    data = source.data if isinstance(source.data, dict) else {}
    kind, name = data.get("kind"), data.get("name")
    return {
        (
            kind if isinstance(kind, str) and kind in kinds.KINDS else ANY,
            name if isinstance(name, str) else ANY,
        )
    }


def _unique(documents: list[Document], findings: list[Finding]) -> list[Document]:
    """Return the first document of each kind and name; another one is a finding."""
    by_name: dict[tuple[str, str], Document] = {}
    for document in documents:
        first = by_name.setdefault((document.kind, document.name), document)
        if first is not document and first.source is not None:
            file, mark = first.source.place(("name",))
            message = f"the {document.kind} `{document.name}` already exists at {file}:{mark.line}"
            findings.append(document.finding("duplicate-name", message, ("name",), fix="rename one of them"))
    return list(by_name.values())


def _with_rows(document: Document, folder: FilePath, findings: list[Finding]) -> Document | None:
    """Return a table with the rows of its CSV, a test with the receipts of its files; every other document unchanged."""
    table = document.value
    if isinstance(table, kinds.Test):
        return _with_receipts(document, table, folder, findings)
    if isinstance(table, kinds.Overlay):
        return _with_overlaid_rows(document, folder, findings)
    if not isinstance(table, kinds.Table):
        return document
    if (table.file is None) == (table.rows is None):
        findings.append(document.finding("table-row", "a table needs either `file` or `rows`", ("name",)))
        return None
    if table.file is None:
        rows = table.rows or []
        faults = tables.row_faults(table, rows)
        findings.extend(document.finding("table-row", text, ("rows", at)) for at, text in faults)
        return None if faults else document
    assert document.source is not None
    name = FilePath(document.source.file_of(("file",))).parent / table.file
    before = len(findings)
    text = _text(name, folder.resolve(), tables.MAX_CSV_BYTES, findings)
    if text is None:
        return None
    lines, bad = tables.read_csv(text, str(name), tables.columns(table))
    findings.extend(bad)
    rows = [row for _, row in lines]
    for at, message in tables.row_faults(table, rows):
        findings.append(Finding("table-row", message, str(name), lines[at][0], 1))
    if len(findings) > before:
        return None
    data = {key: value for key, value in document.data.items() if key != "file"} | {"rows": rows}
    return replace(document, value=table.model_copy(update={"file": None, "rows": rows}), data=data)


def _with_receipts(
    document: Document, test: kinds.Test, folder: FilePath, findings: list[Finding]
) -> Document | None:
    """Return a test with the content of the files that its receipts name."""
    before = len(findings)
    steps: list[kinds.GivenStep] = []
    for position, step in enumerate(test.given):
        if isinstance(step, kinds.GivenReceipt) and step.file is not None and document.source is not None:
            path = ("given", position, "file")
            name = FilePath(document.source.file_of(path)).parent / step.file
            text = _text(name, folder.resolve(), MAX_BYTES, findings)
            try:
                body = read_json(text.encode()) if text is not None else None
            except WireRefused as error:
                findings.append(document.finding("unreadable", f"{step.file} is not JSON: {error}", path))
            else:
                step = step.model_copy(update={"file": None, "body": body})
        steps.append(step)
    if len(findings) > before:
        return None
    return replace(document, value=test.model_copy(update={"given": steps}))


def _with_overlaid_rows(document: Document, folder: FilePath, findings: list[Finding]) -> Document | None:
    """Return an overlay with the rows of the CSV files that replace those of tables."""
    changes = document.data["changes"]
    with_rows = []
    before = len(findings)
    for position, change in enumerate(changes):
        file = change["set"].get("file") if change["kind"] == "table" else None
        if isinstance(file, str) and document.source is not None:
            place = document.source.file_of(("changes", position, "set", "file"))
            name = FilePath(place).parent / file
            text = _text(name, folder.resolve(), tables.MAX_CSV_BYTES, findings)
            lines, bad = tables.read_csv(text, str(name)) if text is not None else ([], [])
            findings.extend(bad)
            others = {key: value for key, value in change["set"].items() if key != "file"}
            change = {**change, "set": {**others, "rows": [row for _, row in lines]}}
        with_rows.append(change)
    if len(findings) > before:
        return None
    data = {**document.data, "changes": with_rows}
    return replace(document, value=kinds.Overlay.model_validate(data, strict=True), data=data)


def write_new(folder: Folder, texts: Mapping[str, str]) -> list[File]:
    """Write new files. Raises Misconfigured before the first write if one exists, or if the place is no folder."""
    target = FilePath(folder)
    if any(path.exists() and not path.is_dir() for path in (target, *target.parents)):
        raise Misconfigured(f"{target} is not a folder; choose another name")
    existing = [name for name in texts if (target / name).exists()]
    if existing:
        raise Misconfigured(f"{target / existing[0]} exists already; choose an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in texts]
