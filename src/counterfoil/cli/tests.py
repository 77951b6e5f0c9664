"""The command `test`: the tests of a governance folder, their differences, and a JUnit report."""

# ruff: noqa: PT028 - the command is named `test` and is none

from __future__ import annotations

import asyncio
import gc
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from xml.etree import ElementTree

import typer

from counterfoil.cli.client import require_folder
from counterfoil.cli.failure import CommandFailed
from counterfoil.cli.output import Format, FormatOption, complain, say, write_json
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import did_you_mean, errors

if TYPE_CHECKING:
    from counterfoil.model import Model
    from counterfoil.model.document import Document
    from counterfoil.testing.run import CaseResult

_NOT_XML = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


def test(
    dir: Annotated[Path, typer.Argument(help="The governance folder.")] = Path("."),
    names: Annotated[
        list[str] | None, typer.Argument(help="Names of tests, or beginnings of several names; default: all.")
    ] = None,
    store: Annotated[
        str, typer.Option(help="Where tests run: sqlite:PATH or postgresql://...; default: in memory.")
    ] = "",
    junit: Annotated[Path | None, typer.Option(help="Write a JUnit report to this file.")] = None,
    record: Annotated[
        str, typer.Option(help="Print a test of what happened to this Run in `--store`, instead of testing.")
    ] = "",
    json: Annotated[bool, typer.Option("--json", help="The same as `--format json`.")] = False,
    format: FormatOption = Format.TEXT,
) -> None:
    """Execute the tests of a governance folder.

    Each test runs in process, between systems that are played. Exit code 1: a test failed.
    """
    require_folder(dir)
    if record:
        document = asyncio.run(_recorded(dir, record, store))
        if json or format is Format.JSON:
            write_json(document)
        else:
            from counterfoil.testing.yaml_text import yaml_text

            say(yaml_text(document).rstrip())
        _remark(dir, document)
        return
    results = _results(dir, names or [], store)
    failed = [result for result in results if not result.ok]
    if junit is not None:
        try:
            junit.write_text(_junit(results), encoding="utf-8")
        except OSError as error:
            raise CommandFailed(f"{junit} cannot be written: {error.strerror}") from error
    if json or format is Format.JSON:
        cases = [{"name": r.name, "ok": r.ok, "difference": r.difference or None} for r in results]
        write_json({"passed": len(results) - len(failed), "failed": len(failed), "cases": cases})
    else:
        _say_results(results)
    if failed:
        raise typer.Exit(1)


def _results(dir: Path, names: Sequence[str], store: str) -> list[CaseResult]:
    from counterfoil.model import kinds
    from counterfoil.testing.run import Suite

    gc.freeze()  # what is imported stays: reading need not search it for garbage
    written = _read(dir, None)
    documents = _chosen([d for d, _ in written.documents_of(kinds.Test)], names)
    results: list[CaseResult] = []
    environments = {d.value.environment: None for d in documents if isinstance(d.value, kinds.Test)}
    for environment in environments:
        model = written if environment is None else _read(dir, environment)
        suite = Suite(model, store)
        gc.freeze()  # the model stays too: searching it again and again costs a tenth of the time
        try:
            of_environment = [
                d for d in documents if isinstance(d.value, kinds.Test) and d.value.environment == environment
            ]
            results += suite.results(of_environment)
        except Misconfigured as error:
            raise CommandFailed(str(error)) from error
        finally:
            suite.close()
    order = {document.name: at for at, document in enumerate(documents)}
    return sorted(results, key=lambda result: order[result.name])


async def _recorded(dir: Path, run: str, url: str) -> dict[str, Any]:
    """Return a test of a Run. Raises CommandFailed if there is none, or if the store cannot be opened."""
    from counterfoil.bootstrap import open_store
    from counterfoil.testing.recording import recorded_test

    if not url:
        raise CommandFailed("--record needs the store of the Run: --store sqlite:PATH or postgresql://...")
    model = _read(dir, None)
    path = Path(url.removeprefix("sqlite:"))
    if "://" not in url and not path.is_file():
        raise CommandFailed(f"There is no store {path}. Name the one in which the Run is.")
    try:
        store = await open_store(url)
        try:
            return recorded_test(model, await store.dump(), run)
        finally:
            await store.close()
    except Misconfigured as error:
        raise CommandFailed(str(error)) from error


