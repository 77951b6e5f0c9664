"""A governance folder to a Model, with every finding at once; bad input is never an exception.

The one module of the model that touches files.

Reads `*.yaml` and `*.yml` in the folder and below, several documents to a file, and the CSV files that tables
name. Text comes from people and from reviews of strangers' branches: everything is bounded.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path as FilePath
from typing import Any, TypeAlias

from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import Finding
from counterfoil.model import kinds, overlays, tables
from counterfoil.model.checks import check
from counterfoil.model.document import Document, build
from counterfoil.model.model import Model
from counterfoil.model.patterns import expand
from counterfoil.model.source import MAX_BYTES, Path, Source, parse

Folder: TypeAlias = str | os.PathLike[str]
Written: TypeAlias = FilePath

MAX_FILES = 5_000

_SECRET_KEY = re.compile(
    r"(?i)(^|_|-)(password|passwd|passphrase|secret|token|api_?key|private_?key|credentials?|access_?key)$"
)
_REFERENCE = re.compile(r"env:[A-Z][A-Z0-9_]*|file:\S+")
_USER_IN_URL = re.compile(r"^[a-z][a-z0-9+.-]*://[^/@\s]*:[^/@\s]+@")


def read(path: Folder, *, checks: bool = True, environment: str | None = None) -> tuple[Model, list[Finding]]:
    """The Model of a folder and all that is wrong with it, sorted by place.

    `environment` chooses the overlays that are in the Model; without one there are those of every environment to
    check, and none in the Model. Every region and legal entity is checked. `checks=False` stops after the form of
    each document. A document with an error of form is not in the Model; the whole-model checks know its name and do
    not complain that it is missing.
    """
    folder = FilePath(path)
    documents: list[Document] = []
    findings: list[Finding] = []
    broken: set[tuple[str, str]] = set()
    if not folder.is_dir():
        return Model([]), [Finding("unreadable", "there is no such folder", str(path), 0, 0)]
    sources: list[Source] = []
    for name, text in _files(folder, findings):
        read_here, faults = parse(text, name)
        sources.extend(read_here)
        findings.extend(faults)
    findings.extend(expand(sources))
    for source in sources:
        if not source.lost:
            _secrets(source, findings)
        document, faults = _document(source, folder, findings)
        findings.extend(faults)
        if document is None:
            broken |= _named(source)
        else:
            documents.append(document)
    unique = _unique(documents, findings)
    return _placed(Model(unique, broken), environment, str(path), findings, checks)


def _placed(
    written: Model, environment: str | None, folder: str, findings: list[Finding], checks: bool
) -> tuple[Model, list[Finding]]:
    """The Model of an environment, and the findings of all its places."""
    found = written.overlays
    named = {d.value.of.environment for d in found if isinstance(d.value, kinds.Overlay)} - {None}
    if environment and named and environment not in named:
        message = f"no overlay is of the environment `{environment}`; there are: {', '.join(sorted(map(str, named)))}"
        findings.append(Finding("overlay-form", message, folder, 0, 0))
    whole = [d for d in found if isinstance(d.value, kinds.Overlay) and not d.value.of.by_run]
    chosen = overlays.applicable(whole, overlays.Where(environment or ""))
    model, wrong = overlays.apply_overlays(written, chosen)
    model = Model((d for d in model.documents if _stays(d, environment or "")), model.broken)
    if not checks:
        return model, sorted({*findings, *wrong})
    findings.extend(overlays.faults(written, found))
    plain: set[Finding] | None = None
    told: set[Finding] = set()
    for where in overlays.places(written, found, environment):
        there, wrong = overlays.apply_overlays(written, overlays.applicable(found, where))
        findings.extend(wrong)
        here = set(check(there))
        if plain is None:
            plain = here
            findings.extend(here)
        # What is wrong in one place alone says in which; the same in another place says nothing more.
        more = here - plain - told
        told |= more
        findings.extend(replace(f, message=f"{f.message} (in {where})") for f in more)
    return model, sorted(set(findings))


def _stays(document: Document, environment: str) -> bool:
    """Whether a document is of the Model of an environment: its own overlays are in place already."""
    if not isinstance(document.value, kinds.Overlay):
        return True
    return document.value.of.by_run and document.value.of.environment in (None, environment)


def _document(
    source: Source, folder: FilePath, before: list[Finding]
) -> tuple[Document | None, list[Finding]]:
    """A document with its rows. Where text was refused its kind is looked at still, for every finding at once,
    but not where a finding already stands: one mistake is told once."""
    if source.lost:
        return None, []
    document, findings = build(source)
    if source.broken:
        told = {(finding.file, finding.line) for finding in before}
        return None, [finding for finding in findings if (finding.file, finding.line) not in told]
    if document is not None:
        document = _with_rows(document, folder, findings)
    return document, findings


def _files(folder: FilePath, findings: list[Finding]) -> Iterator[tuple[str, str]]:
    """(name, text) of each file, in the order of names, so that two machines report alike."""
    root = folder.resolve()
    names = []
    for place, below, files in os.walk(folder):
        below[:] = sorted(d for d in below if not d.startswith("."))
        names += [
            FilePath(place) / f for f in files if f.endswith((".yaml", ".yml")) and not f.startswith(".")
        ]
    if len(names) > MAX_FILES:
        findings.append(Finding("too-large", f"more than {MAX_FILES} files", str(folder), 0, 0))
        return
    for name in sorted(names):
        text = _text(name, root, MAX_BYTES, findings)
        if text is not None:
            yield str(name), text


def _text(name: FilePath, root: FilePath, limit: int, findings: list[Finding]) -> str | None:
    """A file's text, or None with a finding. A link may not lead out of the folder."""
    problem = ""
    try:
        if not name.resolve().is_relative_to(root):
            problem = "leads out of the folder"
        elif not name.is_file():
            problem = "there is no such file"
        elif name.stat().st_size > limit:
            findings.append(
                Finding("too-large", f"more than {limit // 1024} KB in one file", str(name), 1, 1)
            )
            return None
        else:
            return name.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        problem = "not UTF-8 text"
    except OSError as error:
        problem = error.strerror or "cannot be read"
    findings.append(Finding("unreadable", problem, str(name), 1, 1))
    return None


