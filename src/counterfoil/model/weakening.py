"""What a changed document asks less of than before: approvals, ownership, and what keeps books right.

An overlay may do so only with a reason. Told by value, not by text: a matrix whose tiers ask at least what they
asked is no looser, however it is cut.
"""

from __future__ import annotations

from collections.abc import Iterator

from counterfoil.model import kinds
from counterfoil.model.fields import each_field
from counterfoil.model.source import Path

Looser = tuple[Path, str]


def loosened(old: kinds.Kind, new: kinds.Kind) -> Iterator[Looser]:
    """(place, what is asked less) for two documents of one kind."""
    if old.owner != new.owner:
        yield ("owner",), "its owners are others"
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
            for key in ("steps", "serial", "failure"):
                if getattr(old, key) != getattr(new, key):
                    yield (key,), f"`{key}` is another"
        case kinds.Object(), kinds.Object():
            yield from _systems(old, new)
        case kinds.Operation(), kinds.Operation():
            for key in ("system", "exposes", "repeat", "horizon", "undo", "irreversible", "executor"):
                if getattr(old, key) != getattr(new, key):
                    yield (key,), f"`{key}` is another"
        case kinds.Role(), kinds.Role():
            for key in ("may", "calls", "speaks"):
                more = sorted(set(getattr(new, key)) - set(getattr(old, key)))
                if more:
                    yield (key,), f"the role may do more: {', '.join(more)}"
        case kinds.Reconciliation(), kinds.Reconciliation():
            if new.tolerance > old.tolerance:
                yield ("tolerance",), f"it tolerates {new.tolerance} and not {old.tolerance}"
            for key in ("foil", "observe", "shape"):
                if getattr(old, key) != getattr(new, key):
                    yield (key,), f"`{key}` is another"
        case kinds.Control(), kinds.Control():
            if old.model_dump(exclude={"doc", "owner"}) != new.model_dump(exclude={"doc", "owner"}):
                yield (), "the control is another"


def _approval(old: kinds.Approval, new: kinds.Approval) -> Iterator[Looser]:
    where: Path = ("approval",)
    if old.currency != new.currency:
        yield (*where, "currency"), f"its amounts are {new.currency} and not {old.currency}"
    if old.requester != new.requester:
        yield (*where, "requester"), "who counts as the requester is another"
    missing = sorted(set(old.requesters) - set(new.requesters))
    if missing:
        yield (*where, "requesters"), f"{', '.join(missing)} may approve what they request"
    for amount in _edges(old, new):
        what = _less(_tier(old, amount), _tier(new, amount), _trusted(old, amount))
        if what:
            yield (*where, "matrix"), f"{_of(amount)} {what}"
            return


def _edges(*policies: kinds.Approval) -> list[int | None]:
    """One amount inside each tier of either matrix: its upper end, and None for above every end."""
    ends = {tier.up_to for policy in policies for tier in policy.matrix if tier.up_to is not None}
    return [*sorted(ends), None]


def _tier(policy: kinds.Approval, amount: int | None) -> kinds.Tier | None:
    for tier in policy.matrix:
        if tier.up_to is None or (amount is not None and amount <= tier.up_to):
            return tier
    return None


def _trusted(policy: kinds.Approval, amount: int | None) -> set[str]:
    """Roles that decide over this amount, or over more."""
    tiers = (t for t in policy.matrix if t.up_to is None or (amount is not None and amount <= t.up_to))
    return {role for tier in tiers for role in tier.roles}


def _less(old: kinds.Tier | None, new: kinds.Tier | None, trusted: set[str]) -> str:
    if old is None or new is None or old.automatic:
        return ""
    if new.automatic:
        return "is approved without asking anybody"
    if new.quorum < old.quorum:
        return f"asks {new.quorum} and not {old.quorum}"
    more = sorted(set(new.roles) - trusted)
    return f"may be approved by {', '.join(more)}" if more else ""


def _of(amount: int | None) -> str:
    return "the highest tier" if amount is None else f"an amount of {amount}"


def _limit(old: kinds.Limit, new: kinds.Limit) -> Iterator[Looser]:
    where: Path = ("limit",)
    if old.currency != new.currency:
        yield (*where, "currency"), "it counts in another currency"
    if old.per != new.per:
        yield (*where, "per"), "it counts by something else"
    if set(new.counts) < set(old.counts):
        yield (*where, "counts"), "it counts less"
    if old.at_most is not None and (new.at_most is None or new.at_most > old.at_most):
        yield (*where, "at_most"), f"it allows {new.at_most} and not {old.at_most}"


_FREE = frozenset({"kind", "name", "owner", "doc", "posting_date"})
_TIMES = frozenset({"retry", "queue", "case_within"})


def _other_policy(old: kinds.Policy, new: kinds.Policy) -> Iterator[Looser]:
    """What becomes of failures, how long records are kept and how much may be called is the same everywhere; only
    times of retries, and where an entry is posted, are a place's own matter."""
    for sort in kinds.Policy.model_fields.keys() - _FREE:
        before, after = getattr(old, sort), getattr(new, sort)
        if before == after or before is None or after is None:
            continue
        for key in type(before).model_fields:
            if key not in _TIMES and getattr(before, key) != getattr(after, key):
                yield (sort, key), f"`{key}` is another"


def _systems(old: kinds.Object, new: kinds.Object) -> Iterator[Looser]:
    if old.system != new.system:
        yield ("system",), f"its system of record is {new.system} and not {old.system}"
    before = {name: spec for name, _, spec in each_field(old.fields)}
    for name, optional, spec in each_field(new.fields):
        was = before.get(name)
        systems = [s.system if isinstance(s, kinds.FieldSpec) else None for s in (was, spec)]
        if was is not None and systems[0] != systems[1]:
            yield ("fields", name + "?" * optional), f"the system of record of `{name}` is another"
