"""A small company for workflows under test: every way in which a write may be repeated, and their undos."""

from __future__ import annotations

from datetime import date
from typing import Any

from counterfoil.core.money import Money
from tests.unit.rules.driver import Play, model_of

BASE = """\
{kind: role, name: finance}
---
{kind: role, name: lead}
---
{kind: role, name: agent}
---
{kind: system, name: bills, role: billing, connector: http, owner: finance}
---
{kind: system, name: ledger, role: erp, connector: http, owner: finance}
---
{kind: object, name: invoice, system: bills, fields: {status: string, open: money, due_on: date}}
---
{kind: object, name: contract, system: bills, fields: {ends: date, seats: int}}
---
{kind: object, name: period, system: ledger, fields: {start: date, end: date, state: string}}
---
{kind: object, name: partner, system: bills, sync: partner-sync, fields: {name: string}}
---
kind: event
name: asked.v1
data: {id: id, invoice_id?: id, amount?: money, by?: string, incident?: string, items?: [any], day?: date}
---
{kind: event, name: paid.v1, data: {id: id, n?: int, note?: string}}
---
{kind: event, name: stopped.v1, data: {id: id}}
---
{kind: event, name: opened.v1, data: {id: id}}
---
{kind: event, name: told.v1, produced: workflow, data: {id: id}}
---
{kind: event, name: late.v1, data: {contract: id}}
---
{kind: event, name: posted.v1, data: {id: id, amount: money}}
---
{kind: event, name: partner.changed.v1, object: partner, data: {partner_id: id, name: string}}
---
kind: operation
name: bills.memo.issue
system: bills
executor: identity
input: {id: id, amount: money}
output: {id: id, state: string}
repeat: key
horizon: 60s
retention: 1d
undo:
  - {when: "head('invoice', input.id).status == 'open'", call: bills.memo.void}
  - {call: bills.memo.debit, with: {id: =input.id}}
---
kind: operation
name: bills.memo.void
system: bills
executor: identity
input: {id: id}
repeat: key
horizon: 60s
retention: 1d
irreversible: voided for good
---
kind: operation
name: bills.memo.debit
system: bills
executor: identity
input: {id: id}
repeat: key
horizon: 60s
retention: 1d
irreversible: issued for good
---
kind: operation
name: ledger.post
system: ledger
executor: identity
input: {id: id, amount?: money}
output: {id: id}
repeat: find
horizon: 60s
undo: [{call: ledger.reverse, with: {id: =input.id}}]
---
kind: operation
name: ledger.reverse
system: ledger
executor: identity
input: {id: id}
repeat: find
horizon: 60s
irreversible: it is the correction
---
{kind: operation, name: ledger.tell, system: ledger, executor: identity, input: {id: id}, repeat: blind, irreversible: read is read}
---
{kind: operation, name: ledger.rate, system: ledger, executor: identity, input: {id: id}, output: {rate: int}, repeat: read}
---
{kind: operation, name: ledger.partner, system: ledger, executor: identity, input: {partner_id: id}, output: {party: string}, repeat: unique, irreversible: kept}
---
{kind: operation, name: ledger.bill, system: ledger, input: {partner_id: id}, repeat: unique, irreversible: kept}
---
kind: mapping
name: ledger-bill
to: {operation: ledger.bill}
with: {party: "=xref('partner', input.partner_id)"}
---
kind: mapping
name: ledger-partner
to: {operation: ledger.partner}
with: {name: =input.partner_id}
returns: {result: {party: =result.id}, links: {partner: =result.id}}
---
kind: reconciliation
name: posting
object: invoice
left: bills
right: ledger
foil: {operation: ledger.post, when: has(input.amount), key: input.id, legs: {gross: input.amount}, due: +3d}
observe: {event: posted.v1, key: event.data.id, legs: {gross: event.data.amount}}
---
kind: policy
name: careful
failure:
  transient: retry
  throttled: retry
  conflict: retry
  invalid: park
  warning: park
  period_closed: queue
  not_found: park
  unauthorized: park
  already_done: continue
  refused: park
  unknown: park
  timeout: park
  retry: {first: 10s, cap: 1m, attempts: 4}
  queue: {every: 1h, wake: opened.v1, until: 10h}
---
kind: policy
name: review
approval:
  currency: USD
  rates: fx
  requesters: [agent]
  requester: event.data.by
  expires: 2d
  matrix: [{up_to: 100, automatic: true}, {up_to: 1000, roles: [lead]}, {up_to: 5000, roles: [finance], quorum: 2}]
---
{kind: policy, name: cap, limit: {per: [event.data.by], currency: USD, at_most: 1500}}
---
{kind: policy, name: sum, limit: {per: [event.data.by], currency: {to: functional}}}
---
{kind: table, name: fx, owner: finance, key: [pair], value: rate, rows: [{pair: EUR/USD, rate: 1.5}]}
---
{kind: policy, name: hold, posting_date: {rule: hold_for_reopen}}
---
kind: workflow
name: partner-sync
owner: finance
failure: careful
start: {event: partner.changed.v1, key: event.data.partner_id}
steps: [{call: ledger.partner, with: {partner_id: =event.data.partner_id}}]
"""


def usd(major: int) -> Money:
    return Money.from_major(major, "USD")


def company(body: str, *more: str, head: str = "start: {event: asked.v1, key: event.data.id}") -> Play:
    """A company with one workflow `flow`, of these lines, beside the base."""
    flow = f"kind: workflow\nname: flow\nowner: finance\nfailure: careful\n{head}\n{body}\n"
    return Play(model_of(BASE, flow, *more))


async def ask(play: Play, id_: str = "a1", **data: Any) -> None:
    values: dict[str, Any] = {"amount": usd(50), "by": "ann", "invoice_id": "i1", "incident": "x1"}
    await play.event("asked.v1", id=id_, **(values | data))


async def period(play: Play, name: str, start: str, end: str, state: str) -> None:
    await play.head("period", name, start=date.fromisoformat(start), end=date.fromisoformat(end), state=state)
