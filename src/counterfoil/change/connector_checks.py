"""Checks of a Model against the installed connectors, without network and without secrets.

Each connector is built as at the start of a server. Its faults become findings at their places in the folder.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Literal, NamedTuple

from counterfoil.change.connector_config import INVENTED, configuration, missing_files
from counterfoil.change.mapping_shapes import misfits
from counterfoil.connectors import host, references
from counterfoil.connectors.sdk import (
    DEFAULT_TIMEOUT_SECONDS,
    Connector,
    ListingConnector,
    OperationSpec,
    Repeat,
    SettingProblem,
    SystemConfig,
    WrongConfiguration,
)
from counterfoil.contracts.versions import known_as
from counterfoil.core.errors import Misconfigured
from counterfoil.core.finding import Finding, Severity, did_you_mean
from counterfoil.model import Model, kinds
from counterfoil.model.connector_changes import connected, identity
from counterfoil.model.document import Document
from counterfoil.model.file_paths import REFERENCE

RULES = {
    "connector": "The connector of a system is installed, and it can be loaded.",
    "connector-settings": "A connector can be built from its system: it has every setting and secret that it needs and no others, "
    "and an OpenAPI description has every operation, parameter and field that the settings name.",
    "connector-reference": "A file that a `file:` reference of a system names exists. A warning: secrets may be absent where "
    "a folder is only checked.",
    "connector-feed": "A system polls only feeds that its connector has.",
    "connector-sweep": "A system sweeps only books that its connector lists.",
    "connector-operation": "The connector of a system has every operation that governance lets it execute.",
    "connector-mapping": "A mapping to an operation fits the API's description: it has every required field and no unknown one, "
    "and it reads only fields that the result has.",
    "connector-repeat": "An operation and its connector agree on `repeat`. The `retention` is not longer than the connector "
    "states. Another `horizon` is a warning: with a shorter one a call may count as absent that is still done, with a longer one "
    "an unknown outcome is open for that long.",
}
"""Explanation of each rule by its name in findings."""


class _Place(NamedTuple):
    """A finding before its document gives it a file and a line."""

    document: tuple[str, str]
    rule: str
    message: str
    path: tuple[str | int, ...]
    fix: str = ""
    severity: Severity = "error"


class ConnectorChecks:
    """Checks the Models of a folder's places; a system that is equal in several is built once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._places: dict[str, list[_Place]] = {}
        self._operations: dict[str, Mapping[str, OperationSpec]] = {}

    def __call__(self, model: Model) -> Iterator[Finding]:
        documents = {(document.kind, document.name): document for document in model.documents}
        for name in sorted(connected(model.systems)):
            key = repr(identity(model, name))
            if key not in self._places:
                self._places[key], self._operations[key] = _built(model, model.systems[name], self._folder)
            misfit_places = _mappings(model, name, self._operations[key])
            for place in (*self._places[key], *misfit_places):
                yield _finding(documents[place.document], place)


def _built(
    model: Model, system: kinds.System, folder: Path
) -> tuple[list[_Place], Mapping[str, OperationSpec]]:
    """Return the findings about a system, and the operations of its connector, if it could be built."""
    operations: dict[str, OperationSpec] = {}
    return list(_check(model, system, folder, operations)), operations


def _mappings(model: Model, system: str, operations: Mapping[str, OperationSpec]) -> Iterator[_Place]:
    for misfit in misfits(model, system, operations):
        document = ("mapping", misfit.mapping)
        yield _Place(document, "connector-mapping", misfit.message, misfit.path, misfit.fix)


def _finding(document: Document, place: _Place) -> Finding:
    path = _existing(document.data, place.path)
    return document.finding(
        place.rule, place.message, path, at_key=True, severity=place.severity, fix=place.fix
    )


def _existing(data: Any, path: tuple[str | int, ...]) -> tuple[str | int, ...]:
    """Return the part of a path that a document has: a missing key is reported at the key around it."""
    for end, step in enumerate(path):
        inside = isinstance(data, dict) and step in data
        if not inside and not (isinstance(data, list) and isinstance(step, int) and step < len(data)):
            return path[:end]
        data = data[step]
    return path


def _check(
    model: Model, system: kinds.System, folder: Path, built: dict[str, OperationSpec]
) -> Iterator[_Place]:
    """Yield the findings about a system, and add the operations of its connector to `built`."""
    document = ("system", system.name)
    try:
        connect = host.load(system.connector)
    except Misconfigured as error:
        message, _, fix = str(error).partition("; ")
        yield _Place(document, "connector", message, ("connector",), fix)
        return
    for path_of_file, reference in missing_files(system, folder):
        message = (
            f"the file {reference.removeprefix(REFERENCE)} does not exist, so `up` cannot connect the system"
        )
        yield _Place(
            document, "connector-reference", message, path_of_file, references.fix(reference), "warning"
        )
    config, missing = configuration(model, system, folder, secrets=False)
    try:
        connector = connect(config)
    except WrongConfiguration as error:
        for problem in error.problems:
            path = problem.path
            is_broken = path[:2] == ("settings", "operations") and _is_broken(model, path[2:3])
            if not is_broken and not {path[:1], path[:2]} & set(missing):
                yield _Place(document, "connector-settings", _sentence(problem), path, problem.fix)
        repaired = _repaired(config, error.problems)
        if repaired is not None:
            with contextlib.suppress(Misconfigured):
                yield from _contents(model, system, connect(repaired))
    except Misconfigured as error:
        for line in str(error).splitlines():
            yield _Place(document, "connector-settings", line, ("connector",))
    except Exception as error:  # a fault of a foreign package must not end the check
        message = f"the connector `{system.connector}` failed with {type(error).__name__} when it was built"
        yield _Place(document, "connector", message, ("connector",), "report this to the connector's author")
    else:
        built.update(connector.operations)
        yield from _contents(model, system, connector)


