"""Policies compiled: retries, queues, approvals, limits and posting dates."""

from __future__ import annotations

import re

from counterfoil.core.money import Money
from counterfoil.model import definition as d
from counterfoil.model import kinds
from counterfoil.model.kinds import seconds
from counterfoil.model.template import formula, text_of

POSTING_RULES = ("reject", "first_open", "current", "hold_for_reopen", "accrue_and_true_up")
FAILURE_OUTCOMES = tuple(n for n in kinds.Failure.model_fields if n not in ("retry", "queue", "case_within"))
_WORD = re.compile(r"[a-z_][a-z0-9_]*")


def retry_policy(retry: kinds.Retry) -> d.RetryPolicy:
    return d.RetryPolicy(seconds(retry.first), seconds(retry.cap), retry.attempts, retry.then)


def queue_policy(queue: kinds.Queue) -> d.QueuePolicy:
    return d.QueuePolicy(seconds(queue.every), queue.wake, seconds(queue.until), queue.then)


def compile_approval(policy: kinds.Policy, approval: kinds.Approval, digest: str) -> d.ApprovalPolicy:
    tiers = (
        d.ApprovalTier(
            None if tier.up_to is None else Money.from_major(tier.up_to, approval.currency).minor,
            tier.automatic,
            tuple(tier.roles),
            tier.quorum,
        )
        for tier in approval.matrix
    )
    return d.ApprovalPolicy(
        name=policy.name,
        currency=approval.currency,
        rates=approval.rates,
        tiers=tuple(tiers),
        requester=formula(approval.requester),
        expires=seconds(approval.expires),
        digest=digest,
        owners=tuple(policy.owners("exceptions")),
        negative=bool(approval.negative),
        requesters=tuple(approval.requesters),
    )


def limit_key(workflow: kinds.Workflow, text: str) -> str:
    """Return the expression of one part of a limit's key.

    A single word that is no name in this workflow is a field of its start event, object or input. So
    `per: [customer_id, quarter]` fits every workflow whose event has a `customer_id`.
    """
    word = text_of(text)
    names = {"run", "event", "object", "input", "month", "quarter", *workflow.facts, *workflow.let}
    if not _WORD.fullmatch(word) or word in names:
        return word
    start = workflow.start
    return f"{'event.data' if start.event else 'object' if start.due else 'input'}.{word}"
