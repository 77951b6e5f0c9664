"""Paths and operations, and the requests that the service sends: webhooks and callbacks.

In a webhook or callback the directions are swapped (`flipped`): the service sends the request.
"""

from __future__ import annotations

import re
from typing import Any

from counterfoil.contracts.json_parts import Node, escape
from counterfoil.contracts.openapi import bodies, parameters, security
from counterfoil.contracts.openapi.context import ComparisonContext
from counterfoil.contracts.openapi.document import METHODS
from counterfoil.contracts.openapi.lifecycle import STABILITY, is_unstable
from counterfoil.contracts.openapi.reads import DeclaredUse
from counterfoil.contracts.openapi.rules import Side

_SLOT = re.compile(r"\{[^{}]*\}")


def paths(context: ComparisonContext) -> None:
    """Report changes of the paths."""
    old, new = context.old.section("paths"), context.new.section("paths")
    pairs, removed, added = _match(old, new)
    for path in removed:
        _report_removed_path(context, path, context.old.follow(old[path]))
    for path in added:
        if context.declared is None:
            context.add("path-added", path, f"path {path} was added")
    for before, after in pairs:
        old_item, new_item = context.old.follow(old[before]), context.new.follow(new[after])
        path_item(context, before, after, old_item, new_item)


def _match(old: Node, new: Node) -> tuple[list[tuple[str, str]], list[str], list[str]]:
    """Match paths by text, then by text without parameter names. Return pairs, removed and added paths."""
    old_paths = [str(path) for path in old if str(path).startswith("/")]
    new_paths = [str(path) for path in new if str(path).startswith("/")]
    pairs = [(path, path) for path in old_paths if path in new]
    free: dict[str, list[str]] = {}
    for path in new_paths:
        if path not in old:
            free.setdefault(_SLOT.sub("{}", path), []).append(path)
    removed = []
    for path in old_paths:
        if path in new:
            continue
        same = free.get(_SLOT.sub("{}", path))
        if same:
            pairs.append((path, same.pop(0)))
        else:
            removed.append(path)
    return pairs, removed, [path for unmatched in free.values() for path in unmatched]


def _operations(item: Node) -> dict[str, Node]:
    return {method: item[method] for method in METHODS if isinstance(item.get(method), dict)}


def _report_removed_path(context: ComparisonContext, path: str, item: Node) -> None:
    operations = {key: node for key, node in _operations(item).items() if context.use(key, path) is not None}
    outcomes = [context.lifecycle.judge_removal(operation) for operation in operations.values()]
    ends = {end for end, _ in outcomes}
    if operations and ends <= {"removed", "removed-without-date"}:
        if all(is_unstable(operation) for operation in operations.values()):
            context.findings.excused = "no stability was promised"
        names = ", ".join(method.upper() for method in operations)
        end = "removed" if "removed" in ends else "removed-without-date"
        notice = next(notice for kind, notice in outcomes if kind == end)
        context.add(f"path-{end}", path, f"path {path} ({names}) was removed, {notice}")
        context.findings.excused = ""
        return
    for method, operation in operations.items():
        _report_removed_operation(context, operation, f"{method.upper()} {path}")


def _report_removed_operation(context: ComparisonContext, operation: Node, where: str) -> None:
    end, notice = context.lifecycle.judge_removal(operation)
    context.findings.excused = "no stability was promised" if is_unstable(operation) else ""
    context.add(f"operation-{end}", where, f"the operation was removed, {notice}")
    context.findings.excused = ""


def path_item(
    context: ComparisonContext, before: str, after: str, old: Any, new: Any, *, flipped: bool = False
) -> None:
    """Report changes of the operations of one path."""
    old_item, new_item = context.old.follow(old), context.new.follow(new)
    old_operations, new_operations = _operations(old_item), _operations(new_item)
    for method, before_operation in old_operations.items():
        use = context.use(method, before)
        if use is None and not flipped:
            continue
        where = f"{method.upper()} {after}"
        if method not in new_operations:
            _report_removed_operation(context, before_operation, where)
            continue
        after_operation = new_operations[method]
        shared = old_item.get("parameters") == new_item.get("parameters") and before == after
        context.findings.excused = "no stability was promised" if is_unstable(before_operation) else ""
        if before_operation == after_operation and shared and not context.thorough:
            if not flipped and not context.same_components:
                old_parameters = parameters.collect(context, old_item, before_operation, before, fresh=False)
                new_parameters = parameters.collect(context, new_item, after_operation, after, fresh=True)
                parameters.defaults(context, old_parameters, new_parameters, where)
            context.findings.excused = ""
            continue
        context.select_fields(use or DeclaredUse())
        sides = (before, old_item, before_operation), (after, new_item, after_operation)
        operation(context, *sides, where, flipped=flipped)
        context.schemas.finish()
        context.findings.excused = ""
        context.select_fields(DeclaredUse())
    for method in new_operations:
        if method not in old_operations and context.declared is None:
            context.add("operation-added", f"{method.upper()} {after}", "the operation was added")


