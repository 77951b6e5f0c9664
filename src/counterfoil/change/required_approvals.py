"""Who must approve a plan: what the policy in force says of the classes of its changes, else the owners. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import msgspec

from counterfoil.change.difference import DocumentChange
from counterfoil.change.reviewers import Review, reviewers
from counterfoil.core.people import Person
from counterfoil.model import Model, kinds

EXPIRES = "7d"
HARMLESS = frozenset({"text", "system"})
"""Classes for which nobody is asked where no policy says otherwise."""
DECIDE = "approvals:own:decide"
DEFAULT = "default"
"""What stands for the policy where there is none."""


class RequiredApproval(msgspec.Struct, frozen=True, kw_only=True):
    """One approval that a plan waits for."""

    name: str
    """What it is for: unique in the plan."""
    roles: tuple[str, ...]
    quorum: int = 1
    because: tuple[str, ...]
    could: tuple[str, ...] = ()
    """Persons who could give it, the requester left out."""


class ApprovalRules(msgspec.Struct, frozen=True, kw_only=True):
    policy: str
    """Name of the policy; `default` where there is none."""
    approvals: tuple[RequiredApproval, ...]
    expires: str
    emergency: tuple[str, ...]
    notes: tuple[str, ...] = ()


def present_classes(differences: Iterable[DocumentChange]) -> dict[str, list[DocumentChange]]:
    """The differences by class; those that break somebody also under `breaking`."""
    found: dict[str, list[DocumentChange]] = {}
    for one in differences:
        for class_ in (*one.classes, *(("breaking",) if one.breaking else ())):
            found.setdefault(class_, []).append(one)
    return found


def asked(
    old: Model, new: Model, differences: Sequence[DocumentChange], requester: str, persons: Sequence[Person]
) -> ApprovalRules:
    """The approvals of a plan. `old` is the model in force: its policy counts."""
    policy = next((p for p in old.policies.values() if p.change is not None), None)
    there = present_classes(differences)
    if policy is None or policy.change is None:
        approvals, notes = _by_default(old, new, there, requester, persons)
        return ApprovalRules(policy=DEFAULT, approvals=approvals, expires=EXPIRES, emergency=(), notes=notes)
    found = list(_by_policy(old, new, policy.name, policy.change, there))
    approvals = tuple(_who(old, one, requester, persons) for one in _once(found))
    lost = [one for one in approvals if len(one.could) < one.quorum]
    notes = tuple(
        f"nobody can give the approval {one.name}: {one.quorum} other active of {' or '.join(one.roles)} "
        "with the permission to decide are needed"
        for one in lost
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
    old: Model, new: Model, policy: str, change: kinds.Change, there: dict[str, list[DocumentChange]]
) -> Iterable[RequiredApproval]:
    named = {class_ for rule in change.approve for class_ in rule.of}
    rest = [class_ for class_ in there if class_ not in named and class_ != "breaking"]
    for rule in change.approve:
        touched = [c for c in there if c in rule.of or ("other" in rule.of and c in rest)]
        if not touched or rule.automatic:
            continue
        because = f"`{policy}` asks for it: {', '.join(touched)}"
        if rule.owners:
            yield from _owners(old, new, _of(there, touched))
        else:
            name = "+".join(touched)
            yield RequiredApproval(name=name, roles=tuple(rule.roles), quorum=rule.quorum, because=(because,))
    if rest and "other" not in named:
        yield from _owners(old, new, _of(there, rest))


def _of(there: dict[str, list[DocumentChange]], classes: Iterable[str]) -> list[DocumentChange]:
    found = {(one.kind, one.name): one for class_ in classes for one in there[class_]}
    return list(found.values())


def _owners(old: Model, new: Model, differences: Sequence[DocumentChange]) -> list[RequiredApproval]:
    """One approval of each role that owns something of it; where nobody owns anything, one of any who may decide."""
    found = reviewers(old, new, differences)
    if found:
        return [RequiredApproval(name=f"owner:{r.role}", roles=(r.role,), because=r.because) for r in found]
    return [RequiredApproval(name="anybody", roles=_deciders(old), because=("nobody owns what it touches",))]


def _by_default(
    old: Model,
    new: Model,
    there: dict[str, list[DocumentChange]],
    requester: str,
    persons: Sequence[Person],
) -> tuple[tuple[RequiredApproval, ...], tuple[str, ...]]:
    risky = [class_ for class_ in there if class_ not in HARMLESS]
    if not risky:
        return (), ("nobody is asked: it changes nothing but words and load",)
    reviews: list[Review] = reviewers(old, new, _of(there, risky))
    roles = tuple(review.role for review in reviews) or _deciders(old)
    because = tuple(f"{review.role} {review.because[0]}" for review in reviews) or (
        "nobody owns what it touches",
    )
    one = _who(old, RequiredApproval(name="owners", roles=roles, because=because), requester, persons)
    if one.could:
        return (one,), ()
    anybody = _who(
        old, RequiredApproval(name="anybody", roles=_deciders(old), because=because), requester, persons
    )
    if anybody.could:
        return (anybody,), ("no other active person owns anything of it: anybody who may decide is asked",)
    return (), ("nobody is asked: no other active person may decide approvals",)


def _deciders(model: Model) -> tuple[str, ...]:
    return tuple(sorted(name for name, role in model.roles.items() if DECIDE in role.may))


def _who(model: Model, one: RequiredApproval, requester: str, persons: Sequence[Person]) -> RequiredApproval:
    deciders = set(_deciders(model))
    could = tuple(
        sorted(
            p.id
            for p in persons
            if p.active and p.id != requester and set(p.roles) & set(one.roles) and set(p.roles) & deciders
        )
    )
    return msgspec.structs.replace(one, could=could)


def _once(found: Iterable[RequiredApproval]) -> list[RequiredApproval]:
    """Approvals of the same roles and quorum are one, for all their reasons."""
    merged: dict[tuple[tuple[str, ...], int], RequiredApproval] = {}
    for one in found:
        key = (tuple(sorted(one.roles)), one.quorum)
        held = merged.get(key)
        if held is not None:
            one = msgspec.structs.replace(held, because=tuple(dict.fromkeys((*held.because, *one.because))))
        merged[key] = one
    return list(merged.values())
