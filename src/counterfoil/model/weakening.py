"""Weaker controls in a changed document: approvals, ownership, and rules that keep the books right.

An overlay may weaken a control only with a reason. Values are compared, not text: a matrix with other tiers that
require at least the same approvals is not weaker.
"""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.model import kinds
from counterfoil.model.fields import each_field
from counterfoil.model.source import Path

Weakening = tuple[Path, str]


def weakenings(old: kinds.Kind, new: kinds.Kind) -> Iterator[Weakening]:
    """Yield (place, description) of each weakening between two documents of one kind."""
    if old.owner != new.owner:
        yield ("owner",), "it has other owners"
    match old, new:
        case kinds.Policy(approval=kinds.Approval() as before), kinds.Policy(
            approval=kinds.Approval() as after
        ):
            yield from _approval(before, after)
        case kinds.Policy(limit=kinds.Limit() as before), kinds.Policy(limit=kinds.Limit() as after):
            yield from _limit(before, after)
        case kinds.Policy(), kinds.Policy():
            yield from _other_policy(old, new)
        case kinds.Workflow(), kinds.Workflow():
            yield from _differences(old, new, "steps", "serial", "failure")
        case kinds.Object(), kinds.Object():
            yield from _systems(old, new)
        case kinds.Operation(), kinds.Operation():
            keys = ("system", "exposes", "repeat", "horizon", "undo", "irreversible", "executor")
            yield from _differences(old, new, *keys)
        case kinds.Role(), kinds.Role():
            for key in ("may", "calls", "speaks"):
                more = sorted(set(getattr(new, key)) - set(getattr(old, key)))
                if more:
                    yield (key,), f"the role may do more: {', '.join(more)}"
            if old.entities is not None and not set(new.entities or ()) <= set(old.entities):
                yield ("entities",), "the role sees more legal entities"
            elif old.entities is not None and new.entities is None:
                yield ("entities",), "the role sees every legal entity"
        case kinds.Reconciliation(), kinds.Reconciliation():
            if new.tolerance > old.tolerance:
                yield ("tolerance",), f"its tolerance is {new.tolerance} instead of {old.tolerance}"
            yield from _differences(old, new, "foil", "assert_", "observe", "shape", "legs", "key", "let")
            yield from _differences(
                old, new, "window", "rest", "remember", "waive", "pair", "cap", "control_accounts"
            )
        case kinds.Control(), kinds.Control():
            if old.model_dump(exclude={"doc", "owner"}) != new.model_dump(exclude={"doc", "owner"}):
                yield (), "the control is different"


def _differences(old: kinds.Part, new: kinds.Part, *keys: str) -> Iterator[Weakening]:
    for key in keys:
        if getattr(old, key) != getattr(new, key):
            yield (key,), f"`{key}` is different"


def _approval(old: kinds.Approval, new: kinds.Approval) -> Iterator[Weakening]:
    where: Path = ("approval",)
    if old.currency != new.currency:
        yield (*where, "currency"), f"its amounts are in {new.currency} instead of {old.currency}"
    if old.requester != new.requester:
        yield (*where, "requester"), "`requester` is different"
    missing = sorted(set(old.requesters) - set(new.requesters))
    if missing:
        yield (*where, "requesters"), f"{', '.join(missing)} may approve what they request"
    no_longer = sorted(set(old.excludes) - set(new.excludes))
    if no_longer:
        yield (*where, "excludes"), f"persons with the role {', '.join(no_longer)} may decide"
    if new.negative and not old.negative:
        yield (*where, "negative"), "it allows negative amounts"
    for amount in _edges(old, new):
        what = _less(_tier(old, amount), _tier(new, amount), _trusted(old, amount))
        if what:
            yield (*where, "matrix"), f"{_of(amount)} {what}"
            return


def _edges(*policies: kinds.Approval) -> list[int | None]:
    """Return one amount inside each tier of either matrix: its upper end, and None for above every end."""
    ends = {tier.up_to for policy in policies for tier in policy.matrix if tier.up_to is not None}
    return [*sorted(ends), None]


def _tier(policy: kinds.Approval, amount: int | None) -> kinds.Tier | None:
    for tier in policy.matrix:
        if tier.up_to is None or (amount is not None and amount <= tier.up_to):
            return tier
    return None


def _trusted(policy: kinds.Approval, amount: int | None) -> set[str]:
    """Return the roles that decide over this amount or a higher one."""
    tiers = (t for t in policy.matrix if t.up_to is None or (amount is not None and amount <= t.up_to))
    return {role for tier in tiers for role in tier.roles}


def _less(old: kinds.Tier | None, new: kinds.Tier | None, trusted: set[str]) -> str:
    if old is None or new is None or old.automatic:
        return ""
    if new.automatic:
        return "is approved automatically"
    if new.quorum < old.quorum:
        return f"needs {new.quorum} approvals instead of {old.quorum}"
    more = sorted(set(new.roles) - trusted)
    return f"may be approved by {', '.join(more)}" if more else ""


def _of(amount: int | None) -> str:
    return "the highest tier" if amount is None else f"an amount of {amount}"


def _limit(old: kinds.Limit, new: kinds.Limit) -> Iterator[Weakening]:
    where: Path = ("limit",)
    if old.currency != new.currency:
        yield (*where, "currency"), "it counts in another currency"
    if old.per != new.per:
        yield (*where, "per"), "it counts by other keys"
    if set(new.counts) < set(old.counts):
        yield (*where, "counts"), "it counts fewer states"
    if new.negative and not old.negative:
        yield (*where, "negative"), "it allows negative amounts"
    if old.at_most is not None and (new.at_most is None or new.at_most > old.at_most):
        yield (*where, "at_most"), f"it allows {new.at_most} instead of {old.at_most}"


_FREE = frozenset({"kind", "name", "owner", "doc", "posting_date"})
_TIMES = frozenset({"retry", "queue", "case_within"})


def _other_policy(old: kinds.Policy, new: kinds.Policy) -> Iterator[Weakening]:
    """Yield changes of failure, retention and rate policies, which must be the same everywhere.

    Only times of retries and posting dates may differ by place.
    """
    for sort in kinds.Policy.model_fields.keys() - _FREE:
        before, after = getattr(old, sort), getattr(new, sort)
        if before == after or before is None or after is None:
            continue
        for path, what in _differences(before, after, *type(before).model_fields):
            if path[0] not in _TIMES:
                yield (sort, *path), what


def _systems(old: kinds.Object, new: kinds.Object) -> Iterator[Weakening]:
    if old.system != new.system:
        yield ("system",), f"its system of record is {new.system} instead of {old.system}"
    before = {name: spec for name, _, spec in each_field(old.fields)}
    for name, optional, spec in each_field(new.fields):
        old_spec = before.get(name)
        systems = [s.system if isinstance(s, kinds.FieldSpec) else None for s in (old_spec, spec)]
        if old_spec is not None and systems[0] != systems[1]:
            yield ("fields", name + "?" * optional), f"`{name}` has another system of record"
