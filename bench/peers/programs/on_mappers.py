"""The invoice of the benchmark `mapping` in jmespath and in jsonata-python: a program for their own environment.

Each line of standard input is a JSON order with the invoice; each line of standard output is the rate. It imports nothing
of Counterfoil.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable
from typing import Any

import jmespath
import jsonata

FIELDS = {
    "invoice_id": "id",
    "number": "number",
    "customer_id": "customer",
    "subscription_id": "subscription",
    "status": "status",
    "reason": "billing_reason",
    "currency": "currency",
    "document_date": "finalized_at",
    "due_date": "due_date",
    "period_start": "period_start",
    "period_end": "period_end",
    "net": "subtotal",
    "tax": "tax",
    "total": "total",
    "open": "amount_remaining",
    "country": "address.country",
    "order_number": "metadata.order_number",
    "collection": "collection_method",
    "attempts": "attempt_count",
    "description": "description",
}
LINE = {"description": "description", "product": "price.product", "quantity": "quantity", "net": "amount"}


def by_jmespath() -> Callable[[Any], Any]:
    """Return the mapper. Numbers and times stay unchanged, because the language has neither decimals nor dates."""
    inner = ", ".join(f"{name}: {path}" for name, path in LINE.items())
    outer = ", ".join(f"{name}: {path}" for name, path in FIELDS.items())
    compiled = jmespath.compile(f"data.object.{{{outer}, lines: lines[].{{{inner}}}}}")
    return lambda body: compiled.search(body)


def by_jsonata() -> Callable[[Any], Any]:
    inner = ", ".join(f'"{name}": {path}' for name, path in LINE.items())
    outer = ", ".join(f'"{name}": {path}' for name, path in FIELDS.items())
    compiled = jsonata.Jsonata(f'data.object.{{{outer}, "lines": lines.{{{inner}}}}}')
    return lambda body: compiled.evaluate(body)


def expected(body: Any) -> dict[str, Any]:
    def at(value: Any, path: str) -> Any:
        for name in path.split("."):
            value = value[name]
        return value

    invoice = body["data"]["object"]
    lines = [{name: at(line, path) for name, path in LINE.items()} for line in invoice["lines"]]
    return {name: at(invoice, path) for name, path in FIELDS.items()} | {"lines": lines}


def per_second(work: Callable[[Any], Any], body: Any, seconds: float) -> float:
    batch, done, began = 1, 0, time.thread_time()
    while (passed := time.thread_time() - began) < seconds:
        for _ in range(batch):
            work(body)
        done += batch
        batch = min(batch * 2, 1_000)
    return done / passed


def main() -> None:
    mappers = {"jmespath": by_jmespath(), "jsonata": by_jsonata()}
    for line in sys.stdin:
        order = json.loads(line)
        work, body = mappers[order["with"]], order["body"]
        result = json.loads(json.dumps(work(body)))
        if result != expected(body):
            raise ValueError(f"{order['with']} gives a different result: {result}")
        print(json.dumps({"rate": per_second(work, body, order["seconds"])}), flush=True)


if __name__ == "__main__":
    main()
