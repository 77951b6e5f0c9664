"""The approvals that a plan needs: by the active change policy and the classes of change, else by owners. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from counterfoil.change.difference import DocumentChange
from counterfoil.change.reviewers import Review, reviewers
from counterfoil.core.people import Person
from counterfoil.model import Model, kinds

DEFAULT_EXPIRY = "7d"
NO_APPROVAL_CLASSES = frozenset({"text", "system"})
"""Classes of change that need no approval if there is no change policy."""
DECIDE = "approvals:own:decide"
NO_OWNER = "the changed documents have no owner"
DEFAULT_POLICY = "default"
"""Name shown for the policy if the Release has none."""


class RequiredApproval(msgspec.Struct, frozen=True, kw_only=True):
    """One approval that a plan needs."""

    name: str
    """What it covers. Unique in the plan."""
    roles: tuple[str, ...]
    quorum: int = 1
    because: tuple[str, ...]
    could: tuple[str, ...] = ()
    """Persons who could grant it, without the requester."""


class ApprovalRules(msgspec.Struct, frozen=True, kw_only=True):
    """The approvals of a plan with the rules of the policy that they follow."""

    policy: str
    """Name of the policy; `default` if there is none."""
    approvals: tuple[RequiredApproval, ...]
    expires: str
    emergency: tuple[str, ...]
    notes: tuple[str, ...] = ()


def present_classes(differences: Iterable[DocumentChange]) -> dict[str, list[DocumentChange]]:
    """Return the differences by class. Breaking differences are also listed under `breaking`."""
    by_class: dict[str, list[DocumentChange]] = {}
    for change in differences:
        for class_ in (*change.classes, *(("breaking",) if change.breaking else ())):
            by_class.setdefault(class_, []).append(change)
    return by_class


def required_approvals(
    old: Model, new: Model, differences: Sequence[DocumentChange], requester: str, persons: Sequence[Person]
) -> ApprovalRules:
    """Return the approvals of a plan. `old` is the active model, whose policy applies."""
    policy = next((p for p in old.policies.values() if p.change is not None), None)
    by_class = present_classes(differences)
    if policy is None or policy.change is None:
        approvals, notes = _by_default(old, new, by_class, requester, persons)
        return ApprovalRules(
            policy=DEFAULT_POLICY, approvals=approvals, expires=DEFAULT_EXPIRY, emergency=(), notes=notes
        )
    by_policy = _by_policy(old, new, policy.name, policy.change, by_class)
    approvals = tuple(_with_candidates(old, approval, requester, persons) for approval in _merge(by_policy))
    notes = tuple(
        f"the approval {approval.name} cannot be granted: it needs {approval.quorum} of {' or '.join(approval.roles)}, "
        "active, with the permission to decide, and not the requester"
        for approval in approvals
        if len(approval.could) < approval.quorum
    )
    change = policy.change
    return ApprovalRules(
        policy=policy.name,
        approvals=approvals,
        expires=change.expires,
        emergency=tuple(change.emergency),
        notes=notes,
    )


def _by_policy(
    old: Model, new: Model, policy: str, change: kinds.Change, by_class: dict[str, list[DocumentChange]]
) -> Iterable[RequiredApproval]:
    named = {class_ for rule in change.approve for class_ in rule.of}
    rest = [class_ for class_ in by_class if class_ not in named and class_ != "breaking"]
    for rule in change.approve:
        matches = [c for c in by_class if c in rule.of or ("other" in rule.of and c in rest)]
        if not matches or rule.automatic:
            continue
        because = f"`{policy}` requires it for: {', '.join(matches)}"
        if rule.owners:
            yield from _owners(old, new, _of(by_class, matches))
        else:
            name = "+".join(matches)
            yield RequiredApproval(name=name, roles=tuple(rule.roles), quorum=rule.quorum, because=(because,))
    if rest and "other" not in named:
        yield from _owners(old, new, _of(by_class, rest))


def _of(by_class: dict[str, list[DocumentChange]], classes: Iterable[str]) -> list[DocumentChange]:
    changes = {(change.kind, change.name): change for class_ in classes for change in by_class[class_]}
    return list(changes.values())


def _owners(old: Model, new: Model, differences: Sequence[DocumentChange]) -> list[RequiredApproval]:
    """Return one approval for each owner of the changed documents. Without owners: one by any role that may decide."""
    reviews = reviewers(old, new, differences)
    if reviews:
        return [RequiredApproval(name=f"owner:{r.role}", roles=(r.role,), because=r.because) for r in reviews]
    return [RequiredApproval(name="anybody", roles=_deciders(old), because=(NO_OWNER,))]


def _by_default(
    old: Model,
    new: Model,
    by_class: dict[str, list[DocumentChange]],
    requester: str,
    persons: Sequence[Person],
) -> tuple[tuple[RequiredApproval, ...], tuple[str, ...]]:
    risky = [class_ for class_ in by_class if class_ not in NO_APPROVAL_CLASSES]
    if not risky:
        return (), ("no approval is required: only descriptions and load settings change",)
    reviews: list[Review] = reviewers(old, new, _of(by_class, risky))
    roles = tuple(review.role for review in reviews) or _deciders(old)
    because = tuple(f"{review.role} {review.because[0]}" for review in reviews) or (NO_OWNER,)
    by_owners = _with_candidates(
        old, RequiredApproval(name="owners", roles=roles, because=because), requester, persons
    )
    if by_owners.could:
        return (by_owners,), ()
    by_any = _with_candidates(
        old, RequiredApproval(name="anybody", roles=_deciders(old), because=because), requester, persons
    )
    if by_any.could:
        return (by_any,), (
            "no other active person is an owner: any person who may decide approvals can approve it",
        )
    return (), ("no approval is required: no other active person may decide approvals",)


def _deciders(model: Model) -> tuple[str, ...]:
    return tuple(sorted(name for name, role in model.roles.items() if DECIDE in role.may))


def _with_candidates(
    model: Model, approval: RequiredApproval, requester: str, persons: Sequence[Person]
) -> RequiredApproval:
    deciders = set(_deciders(model))
    could = tuple(
        sorted(
            p.id
            for p in persons
            if p.active
            and p.id != requester
            and set(p.roles) & set(approval.roles)
            and set(p.roles) & deciders
        )
    )
    return msgspec.structs.replace(approval, could=could)


def _merge(approvals: Iterable[RequiredApproval]) -> list[RequiredApproval]:
    """Merge approvals with the same roles and quorum into one, with all their reasons."""
    merged: dict[tuple[tuple[str, ...], int], RequiredApproval] = {}
    for approval in approvals:
        key = (tuple(sorted(approval.roles)), approval.quorum)
        first = merged.get(key)
        if first is not None:
            because = tuple(dict.fromkeys((*first.because, *approval.because)))
            approval = msgspec.structs.replace(first, because=because)
        merged[key] = approval
    return list(merged.values())
