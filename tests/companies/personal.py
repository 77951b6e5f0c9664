"""Personal values of two legal entities, planted wherever rows hold texts: heads, payloads, calls, Cases, approvals."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any, NamedTuple

from msgspec.structs import replace

from counterfoil.core import ids, wire
from counterfoil.core.approval import Approval
from counterfoil.core.canonical import CanonicalEvent, Head, Receipt
from counterfoil.core.case import Choice
from counterfoil.core.case_edits import CommentCase, TagCase
from counterfoil.core.cases import open_case
from counterfoil.core.effect import Effect, EffectState
from counterfoil.core.errors import ErrorClass
from counterfoil.core.link import Link
from counterfoil.core.money import Money
from counterfoil.core.run import Direction, RunStatus
from counterfoil.store.port.case_edits import EditCase
from counterfoil.store.port.effects import Conclude, Intent, SendAttempt
from counterfoil.store.port.intake import Admit, Receive
from counterfoil.store.port.maintenance import OpenCases
from counterfoil.store.port.records import NewInboxItem, RunStart
from counterfoil.store.port.turns import Turn
from counterfoil.store.sql.store import SqlStore
from tests.companies.web_matches import admit, bill_item, invoice_foil
from tests.companies.web_rows import GERMAN, case_of


class Subject(NamedTuple):
    """A customer of one entity, with the personal values that only its rows have."""

    prefix: str
    entity: str
    name: str
    payer: str
    mail: str
    """Stands in a delivery alone: before mapping no field of it is marked."""

    @property
    def customer(self) -> str:
        return f"cust_{self.prefix}walk"

    @property
    def account(self) -> str:
        """Id of the customer in billing."""
        return f"cus_{self.prefix}walk"

    @property
    def invoice(self) -> str:
        return f"invo_{self.prefix}walk"

    @property
    def number(self) -> str:
        return f"{self.prefix}INV-8811"

    @property
    def key(self) -> str:
        return f"cred_{self.prefix}walk"

    @property
    def run(self) -> str:
        return ids.run_id("support-credit-to-erp", self.key, 0)

    @property
    def approval(self) -> str:
        return ids.derive("appr", self.run, "approve")

    @property
    def other_invoice(self) -> str:
        return f"invo_{self.prefix}item"

    @property
    def values(self) -> tuple[str, ...]:
        return (self.name, self.payer, self.mail)

    def case(self, about: str) -> str:
        return f"case_{self.prefix}{about}"


HOME_SUBJECT = Subject(
    "H", "acme-us", "Quastenfloss & Daughters", "Ottilie Zwirnfaden", "ottilie@quastenfloss.example"
)
GERMAN_SUBJECT = Subject(
    "D", GERMAN, "Blaukehlchen Söhne", "Gundula Hafermann", "gundula@blaukehlchen.example"
)
AMOUNT = Money(81_733, "USD")
DUE_DAYS = timedelta(days=2)


def fault_of(subject: Subject) -> str:
    """Return why a call of a system failed, with a part of its answer."""
    return f"answered 503: {{'party': '{subject.mail}'}}"


async def plant(store: SqlStore, subject: Subject) -> None:
    """Write the rows of a customer: a delivery, heads, a Run with a refused call and an approval, and Cases."""
    at = await store.now()
    number = await _receive(store, subject)
    changed, paid, asked = _events(subject, number, await store.now())
    heads = tuple(
        Head(
            object=object_, key=key, version=1, state=state, system="billing", effective_at=at, recorded_at=at,
            event=changed.id, entity=subject.entity,
        )
        for object_, key, state in (
            ("customer", subject.customer, {"name": subject.name, "revision": 1}),
            ("invoice", subject.invoice, {"number": subject.number, "customer_id": subject.customer}),
            ("invoice", subject.other_invoice, {"number": f"{subject.prefix}INV-8815", "customer_id": subject.customer}),
            ("payment", f"paym_{subject.prefix}walk", {"payer_name": subject.payer, "customer_id": subject.customer}),
            ("credit", subject.key, {"number": f"{subject.prefix}CN-8812", "invoice_id": subject.invoice}),
        )
    )  # fmt: skip
    stimulus = NewInboxItem(run=subject.run, kind="start", ref=asked.id, body=wire.dumps({"event": asked.id}))
    start = RunStart(
        run=subject.run, workflow="support-credit-to-erp", bkey=subject.key, generation=0, pin="d" * 64,
        state="requested", stimulus=stimulus, entity=subject.entity,
    )  # fmt: skip
    link = Link(
        object="customer", canonical=subject.customer, system="billing", account="", ext_id=subject.account,
        established_by=changed.id, valid_from=at, legal_entity=subject.entity,
    )  # fmt: skip
    admitted = await store.apply(
        Admit(
            todo=("receipt", str(number)), events=(changed, paid, asked), heads=heads, starts=(start,), links=(link,), at=at, actor="worker:t"
        )
    )  # fmt: skip
    assert admitted.applied
    effect = await _refused_call(store, subject)
    foil = replace(invoice_foil(subject.invoice, AMOUNT.minor, 1, at), entity=subject.entity)
    await admit(store, await store.now(), foils=(foil,))
    item = replace(
        bill_item(f"BILL-{subject.prefix}", subject.other_invoice, AMOUNT.minor, at), entity=subject.entity
    )
    await admit(store, await store.now(), items=(item,))
    await _cases(store, subject, number, changed.id, effect)


async def _receive(store: SqlStore, subject: Subject) -> int:
    at = await store.now()
    body = wire.dumps({"customer": {"full_name": subject.name, "mail": subject.mail}, "payer": subject.payer})
    receipt = Receipt(
        system="billing", ext_id=f"walk-{subject.prefix}", type="customer.updated", identity=wire.digest(subject.name),
        sha256=wire.digest(body), door="webhook", headers={"x-sender": subject.mail}, body=body, received_at=at,
    )  # fmt: skip
    clash = case_of(f"case_clash_{subject.prefix}", "clash", "controller", at)
    received = await store.apply(
        Receive(receipts=(receipt,), clashes=(clash,), at=at, actor="system:billing")
    )
    return received.numbers[0]


def _events(
    subject: Subject, receipt: int, at: datetime
) -> tuple[CanonicalEvent, CanonicalEvent, CanonicalEvent]:
    def event(type_: str, object_: str, key: str, data: dict[str, Any]) -> CanonicalEvent:
        return CanonicalEvent(
            id=ids.event_id("billing", object_, key, "1", type_), type=type_, system="billing", object=object_, key=key,
            version=1, data=data, occurred_at=at, effective_at=at, received_at=at, receipt=receipt,
            legal_entity=subject.entity,
        )  # fmt: skip

    request = {
        "credit_id": subject.key, "customer_id": subject.customer, "invoice_id": subject.invoice, "amount": AMOUNT,
        "reason": f"Outage at {subject.name}", "title": f"{subject.name} asks for a credit", "requested_by": "ava",
    }  # fmt: skip
    return (
        event("customer.changed.v1", "customer", subject.customer, {"name": subject.name, "revision": 1}),
        event(
            "payment.received.v1", "payment", f"paym_{subject.prefix}walk",
            {"payer_name": subject.payer, "customer_id": subject.customer, "amount": AMOUNT},
        ),
        event("support.credit_requested.v1", "credit", subject.key, request),
    )  # fmt: skip


async def _refused_call(store: SqlStore, subject: Subject) -> str:
    """Write a call with the name that the ERP refuses by name, and an approval that names it."""
    at = await store.now()
    effect = _effect(subject, at)
    approval = Approval(
        id=subject.approval, run=subject.run, path="approve", policy="service-credit", subject="0" * 64,
        covers=wire.dumps({"name": subject.name, "customer_id": subject.customer}), amount=AMOUNT,
        roles=("finance-operations",), quorum=1, requester="ava", expires=at + DUE_DAYS, created_at=at, entity=subject.entity,
    )  # fmt: skip
    loaded = await store.load(subject.run)
    assert loaded is not None
    turned = await store.apply(
        Turn(
            run=subject.run, version=loaded.run.version, at=at, status=RunStatus.WAITING, direction=Direction.FORWARD,
            state="eligible", due=at + DUE_DAYS, consumed=loaded.run.inbox_n, ctx=b"{}", actor="worker:t",
            plan=(effect,), approvals=(approval,),
        )
    )  # fmt: skip
    assert turned.verdict == "done"
    sent = SendAttempt(
        effect=effect.id, attempt=1, worker="w/1", send_by=at + timedelta(seconds=5), call_until=at + timedelta(seconds=30),
        conclude_at=at + timedelta(seconds=90), request=wire.dumps({"party": {"name": subject.name}}),
    )  # fmt: skip
    assert (await store.apply(Intent(send=sent, at=at, actor="worker:t"))).verdict == "sending"
    concluded = await store.apply(
        Conclude(
            effect=effect.id, attempt=1, state=EffectState.REFUSED, at=at, actor="worker:t", error_class=ErrorClass.INVALID,
            error=f"party {subject.name} is blocked",
        )
    )  # fmt: skip
    assert concluded.verdict == "won"
    return effect.id


def _effect(subject: Subject, at: datetime) -> Effect:
    return Effect(
        id=ids.effect_id(subject.run, "party", "", 0), run=subject.run, path="party", operation="erp.party.upsert",
        system="erp", repeat="key", created_at=at, input=wire.dumps({"name": subject.name, "customer_id": subject.customer}),
    )  # fmt: skip


async def _cases(store: SqlStore, subject: Subject, receipt: int, event: str, effect: str) -> None:
    at = await store.now()
    refused = open_case(
        "refused", id=subject.case("refused"), message=f"erp.party.upsert: refused: party {subject.name} is blocked",
        owners=("finance-operations",), at=at, run=subject.run, effect=effect, exposure=(AMOUNT,),
        choices=(Choice.RETRY, Choice.CONTINUE), names={"operation": "erp.party.upsert"},
    )  # fmt: skip
    delivery = open_case(
        "mapping_failed", id=subject.case("delivery"), message=f"{subject.mail} of {subject.payer} is no address",
        owners=("finance-operations",), at=at, receipt=receipt, run=subject.run,
    )  # fmt: skip
    unrouted = open_case(
        "unrouted", id=subject.case("event"), message=f"{event}: no workflow takes {subject.name}",
        owners=("finance-operations",), at=at, event=event, run=subject.run,
    )  # fmt: skip
    away = open_case(
        "unreachable", id=subject.case("away"), message=f"erp: {fault_of(subject)}", owners=("finance-operations",), at=at,
        names={"system": "erp"},
    )  # fmt: skip
    await store.apply(OpenCases(cases=(refused, delivery, unrouted, away), at=at, actor="worker:t"))
    for edit in (CommentCase(f"Called {subject.name}, they pay tomorrow"), TagCase(("walk",))):
        change = EditCase(case=subject.case("refused"), person="fay", edit=edit, at=at)
        assert (await store.apply(change)).verdict == "done"