def _named(source: Source) -> set[tuple[str, str]]:
    data = source.data
    if isinstance(data, dict) and isinstance(data.get("kind"), str) and isinstance(data.get("name"), str):
        return {(data["kind"], data["name"])}
    return set()


def _unique(documents: list[Document], findings: list[Finding]) -> list[Document]:
    """The first document of each kind and name; a second one is a finding."""
    seen: dict[tuple[str, str], Document] = {}
    for document in documents:
        first = seen.setdefault((document.kind, document.name), document)
        if first is not document and first.source is not None:
            file, mark = first.source.place(("name",))
            message = f"a {document.kind} `{document.name}` is already at {file}:{mark.line}"
            findings.append(document.finding("duplicate-name", message, ("name",), fix="rename one of them"))
    return list(seen.values())


def _secrets(source: Source, findings: list[Finding]) -> None:
    """Secrets stand in files by reference only: what looks like one in the open is a finding."""
    data = source.data
    if not isinstance(data, dict):
        return
    if data.get("kind") == "system":
        _open_secrets(source, data, (), findings)
    elif data.get("kind") == "overlay" and isinstance(data.get("changes"), list):
        for position, change in enumerate(data["changes"]):
            if (
                isinstance(change, dict)
                and change.get("kind") == "system"
                and isinstance(change.get("set"), dict)
            ):
                _open_secrets(source, change["set"], ("changes", position, "set"), findings)


def _open_secrets(source: Source, system: dict[str, Any], at: Path, findings: list[Finding]) -> None:
    def look(value: Any, path: Path, settings: bool) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                look(inner, (*path, key), settings)
        elif isinstance(value, list):
            for position, inner in enumerate(value):
                look(inner, (*path, position), settings)
        elif isinstance(value, str) and value and not _REFERENCE.fullmatch(value):
            key = next((part for part in reversed(path) if isinstance(part, str)), "")
            if (settings and _SECRET_KEY.search(key)) or _USER_IN_URL.match(value):
                findings.append(
                    source.finding(
                        "secret-in-file",
                        f"`{key}` holds a secret in the open",
                        path,
                        fix="write env:NAME or file:PATH under `secrets`, and change the secret",
                    )
                )

    for key in ("settings", "url", "account"):
        if key in system:
            look(system[key], (*at, key), key == "settings")


def _with_rows(document: Document, folder: FilePath, findings: list[Finding]) -> Document | None:
    """A table with the rows of its CSV in place; every other document as it is."""
    table = document.value
    if isinstance(table, kinds.Overlay):
        return _with_overlaid_rows(document, folder, findings)
    if not isinstance(table, kinds.Table):
        return document
    if (table.file is None) == (table.rows is None):
        findings.append(document.finding("table-row", "a table has either `file` or `rows`", ("name",)))
        return None
    if table.file is None:
        rows = table.rows or []
        faults = tables.row_faults(table, rows)
        findings.extend(document.finding("table-row", text, ("rows", at)) for at, text in faults)
        return None if faults else document
    assert document.source is not None
    name = FilePath(document.source.place(("file",))[0]).parent / table.file
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


def _with_overlaid_rows(document: Document, folder: FilePath, findings: list[Finding]) -> Document | None:
    """An overlay with the rows of the CSV files that it puts in place of a table's."""
    changes = document.data["changes"]
    read_in = []
    before = len(findings)
    for position, change in enumerate(changes):
        file = change["set"].get("file") if change["kind"] == "table" else None
        if isinstance(file, str) and document.source is not None:
            place = document.source.place(("changes", position, "set", "file"))[0]
            name = FilePath(place).parent / file
            text = _text(name, folder.resolve(), tables.MAX_CSV_BYTES, findings)
            lines, bad = tables.read_csv(text, str(name)) if text is not None else ([], [])
            findings.extend(bad)
            others = {key: value for key, value in change["set"].items() if key != "file"}
            change = {**change, "set": {**others, "rows": [row for _, row in lines]}}
        read_in.append(change)
    if len(findings) > before:
        return None
    data = {**document.data, "changes": read_in}
    return replace(document, value=kinds.Overlay.model_validate(data, strict=True), data=data)


def write_new(folder: Folder, texts: Mapping[str, str]) -> list[Written]:
    """Writes files that are not there yet. Raises Misconfigured, before anything is written, where one is."""
    target = FilePath(folder)
    taken = [name for name in texts if (target / name).exists()]
    if taken:
        raise Misconfigured(f"{target / taken[0]} exists already; choose an empty folder")
    target.mkdir(parents=True, exist_ok=True)
    for name, text in texts.items():
        (target / name).write_text(text, encoding="utf-8")
    return [target / name for name in texts]
