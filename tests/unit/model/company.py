"""A small company whose folder is clean, and a way to plant one mistake in it."""

from __future__ import annotations

from pathlib import Path

from counterfoil.core.finding import Finding
from counterfoil.model import Model, read

COMPANY = """\
{kind: role, name: finance}
---
{kind: role, name: agent}
---
{kind: role, name: controller}
---
kind: system
name: bills
role: billing
connector: http
owner: finance
settings: {region: eu}
---
kind: system
name: ledger
role: erp
connector: http
owner: finance
---
kind: object
name: customer
system: ledger
fields: {legal_name: string, terms: {type: string, system: ledger}}
---
kind: object
name: credit
system: bills
fields: {total: money, status: string, note: {type: string, system: ledger}}
---
kind: object
name: period
system: ledger
fields: {state: string}
---
kind: event
name: credit.requested.v1
produced: http
data:
  credit_id: id
  customer_id: id
  amount: money
  asked_on: date
  requested_by: string
  reason: {enum: [outage, error]}
---
kind: event
name: credit.issued.v1
object: credit
data: {credit_id: id, total: money}
---
kind: event
name: credit.posted.v1
object: credit
sets: []
data: {credit_id: id, amount: money}
---
kind: event
name: credit.settled.v1
produced: workflow
data: {credit_id: id}
---
kind: operation
name: billing.credit.issue
system: bills
executor: identity
input: {customer: id, amount: money, reason: {enum: [outage, error]}}
output: {id: id, issued_on: date}
repeat: key
retention: 2d
undo: [{call: billing.credit.void}]
---
kind: operation
name: billing.credit.void
system: bills
executor: identity
input: {id: id}
repeat: key
retention: 2d
irreversible: a voided credit stays void
---
kind: operation
name: erp.credit.post
system: ledger
input: {credit: id, amount: money, customer: id}
output: {id: id, amount: money}
repeat: unique
irreversible: posted moves are reversed by further moves only
---
kind: operation
name: erp.customer.get
system: ledger
input: {customer: id}
output: {terms: string}
repeat: read
---
kind: operation
name: erp.note.send
system: ledger
executor: external
repeat: blind
irreversible: a note that was read stays read
---
kind: mapping
name: ledger-credit-post
to: {operation: erp.credit.post}
with: {number: =input.credit, amount: =major(input.amount), party: "=xref('customer', input.customer)"}
returns: {result: {id: =result.number, amount: =input.amount}, compare: [amount]}
---
kind: mapping
name: bills-credit
from: {system: bills, type: credit.issued}
let: {c: body.currency}
emit:
  type: credit.issued.v1
  key: body.id
  data:
    credit_id: "=canon('credit', body.id)"
    total: "=minor(body.total, c)"
---
kind: mapping
name: ledger-credit
from: {system: ledger, type: credit.posted}
emit:
  type: credit.posted.v1
  key: body.id
  data: {credit_id: =body.number, amount: "=minor(body.total, body.currency)"}
assert: data.amount.minor >= 0
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
---
kind: policy
name: credit-approval
approval:
  currency: USD
  requesters: [agent]
  matrix:
    - {up_to: 100, automatic: true}
    - {up_to: 1000, roles: [finance]}
    - {roles: [controller]}
---
kind: policy
name: credit-limit
limit: {per: [customer_id, quarter], currency: USD, at_most: 5000}
---
kind: policy
name: first-open
posting_date: {rule: first_open}
---
kind: table
name: rates
owner: finance
key: [region]
value: rate
valid_from: since
rows:
  - {region: eu, since: 2026-01-01, rate: 0.2}
---
kind: reconciliation
name: credit
object: credit
left: bills
right: ledger
foil:
  operation: erp.credit.post
  key: input.credit
  legs: {gross: input.amount}
observe:
  event: credit.posted.v1
  key: event.data.credit_id
  legs: {gross: event.data.amount}
---
kind: workflow
name: credit
owner: finance
failure: careful
start: {event: credit.requested.v1, key: event.data.credit_id}
serial: {key: event.data.customer_id}
deadline: 20d
facts:
  who: {head: customer, of: event.data.customer_id}
  terms: {read: erp.customer.get, with: {customer: =event.data.customer_id}}
let:
  amount: event.data.amount
signals:
  - event: credit.posted.v1
    in: [approved]
    where: event.data.credit_id == start.data.credit_id
    do: [park]
steps:
  - id: checked
    check: amount.minor > 0 && terms.terms != 'prepaid'
    outcomes: {failed: {stop: refused}}
  - approve: credit-approval
    amount: amount
    reserve: credit-limit
    covers: [amount, event.data.customer_id]
    outcomes: {rejected: {stop: rejected}, expired: park, stale: {again: {from: checked, at_most: 3}}}
    becomes: approved
  - id: memo
    call: billing.credit.issue
    with: {customer: =event.data.customer_id, amount: =amount, reason: =event.data.reason}
  - id: post
    call: erp.credit.post
    with: {credit: =memo.id, amount: =amount, customer: =event.data.customer_id}
    dates: {document: =memo.issued_on, posting: first-open}
    outcomes: {refused: park}
  - wait: {foils: all, until: +2d}
    outcomes: {timeout: park}
  - choose:
      - when: amount.minor > 100000
        then: [{emit: credit.settled.v1, data: {credit_id: =memo.id}}]
    otherwise: [{stop: small}]
"""

MARK = "#!"


def write(folder: Path, text: str, name: str = "company.yaml") -> Path:
    (folder / name).write_text(text, encoding="utf-8")
    return folder


def findings_of(folder: Path, text: str) -> tuple[Model, list[Finding]]:
    return read(write(folder, text))


def plant(old: str, new: str, at: str = MARK) -> tuple[str, int]:
    """The company's text with `old`, which stands in it once, replaced; and the line on which `at` begins."""
    assert COMPANY.count(old) == 1, f"{old!r} stands {COMPANY.count(old)} times"
    text = COMPANY.replace(old, new)
    assert text.count(at) == 1, f"{at!r} stands {text.count(at)} times"
    return text, text[: text.index(at)].count("\n") + 1