def _remark(dir: Path, data: dict[str, Any]) -> None:
    """Say on standard error if a recorded test does not pass: another Run may have had a part in what happened."""
    from counterfoil.model.document import build
    from counterfoil.model.source import Source
    from counterfoil.testing.run import Suite

    document, _ = build(Source("recorded", data))
    if document is None:
        return
    suite = Suite(_read(dir, None))
    try:
        difference = suite.result(document).difference
    finally:
        suite.close()
    if difference:
        complain(
            "This test does not pass yet. What another Run did, such as a used limit, is not recorded: add it to `given`.\n"
            + difference
        )


def _read(dir: Path, environment: str | None) -> Model:
    """Return the model of a folder. Raises CommandFailed if it does not pass `check`."""
    from counterfoil.model import read

    model, findings = read(dir, environment=environment)
    wrong = errors(findings)
    if wrong:
        for finding in wrong:
            complain(f"{finding}" + (f"\n    {finding.fix}" if finding.fix else ""))
        raise CommandFailed(f"{dir} does not pass `check`, so no test was executed.")
    return model


def _chosen(documents: Sequence[Document], names: Sequence[str]) -> list[Document]:
    """Return the named documents: the one that bears a name, or else all whose names begin with it.

    Raises CommandFailed for a name without any.
    """
    if not documents:
        raise CommandFailed("The folder contains no test: add a document of kind test.")
    if not names:
        return list(documents)
    chosen: set[str] = set()
    for name in names:
        named = {d.name for d in documents if d.name == name} or {
            d.name for d in documents if d.name.startswith(name)
        }
        if not named:
            fix = did_you_mean(name, [d.name for d in documents], "`counterfoil test DIR` lists the tests")
            raise CommandFailed(f"There is no test {name}; {fix}")
        chosen |= named
    return [d for d in documents if d.name in chosen]


def _say_results(results: Sequence[CaseResult]) -> None:
    for result in results:
        if result.ok:
            say(f"ok    {result.name}")
            continue
        say(f"FAIL  {result.name}  {result.file}:{result.line}")
        if result.doc:
            say(f"      {' '.join(result.doc.split())}")
        for line in result.difference.splitlines():
            say(f"      {line}")
    seconds = sum(result.seconds for result in results)
    failed = sum(not result.ok for result in results)
    rate = len(results) / max(seconds, 0.001)
    say(
        f"{len(results) - failed} passed, {failed} failed in {seconds:.2f} s of processor time, {rate:.0f} tests a second"
    )


def _junit(results: Sequence[CaseResult]) -> str:
    """Return the results as JUnit XML, with a suite for each file."""
    root = ElementTree.Element("testsuites", name="counterfoil test")
    _counted(root, results)
    for file in dict.fromkeys(result.file for result in results):
        of_file = [result for result in results if result.file == file]
        suite = _counted(ElementTree.SubElement(root, "testsuite", name=_xml(file)), of_file)
        for result in of_file:
            about: dict[str, Any] = {"classname": _xml(file), "file": _xml(file), "line": str(result.line)}
            case = ElementTree.SubElement(
                suite, "testcase", name=_xml(result.name), time=f"{result.seconds:.4f}", **about
            )
            if not result.ok:
                first, *_ = result.difference.splitlines()
                failure = ElementTree.SubElement(case, "failure", message=_xml(first))
                failure.text = _xml(result.difference)
    ElementTree.indent(root)
    return '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(root, encoding="unicode") + "\n"


def _counted(element: ElementTree.Element, results: Sequence[CaseResult]) -> ElementTree.Element:
    element.set("tests", str(len(results)))
    element.set("failures", str(sum(not result.ok for result in results)))
    element.set("time", f"{sum(result.seconds for result in results):.4f}")
    return element


def _xml(text: str) -> str:
    return _NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
