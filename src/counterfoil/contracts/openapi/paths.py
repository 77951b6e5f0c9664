"""Paths and operations, and the calls that the service makes: webhooks and call backs, where directions turn round."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from counterfoil.contracts.openapi import bodies, parameters, security
from counterfoil.contracts.openapi.document import METHODS, escape
from counterfoil.contracts.openapi.lifecycle import STABILITY, unstable
from counterfoil.contracts.openapi.reads import Use
from counterfoil.contracts.openapi.rules import Side

if TYPE_CHECKING:
    from counterfoil.contracts.openapi.comparison import Comparison

_SLOT = re.compile(r"\{[^{}]*\}")


def paths(comparison: Comparison) -> None:
    """Tell what changes in the paths."""
    old, new = comparison.old.section("paths"), comparison.new.section("paths")
    pairs, gone, come = _match(old, new)
    for path in gone:
        _path_gone(comparison, path, comparison.old.follow(old[path]))
    for path in come:
        if comparison.declared is None:
            comparison.findings.add("path-added", path, f"path {path} is new")
    for before, after in pairs:
        one, other = comparison.old.follow(old[before]), comparison.new.follow(new[after])
        if one == other and not comparison.thorough and before == after:
            continue
        path_item(comparison, before, after, one, other)


def _match(old: dict[str, Any], new: dict[str, Any]) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Paths that are the same but for the names of their parameters; a path by its own name first."""
    known = [str(path) for path in old if str(path).startswith("/")]
    fresh = [str(path) for path in new if str(path).startswith("/")]
    pairs = [(path, path) for path in known if path in new]
    free: dict[str, list[str]] = {}
    for path in fresh:
        if path not in old:
            free.setdefault(_SLOT.sub("{}", path), []).append(path)
    gone = []
    for path in known:
        if path in new:
            continue
        same = free.get(_SLOT.sub("{}", path))
        if same:
            pairs.append((path, same.pop(0)))
        else:
            gone.append(path)
    return pairs, gone, [path for paths_ in free.values() for path in paths_]