def _is_broken(model: Model, names: Sequence[str | int]) -> bool:
    """Return True if the document of an operation was refused for its form."""
    return any(name not in model.operations and model.has("operation", str(name)) for name in names)


def _contents(model: Model, system: kinds.System, connector: Connector) -> Iterator[_Place]:
    yield from _named(system, "feed", system.feeds, connector.feeds)
    listings = connector.listings if isinstance(connector, ListingConnector) else {}
    yield from _named(system, "sweep", system.sweeps, listings)
    yield from _operations(model, system, connector)


def _repaired(config: SystemConfig, problems: Sequence[SettingProblem]) -> SystemConfig | None:
    """Return a configuration without these faults, to report more of them at once; None if they are too deep."""
    settings, secrets, url = dict(config.settings), dict(config.secrets), config.url
    for problem in problems:
        match problem.path:
            case ("secrets", str(name)):
                secrets[name] = INVENTED
            case ("settings", str(name)) if problem.message.startswith("unknown"):
                settings.pop(name, None)
            case ("settings", str(name)):
                settings[name] = INVENTED
            case ("url",):
                url = f"https://{INVENTED}.invalid"
            case _:
                return None
    return replace(config, settings=settings, secrets=secrets, url=url)


def _sentence(problem: SettingProblem) -> str:
    """Return a problem's message with its place below a nested setting."""
    inner = problem.path[2:]
    return f"`{'.'.join(map(str, problem.path[1:]))}`: {problem.message}" if inner else problem.message


def _named(
    system: kinds.System, what: Literal["feed", "sweep"], declared: Iterable[str], offered: Iterable[str]
) -> Iterator[_Place]:
    """Yield the declared feeds or sweeps that the connector does not have."""
    names, word = list(offered), {"feed": "feed", "sweep": "book"}[what]
    for name in declared:
        if name not in names:
            message = f"the connector `{system.connector}` has no {word} `{name}`"
            otherwise = (
                f"its {word}s: {', '.join(names)}" if names else f"remove it: this connector has no {word}s"
            )
            fix = did_you_mean(name, names, otherwise)
            yield _Place(("system", system.name), f"connector-{what}", message, (f"{what}s", name), fix)


def _operations(model: Model, system: kinds.System, connector: Connector) -> Iterator[_Place]:
    for name, operation in sorted(model.operations.items()):
        starts = isinstance(operation.exposes, dict)
        if operation.system != model.family(system.name) or operation.executor == "external":
            continue
        if model.is_previewed(name):
            continue
        spec = connector.operations.get(known_as(name, connector.operations))
        if spec is not None:
            yield from _protection(system, operation, spec)
            continue
        if starts:  # its workflow is executed instead, and need not call it
            continue
        message = f"the connector `{system.connector}` has no operation `{name}`"
        names = ", ".join(connector.operations)
        fix = did_you_mean(name, connector.operations, f"its operations: {names}" if names else "it has none")
        yield _Place(("operation", name), "connector-operation", message, ("name",), fix)


def _protection(system: kinds.System, operation: kinds.Operation, spec: OperationSpec) -> Iterator[_Place]:
    document, theirs = ("operation", operation.name), f"the connector `{system.connector}`"
    if operation.repeat != spec.repeat:
        message = f"`repeat: {operation.repeat}` contradicts {theirs}, which has `repeat: {spec.repeat}`"
        yield _Place(document, "connector-repeat", message, ("repeat",), f"write `repeat: {spec.repeat}`")
        return
    timeout = kinds.seconds(operation.timeout)
    if spec.timeout not in (timeout, DEFAULT_TIMEOUT_SECONDS):
        message = f"the timeout of {timeout:g}s counts, not that of {theirs}, {spec.timeout:g}s"
        fix = f"write `timeout: {spec.timeout:g}s`, or remove the other one"
        yield _Place(document, "connector-repeat", message, ("timeout",), fix, "warning")
    if spec.repeat is Repeat.READ:
        return
    horizon = kinds.seconds(operation.horizon)
    if horizon != spec.horizon and spec.repeat is not Repeat.BLIND:
        than = "shorter" if horizon < spec.horizon else "longer"
        message = f"the horizon of {horizon:g}s is {than} than that of {theirs}, {spec.horizon:g}s"
        fix = f"write `horizon: {spec.horizon:g}s`"
        yield _Place(document, "connector-repeat", message, ("horizon",), fix, "warning")
    retention = kinds.seconds(operation.retention) if operation.retention else 0.0
    if spec.repeat is Repeat.KEY and retention != spec.retention:
        is_longer = retention > spec.retention
        than = "longer" if is_longer else "shorter"
        message = f"the retention of {retention:g}s is {than} than that of {theirs}, {spec.retention:g}s"
        fix = f"write `retention: {spec.retention:g}s`"
        severity: Severity = "error" if is_longer else "warning"
        yield _Place(document, "connector-repeat", message, ("retention",), fix, severity)
