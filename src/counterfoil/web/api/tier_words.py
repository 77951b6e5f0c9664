"""The tier of an approval in words: why its roles decide, and the earlier amounts that count with its own."""

from __future__ import annotations

from counterfoil.application import Application
from counterfoil.core.approval import Approval
from counterfoil.core.money import Money
from counterfoil.model import Model
from counterfoil.model.definition import OF_AMOUNT
from counterfoil.rules.workflow.state import load
from counterfoil.rules.workflow.steps import FUNCTIONAL
from counterfoil.web.api.match_words import amount_text
from counterfoil.web.api.names import COUNTED_WITH_EARLIER, NameReader, tier_text


async def tier_words(app: Application, approval: Approval) -> str:
    """Return why these roles decide; empty without a tier that fits.

    Where earlier amounts count too, it says how much: the other amounts that count now under the limit of the Run.
    """
    entity = approval.entity or app.model.default_entity
    model = app.model.at(entity, approval.created_at.date())
    text = tier_text(model, approval)
    earlier = await _earlier(app, model, approval) if text.endswith(COUNTED_WITH_EARLIER) else None
    return text if earlier is None else f"{text.removesuffix(COUNTED_WITH_EARLIER)}, counted with {earlier}"


async def _earlier(app: Application, model: Model, approval: Approval) -> str | None:
    """Return the sum that counts with an approval, without its own: `530.00 USD of earlier ones: Northwind, 2026-Q4`.

    The sum is in the currency that the limit has in `model`, that of the approval's legal entity.
    """
    rows = await app.store.load(approval.run)
    for guard in [] if rows is None else load(rows.run.ctx).reserved.values():
        policy = model.policies.get(guard.scope)
        if policy is None or policy.limit is None or not approval.path.startswith(guard.step):
            continue
        currency = policy.limit.currency
        code = currency if isinstance(currency, str) else currency.to
        if code in (FUNCTIONAL, OF_AMOUNT) and approval.amount is not None:
            code = approval.amount.currency
        used = Money(await app.store.guard_used(guard.scope, guard.key) - guard.amount, code)
        parts = guard.key.removeprefix(f"{approval.entity}/").split("/")
        names = await NameReader(app).documents(parts)
        of = ", ".join(named.name if (named := names.get(part)) and named.name else part for part in parts)
        return f"{amount_text(used)} of earlier ones: {of}"
    return None
