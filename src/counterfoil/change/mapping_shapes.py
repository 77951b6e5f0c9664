"""Check of the mappings to a system's operations against the shapes that its connector knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from counterfoil.connectors.sdk import OperationSpec, RecordShape
from counterfoil.contracts.versions import known_as
from counterfoil.core.finding import closest, did_you_mean
from counterfoil.model import Model, kinds
from counterfoil.model.source import Path
from counterfoil.model.template import is_formula, is_repeated
from counterfoil.model.typing import paths_of


class Misfit(NamedTuple):
    """Field of a mapping that the system's side does not have, or that is missing."""

    mapping: str
    message: str
    path: Path
    fix: str


def misfits(model: Model, system: str, operations: Mapping[str, OperationSpec]) -> Iterator[Misfit]:
    """Yield what does not fit in the mappings to a system's operations: of the input, and of the result."""
    for name, mapping in sorted(model.of_kind(kinds.Mapping).items()):
        operation = model.operations.get(mapping.to.operation) if mapping.to is not None else None
        if operation is None or operation.system != model.family(system) or operation.executor == "external":
            continue
        spec = operations.get(known_as(operation.name, operations))
        if spec is not None and spec.request is not None:
            yield from _input(name, mapping.with_ or {}, spec.request, ("with",), _api_name(spec))
        if spec is not None and spec.result is not None:
            texts = [("result", mapping.returns.result), ("links", mapping.returns.links)]
            for key, part in texts:
                yield from _output(name, part, spec.result, ("returns", key), _api_name(spec))


def _api_name(spec: OperationSpec) -> str:
    return spec.doc or f"`{spec.name}`"


def _input(name: str, value: Mapping[str, Any], shape: RecordShape, path: Path, api: str) -> Iterator[Misfit]:
    unknown = [key for key in value if shape.closed and key not in shape.fields]
    absent = sorted(shape.required - value.keys())
    meant = {closest(key, absent) for key in unknown}  # a misspelt field is reported once, as unknown
    for key in unknown:
        fix = did_you_mean(key, absent) or did_you_mean(
            key, shape.fields, f"its fields: {', '.join(shape.fields)}"
        )
        yield Misfit(name, f"{api} has no field `{key}`", (*path, key), fix)
    others = [key for key in value if key not in shape.fields]
    for key in absent:
        if key not in meant:
            near = closest(key, others)
            fix = f"rename `{near}` to `{key}`" if near else f"add `{key}:`"
            yield Misfit(name, f"{api} requires the field `{key}`", path, fix)
    for key, part in value.items():
        inner = shape.fields.get(key)
        if inner is not None and isinstance(part, dict) and not is_repeated(part):
            yield from _input(name, part, inner, (*path, key), f"`{key}` of {api}")


def _output(name: str, value: Any, shape: RecordShape, path: Path, api: str) -> Iterator[Misfit]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _output(name, part, shape, (*path, key), api)
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _output(name, part, shape, (*path, position), api)
    elif is_formula(value) or (path[1] == "links" and isinstance(value, str)):
        for read in sorted(paths_of(value) or ()):
            root, *steps = read.split(".")
            if root == "result":
                yield from _read(name, steps, shape, path, api)


def _read(name: str, steps: list[str], shape: RecordShape, path: Path, api: str) -> Iterator[Misfit]:
    inside: RecordShape | None = shape
    for step in steps:
        if inside is None or (step not in inside.fields and not inside.closed):
            return
        if step not in inside.fields:
            fix = did_you_mean(step, inside.fields, f"its fields: {', '.join(inside.fields)}")
            yield Misfit(name, f"the result of {api} has no field `{step}`", path, fix)
            return
        inside = inside.fields[step]
