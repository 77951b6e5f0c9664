"""Control accounts of a reconciliation: a balance at a cut-off beside the documents that it consists of, or another balance."""

from __future__ import annotations

from collections import Counter
from datetime import date, datetime
from functools import partial
from typing import Any, NamedTuple, TypeAlias

from counterfoil.core.book_checkpoint import BookCheckpoint, ControlLine
from counterfoil.core.book_count import BothSides, count_ours
from counterfoil.core.errors import CounterfoilError
from counterfoil.flow.context.lookups import Lookups
from counterfoil.flow.context.releases import Releases
from counterfoil.flow.gateway.calls import CallInProgress, ReadAnswer
from counterfoil.flow.gateway.placement import served_version
from counterfoil.flow.gateway.system_reads import SystemReader
from counterfoil.model import Model, kinds
from counterfoil.model.template import record
from counterfoil.rules.envelope import with_entity
from counterfoil.rules.lookup import lookup_in
from counterfoil.rules.templates import FAULTS, fill
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import Views

_SIGNS = {"add": 1, "subtract": -1}
CountedDocuments: TypeAlias = dict[tuple[str, str | None], BothSides]
"""Documents by reconciliation and leg. None: the total."""


class AccountLines(NamedTuple):
    lines: tuple[ControlLine, ...]
    unread: dict[str, str]
    """Accounts whose balance could not be read, with the reason."""


class ControlAccounts:
    """Reads balances by exposed operations, each within the limits of its system."""

    def __init__(self, store: Store, views: Views, releases: Releases, reader: SystemReader) -> None:
        self._store, self._views, self._releases, self._reader = store, views, releases, reader

    async def documents(
        self, rule: kinds.Reconciliation, own: BothSides, at: date, now: datetime
    ) -> CountedDocuments:
        """Return the standing documents of both systems, by what the accounts of a reconciliation consist of."""
        legs_by_name: dict[str, set[str | None]] = {}
        for account in rule.control_accounts.values():
            for name, form in account.documents.items():
                legs_by_name.setdefault(name, set()).add(_leg(form))
        counted: CountedDocuments = {}
        for name, legs in sorted(legs_by_name.items()):
            if name == rule.name and legs == {None}:
                counted[name, None] = own
                continue
            rows = [row.rows for row in await self._views.matches_of_rule(name, now)]
            counted |= {(name, leg): count_ours(rows, at, leg) for leg in legs}
        return counted

    async def lines(
        self,
        rule: kinds.Reconciliation,
        entity: str,
        at: date,
        former: BookCheckpoint | None,
        documents: CountedDocuments,
    ) -> AccountLines:
        """Return each account of a legal entity by currency. `former` is the last signed checkpoint."""
        model = self._releases.present.at(entity, at)
        lines: list[ControlLine] = []
        unread: dict[str, str] = {}
        for name, account in model.reconciliations[rule.name].control_accounts.items():
            try:
                balances = await self._balances(model, account, entity, at)
                if account.against is None:
                    is_left = model.operations[account.read].system == rule.left
                    sums = _sums(account, entity, documents, is_left=is_left)
                else:
                    sums = await self._balances(model, account.against, entity, at)
            except (CounterfoilError, *FAULTS) as error:
                unread[name] = str(error)
                continue
            signed = {} if former is None else _signed(former, name)
            for currency in sorted(balances.keys() | sums.keys() | signed.keys()):
                line = ControlLine(
                    account=name,
                    currency=currency,
                    balance=balances[currency],
                    documents=sums[currency],
                    signed_difference=None if former is None else signed.get(currency, 0),
                )
                lines += [line] if line.balance or line.documents or line.signed_difference else []
        return AccountLines(tuple(lines), unread)

    async def _balances(
        self, model: Model, account: kinds.AccountBalance, entity: str, at: date
    ) -> Counter[str]:
        """Return the balance by currency, in minor units. Raises CallRefused, CounterfoilError and what formulas raise."""
        now = await self._store.now()
        names = with_entity({"at": at}, entity, model.envelope)
        lookups = Lookups(self._store, model, now)
        answer = lookup_in(lookups.answers)
        value: dict[str, Any] = await lookups.complete(partial(fill, record(account.with_), names, answer))
        context = CallInProgress(
            model=model, served=served_version(model, account.read), input=value, receipt=0, at=now
        )
        outcome = await self._reader.read(context)
        if not isinstance(outcome, ReadAnswer):
            raise CounterfoilError(getattr(outcome, "detail", outcome.word))
        balances: Counter[str] = Counter()
        for balance in outcome.output["balances"]:
            balances[balance.currency] += balance.minor  # money by the contract of the operation
        return balances


def _sums(
    account: kinds.ControlAccount, entity: str, documents: CountedDocuments, *, is_left: bool
) -> Counter[str]:
    sums: Counter[str] = Counter()
    for name, form in account.documents.items():
        sign = form.sign if isinstance(form, kinds.AccountDocuments) else form
        both = documents[name, _leg(form)]
        for counted in (both.left if is_left else both.right).values():
            if counted.entity == entity:
                sums[counted.currency] += _SIGNS[sign] * counted.units
    return sums


def _leg(form: str | kinds.AccountDocuments) -> str | None:
    """Return the leg that moves an account. None: the total."""
    return form.leg if isinstance(form, kinds.AccountDocuments) else None


def _signed(former: BookCheckpoint, account: str) -> dict[str, int]:
    """Return the differences that a checkpoint was signed with, by currency."""
    return {line.currency: line.difference for line in former.body.controls if line.account == account}
