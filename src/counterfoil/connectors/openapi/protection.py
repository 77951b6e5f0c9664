"""Protection of each operation against being sent twice: declared once, in governance or in the settings."""

from __future__ import annotations

from collections.abc import Mapping

from counterfoil.connectors.openapi.settings import HttpSettings, OperationSettings
from counterfoil.connectors.sdk import OperationSpec, Repeat, SettingProblem
from counterfoil.core.finding import did_you_mean


def specs_of(
    settings: HttpSettings, declared: Mapping[str, OperationSpec]
) -> tuple[dict[str, OperationSpec], list[SettingProblem]]:
    """Return the specification of every operation, and the problems of those that nothing declares.

    What the settings leave out is as governance declares it. `check` compares what both state.
    """
    specs: dict[str, OperationSpec] = {}
    problems: list[SettingProblem] = []
    for name, operation in settings.operations.items():
        spec = declared.get(name)
        repeat = operation.repeat or (spec.repeat if spec is not None else None)
        if repeat is None:
            message = (
                f"no document of kind operation declares `{name}`, and the settings have no `repeat` for it"
            )
            fix = did_you_mean(name, declared, "declare the operation, or add `repeat:`")
            problems.append(SettingProblem(("settings", "operations", name), message, fix))
        else:
            specs[name] = _spec(name, operation, repeat, spec)
    return specs, problems


def _spec(
    name: str, operation: OperationSettings, repeat: Repeat, declared: OperationSpec | None
) -> OperationSpec:
    base = declared or OperationSpec(name, repeat)
    is_read = repeat is Repeat.READ
    return OperationSpec(
        name,
        repeat,
        0.0 if is_read else base.horizon if operation.horizon is None else operation.horizon,
        0.0 if is_read else base.retention if operation.retention is None else operation.retention,
        base.timeout if operation.timeout is None else operation.timeout,
        f"{operation.operation_id} of the API",
    )
