"""Lists, search and expansion: behaviour that is the same for every object."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from counterfoil.twins.stripe.account import StripeAccount
from counterfoil.twins.stripe.errors import Obj, StripeError, invalid, refusal
from counterfoil.twins.stripe.forms import Shape

CURSORS: Shape = {"limit": "rows", "starting_after": "str", "ending_before": "str"}
PAGING: Shape = {**CURSORS, "created": "range"}
SEARCHING: Shape = {"query!": "str", "limit": "rows", "page": "str"}
DEFAULT_PAGE_ROWS = 10
_COMPARE = {"gt": ">", "gte": ">=", "lt": "<", "lte": "<="}


def page(
    account: StripeAccount, type: str, params: Obj, url: str, conditions: Sequence[str] = (), arguments: Sequence[Any] = (),
    oldest_first: bool = False,
) -> Obj:  # fmt: skip
    """Return one page, newest first unless lines are listed, after or before the object of a cursor."""
    limit = params.get("limit") or DEFAULT_PAGE_ROWS
    span = params.get("created") or {}
    where = [*conditions, *(f"created {_COMPARE[word]} ?" for word in span)]
    bound = [*arguments, *span.values()]
    after, before = params.get("starting_after"), params.get("ending_before")
    if after and before:
        raise refusal("You may not specify both starting_after and ending_before.", "starting_after")
    forward = oldest_first
    if cursor := after or before:
        position = account.store.place(cursor) if account.find(type, cursor) else None
        if position is None:
            name = "starting_after" if after else "ending_before"
            raise StripeError(400, f"No such {type}: '{cursor}'", code="resource_missing", param=name)
        forward = oldest_first if after else not oldest_first
        where.append("seq > ?" if forward else "seq < ?")
        bound.append(position[0])
    order = "seq" if forward else "seq desc"
    matches = account.where(type, " and ".join(where) or "1", bound, order, limit + 1)
    rows = matches[:limit]
    if before:
        rows.reverse()
    return {
        "object": "list", "data": [account.view(row) for row in rows], "has_more": len(matches) > limit, "url": url,
    }  # fmt: skip


def range_conditions(params: Obj, *names: str) -> tuple[list[str], list[Any]]:
    """Return conditions for the ranges of time in the parameters."""
    bounds = [(name, word, at) for name in names for word, at in (params.get(name) or {}).items()]
    return [f"json_extract(body, '$.{name}') {_COMPARE[word]} ?" for name, word, _ in bounds], [
        at for *_, at in bounds
    ]


def inline(account: StripeAccount, type: str, parent: str, url: str) -> Obj:
    """Return the first lines of a document, as embedded in it."""
    return page(account, type, {}, url, ["parent = ?"], [parent], oldest_first=True)


_CLAUSE = re.compile(
    r"""\s*(-?)([a-z_]+)(?:\[\s*(["'])(.+?)\3\s*\])?\s*(:|~|>=|<=|>|<)\s*(?:(["'])((?:\\.|(?!\6).)*)\6|([\w.]+))\s*"""
)
_JOIN = re.compile(r"(and|or)\b", re.I)


def search(account: StripeAccount, type: str, params: Obj, url: str) -> Obj:
    """Run a query in the vendor's search language: clauses joined by AND or by OR, never both."""
    text: str = params["query"]
    conditions, arguments, joins, position = [], [], set(), 0
    while True:
        clause = _CLAUSE.match(text, position)
        if clause is None:
            raise refusal(f"We were unable to parse your search query at character {position}.", "query")
        negated, name, _, key, operator, _, quoted, bare = clause.groups()
        value: Any = quoted if quoted is not None else bare
        path = "$.metadata." + _quote(key) if key else "$." + name
        if bare is not None and bare.isdigit():
            value = int(bare)
        column = "json_extract(body, ?)"
        if bare == "null":
            sql, values = f"{column} is null", [path]
        elif operator == "~":
            sql, values = f"lower({column}) like ? escape '!'", [path, f"%{_like(value)}%"]
        else:
            sql, values = f"{column} {'=' if operator == ':' else operator} ?", [path, value]
        conditions.append(f"not coalesce({sql}, 0)" if negated else sql)
        arguments += values
        position = clause.end()
        join = _JOIN.match(text, position)
        if join is None:
            break
        joins.add(join.group(1).lower())
        position = join.end()
    if position != len(text) or len(joins) > 1:
        raise refusal("We were unable to parse your search query.", "query")
    limit, offset = params.get("limit") or DEFAULT_PAGE_ROWS, int(params.get("page") or 0)
    rows = account.where(
        type,
        "coalesce(json_extract(body, '$._deleted'), 0) = 0 "
        f"and ({(f' {joins.pop()} ' if joins else '').join(conditions)})",
        arguments, "seq desc", limit + 1, offset,
    )  # fmt: skip
    more = len(rows) > limit
    return {
        "object": "search_result", "data": [account.view(row) for row in rows[:limit]],
        "has_more": more, "next_page": str(offset + limit) if more else None, "url": url,
    }  # fmt: skip


def _quote(key: str) -> str:
    return '"' + key.replace('"', "") + '"'


def _like(text: str) -> str:
    return re.sub(r"([!%_])", r"!\1", text.lower())


def expand(account: StripeAccount, body: Obj, paths: Sequence[str]) -> Obj:
    """Replace ids by their objects, along `a.b.c` paths of at most four steps."""
    for path in paths:
        steps = path.split(".")
        if len(steps) > 4:
            message = f"You cannot expand more than 4 levels of a property. Property: {path}"
            raise invalid(message, "expand", "property_expansion_max_depth")
        _expand(account, body, steps, path)
    return body


def _expand(account: StripeAccount, node: Any, steps: Sequence[str], path: str) -> None:
    if isinstance(node, list):
        for item in node:
            _expand(account, item, steps, path)
        return
    if not isinstance(node, dict) or not steps:
        return
    name, rest = steps[0], steps[1:]
    lazy = _LAZY.get((node.get("object", ""), name))
    if (node.get("object"), name) == ("customer", "invoice_credit_balance"):
        node[name] = {node["currency"]: -node["balance"]} if node["currency"] else {}
    elif name not in node and lazy is not None:
        kind, url, condition, oldest_first = lazy
        url = url.format(id=node["id"])
        node[name] = page(account, kind, {}, url, [condition], [node["id"]], oldest_first)
    if name not in node:
        if (node.get("object"), name) in _OPTIONAL:
            return
        raise invalid(f"This property cannot be expanded ({path}).", "expand")
    value = node[name]
    if isinstance(value, str):
        target = account.any(value)
        if target is None:
            raise invalid(f"This property cannot be expanded ({path}).", "expand")
        node[name] = account.view(target)
    elif isinstance(value, list) and all(isinstance(item, str) for item in value):
        node[name] = [account.view(target) for item in value if (target := account.any(item)) is not None]
    _expand(account, node[name], rest, path)


_LAZY = {
    ("customer", "subscriptions"): (
        "subscription", "/v1/customers/{id}/subscriptions",
        "customer = ? and json_extract(body, '$.status') <> 'canceled'", False,
    ),
    ("customer", "tax_ids"): ("tax_id", "/v1/customers/{id}/tax_ids", "parent = ?", False),
    ("quote", "line_items"): ("item", "/v1/quotes/{id}/line_items", "parent = ?", True),
}  # fmt: skip
_OPTIONAL = {("refund", "failure_balance_transaction")}
"""Fields that an object has only in some states."""