def _operations(item: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {method: item[method] for method in METHODS if isinstance(item.get(method), dict)}


def _path_gone(comparison: Comparison, path: str, item: dict[str, Any]) -> None:
    operations = {
        method: operation
        for method, operation in _operations(item).items()
        if comparison.use(method, path) is not None
    }
    outcomes = {method: comparison.lifecycle.removed(operation) for method, operation in operations.items()}
    ends = {end for end, _ in outcomes.values()}
    if operations and ends <= {"removed", "removed-without-date"}:
        if all(unstable(operation) for operation in operations.values()):
            comparison.findings.excused = "no stability was promised"
        names = ", ".join(method.upper() for method in operations)
        end = "removed" if "removed" in ends else "removed-without-date"
        said = next(said for kind, said in outcomes.values() if kind == end)
        comparison.findings.add(f"path-{end}", path, f"path {path} ({names}) is gone, {said}")
        comparison.findings.excused = ""
        return
    for method, operation in operations.items():
        _gone(comparison, operation, f"{method.upper()} {path}")


def _gone(comparison: Comparison, operation: dict[str, Any], where: str) -> None:
    end, said = comparison.lifecycle.removed(operation)
    comparison.findings.excused = "no stability was promised" if unstable(operation) else ""
    comparison.findings.add(f"operation-{end}", where, f"the operation is gone, {said}")
    comparison.findings.excused = ""


def path_item(
    comparison: Comparison, before: str, after: str, old: Any, new: Any, *, flipped: bool = False
) -> None:
    """Tell what changes in the operations of one path."""
    old_item, new_item = comparison.old.follow(old), comparison.new.follow(new)
    known, fresh = _operations(old_item), _operations(new_item)
    for method, one in known.items():
        use = comparison.use(method, before)
        if use is None and not flipped:
            continue
        where = f"{method.upper()} {after}"
        if method not in fresh:
            _gone(comparison, one, where)
            continue
        other = fresh[method]
        shared = old_item.get("parameters") == new_item.get("parameters") and before == after
        if one == other and shared and not comparison.thorough:
            continue
        comparison.using(use or Use())
        comparison.findings.excused = "no stability was promised" if unstable(one) else ""
        operation(comparison, (before, old_item, one), (after, new_item, other), where, flipped=flipped)
        comparison.schemas.finish()
        comparison.findings.excused = ""
        comparison.using(Use())
    for method in fresh:
        if method not in known and comparison.declared is None:
            comparison.findings.add("operation-added", f"{method.upper()} {after}", "the operation is new")


def operation(
    comparison: Comparison,
    old: tuple[str, dict[str, Any], dict[str, Any]],
    new: tuple[str, dict[str, Any], dict[str, Any]],
    where: str,
    *,
    flipped: bool,
) -> None:
    """Tell what changes in one operation. Each side is its path, its path item and itself."""
    one, other = old[2], new[2]
    add = comparison.findings.add
    parameters.compare(
        comparison,
        parameters.collect(comparison, old[1], one, old[0], fresh=False),
        parameters.collect(comparison, new[1], other, new[0], fresh=True),
        where,
        flipped=flipped,
    )
    sides: tuple[Side, Side] = ("response", "request") if flipped else ("request", "response")
    bodies.request(comparison, one.get("requestBody"), other.get("requestBody"), where, sides[0])
    bodies.responses(comparison, one.get("responses"), other.get("responses"), where, sides[1])
    if one.get("operationId") != other.get("operationId") and "operationId" in one:
        add(
            "operation-id-changed",
            where,
            f"{one['operationId']} became {other.get('operationId', 'nameless')}",
        )
    comparison.lifecycle.compare(
        one, other, lambda kind, message: add(f"operation-{kind}", where, f"the operation {message}")
    )
    _stability(comparison, one, other, where)
    if not flipped and ("security" in one or "security" in other):
        security.requirements(
            comparison.findings,
            one.get("security", comparison.old.root.get("security")),
            other.get("security", comparison.new.root.get("security")),
            f"{where} /security",
        )
    _callbacks(comparison, one.get("callbacks"), other.get("callbacks"), where, flipped=flipped)


def _stability(comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str) -> None:
    before, after = old.get("x-stability-level"), new.get("x-stability-level")
    if before == after:
        return
    unknown = [level for level in (before, after) if level is not None and level not in STABILITY]
    if unknown:
        comparison.findings.add(
            "operation-stability-unknown", where, f"nobody knows the level {unknown[0]!r}"
        )
        return
    # Where no level was given, none is taken back; what loses its level is promised as all the rest.
    if before is None:
        return
    was, now = (STABILITY.index(level or "stable") for level in (before, after))
    if was == now:
        return
    word = "decreased" if now < was else "increased"
    comparison.findings.add(
        f"operation-stability-{word}", where, f"stability: {before or 'stable'} became {after or 'stable'}"
    )


def _callbacks(comparison: Comparison, old: Any, new: Any, where: str, *, flipped: bool) -> None:
    before, after = comparison.mapping(old, where), comparison.mapping(new, where)
    for name in sorted({*map(str, before), *map(str, after)}):
        there = f"{where} /callbacks/{escape(name)}"
        if name not in after:
            comparison.findings.add("callback-removed", there, f"call back {name} is made no more")
            continue
        if name not in before:
            comparison.findings.add("callback-added", there, f"call back {name} is new")
            continue
        if not comparison.told(before[name], after[name]):
            one, other = comparison.old.follow(before[name]), comparison.new.follow(after[name])
            callback(comparison, one, other, there, flipped=not flipped)


def callback(
    comparison: Comparison, old: dict[str, Any], new: dict[str, Any], where: str, *, flipped: bool
) -> None:
    """Tell what changes in one call back: a path item for each expression that gives the address."""
    for expression in sorted({*map(str, old), *map(str, new)}):
        if expression.startswith("x-"):
            continue
        if expression not in new:
            comparison.findings.add(
                "callback-removed", where, f"{expression} is called no more", detail=expression
            )
        elif expression in old and old[expression] != new[expression]:
            path_item(
                comparison,
                expression,
                f"{expression} of {where}",
                old[expression],
                new[expression],
                flipped=flipped,
            )


def webhooks(comparison: Comparison) -> None:
    """Tell what changes in the calls that the service makes."""
    old, new = comparison.old.section("webhooks"), comparison.new.section("webhooks")
    for name in sorted({*map(str, old), *map(str, new)}):
        where = f"/webhooks/{escape(name)}"
        if name not in new:
            comparison.findings.add("webhook-removed", where, f"webhook {name} is sent no more")
        elif name not in old:
            comparison.findings.add("webhook-added", where, f"webhook {name} is new")
        elif comparison.old.follow(old[name]) != comparison.new.follow(new[name]) or comparison.thorough:
            path_item(comparison, name, f"webhook {name}", old[name], new[name], flipped=True)