def operation(
    context: ComparisonContext,
    old: tuple[str, Node, Node],
    new: tuple[str, Node, Node],
    where: str,
    *,
    flipped: bool,
) -> None:
    """Report changes of one operation. Each side is (path, path item, operation)."""
    before, after = old[2], new[2]
    add = context.add
    old_parameters = parameters.collect(context, old[1], before, old[0], fresh=False)
    new_parameters = parameters.collect(context, new[1], after, new[0], fresh=True)
    parameters.compare(context, old_parameters, new_parameters, where, flipped=flipped)
    sides: tuple[Side, Side] = ("response", "request") if flipped else ("request", "response")
    bodies.request(context, before.get("requestBody"), after.get("requestBody"), where, sides[0])
    bodies.responses(context, before.get("responses"), after.get("responses"), where, sides[1])
    if before.get("operationId") != after.get("operationId") and "operationId" in before:
        message = f"the operationId {before['operationId']} became {after.get('operationId', 'undefined')}"
        add("operation-id-changed", where, message)
    context.lifecycle.compare(
        before, after, lambda kind, text: add(f"operation-{kind}", where, f"the operation {text}")
    )
    _stability(context, before, after, where)
    if not flipped and ("security" in before or "security" in after):
        old_security = before.get("security", context.old.root.get("security"))
        new_security = after.get("security", context.new.root.get("security"))
        documents = context.old, context.new
        security.requirements(context.findings, documents, old_security, new_security, f"{where} /security")
    _callbacks(context, before.get("callbacks"), after.get("callbacks"), where, flipped=flipped)


def _stability(context: ComparisonContext, old: Node, new: Node, where: str) -> None:
    before, after = old.get("x-stability-level"), new.get("x-stability-level")
    if before == after:
        return
    unknown = [level for level in (before, after) if level is not None and level not in STABILITY]
    if unknown:
        context.add("operation-stability-unknown", where, f"the stability level {unknown[0]!r} is unknown")
        return
    # Without a level before, no promise is withdrawn. Without one now, the operation counts as stable.
    if before is None:
        return
    was, now = (STABILITY.index(level or "stable") for level in (before, after))
    if was != now:
        rule = f"operation-stability-{'decreased' if now < was else 'increased'}"
        context.add(rule, where, f"stability: {before or 'stable'} became {after or 'stable'}")


def _callbacks(context: ComparisonContext, old: Any, new: Any, where: str, *, flipped: bool) -> None:
    before, after = context.mapping(old, where), context.mapping(new, where)
    for name in sorted({*map(str, before), *map(str, after)}):
        there = f"{where} /callbacks/{escape(name)}"
        if name not in after:
            context.add("callback-removed", there, f"callback {name} was removed")
        elif name not in before:
            context.add("callback-added", there, f"callback {name} was added")
        elif not context.same_component(before[name], after[name]):
            old_node, new_node = context.old.follow(before[name]), context.new.follow(after[name])
            callback(context, old_node, new_node, there, flipped=not flipped)


def callback(context: ComparisonContext, old: Node, new: Node, where: str, *, flipped: bool) -> None:
    """Report changes of one callback: a path item for each expression of its URL."""
    for expression in sorted({*map(str, old), *map(str, new)}):
        if expression.startswith("x-"):
            continue
        if expression not in new:
            context.add("callback-removed", where, f"{expression} is not called any more", detail=expression)
        elif expression in old and old[expression] != new[expression]:
            nodes = old[expression], new[expression]
            path_item(context, expression, f"{expression} of {where}", *nodes, flipped=flipped)


def webhooks(context: ComparisonContext) -> None:
    """Report changes of the webhooks."""
    old, new = context.old.section("webhooks"), context.new.section("webhooks")
    for name in sorted({*map(str, old), *map(str, new)}):
        where = f"/webhooks/{escape(name)}"
        if name not in new:
            context.add("webhook-removed", where, f"webhook {name} was removed")
        elif name not in old:
            context.add("webhook-added", where, f"webhook {name} was added")
        elif context.old.follow(old[name]) != context.new.follow(new[name]) or context.thorough:
            path_item(context, name, f"webhook {name}", old[name], new[name], flipped=True)
