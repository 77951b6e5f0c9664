"""Receivers of a notice of a Case or an approval: persons who may act on it, within their legal entities.

Pure. A person without the permission to read Cases or approvals receives none of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime

from counterfoil.core.approval import Approval
from counterfoil.core.case import Case, CaseState
from counterfoil.core.delegation import Delegation
from counterfoil.core.delivery import CHANNEL_PREFIX, UNDELIVERED
from counterfoil.core.notice import COMPANY, NewNotice, NoticeKind
from counterfoil.core.people import Person
from counterfoil.core.permissions import Permission
from counterfoil.model import Model
from counterfoil.model.kinds import NoticeChannel
from counterfoil.rules.delegations import for_decision, may_decide, pending_decision
from counterfoil.rules.entities import acting_roles

READS = {
    NoticeKind.CASE: Permission.CASES_ANY_READ,
    NoticeKind.ASSIGNED: Permission.CASES_ANY_READ,
    NoticeKind.DEADLINE: Permission.CASES_ANY_READ,
    NoticeKind.APPROVAL: Permission.APPROVALS_ANY_READ,
}
"""The permission that a person needs for notices of each kind."""


def case_notice(
    model: Model, case: Case, entity: str | None, document: str, persons: Iterable[Person]
) -> NewNotice:
    """Return the notice of a new Case, for the persons of the role that owns it. A resolved one has no receivers."""
    owners = _owners(model, case, entity, persons) + _case_channels(model, NoticeKind.CASE, case, entity)
    mail = _case_mail(model, NoticeKind.CASE, case, entity)
    return _of_case(NoticeKind.CASE, case, entity, document, owners, mail)


def deadline_notice(
    model: Model, case: Case, entity: str | None, document: str, persons: Iterable[Person]
) -> NewNotice:
    """Return the notice of a near deadline: for the person who works on the Case, else for those of its role."""
    owners = _owners(model, case, entity, persons)
    assigned = [id_ for id_ in owners if id_ == case.assignee]
    receivers = (assigned or owners) + _case_channels(model, NoticeKind.DEADLINE, case, entity)
    mail = _case_mail(model, NoticeKind.DEADLINE, case, entity)
    return _of_case(NoticeKind.DEADLINE, case, entity, document, receivers, mail)


def assigned_notice(
    model: Model, case: Case, entity: str | None, document: str, receiver: Person | None, giver: str
) -> NewNotice | None:
    """Return the notice of a Case that another person gives to the receiver; None for one that a person takes."""
    if receiver is None or receiver.id == giver:
        return None
    mail = _case_mail(model, NoticeKind.CASE, case, entity)
    return _of_case(NoticeKind.ASSIGNED, case, entity, document, [receiver.id], mail)


def may_receive(model: Model, person: Person, notice_kind: NoticeKind, entity: str) -> bool:
    """Report whether a person may still read a notice that was written for them, by the roles of this time."""
    return _may(model, person, None if entity == COMPANY else entity, READS[notice_kind])


def approval_notice(
    model: Model,
    approval: Approval,
    persons: Iterable[Person],
    now: datetime,
    delegations: Sequence[Delegation] = (),
) -> NewNotice:
    """Return the notice of an approval that waits, for the persons who may decide it: never for its requester.

    A person to whom a decider delegated is one of them. `delegations` are all that exist.
    """
    decision = pending_decision(approval)
    entity = decision.entity
    by_id = {person.id: person for person in persons}
    deciders = [
        person.id
        for person in by_id.values()
        if approval.state == "open"
        and not approval.automatic
        and _may(model, person, entity, READS[NoticeKind.APPROVAL])
        and not approval.part_of(person)
        and (
            may_decide(model, person, decision, now)
            or for_decision(model, delegations, by_id, person, decision, now) is not None
        )
    ]
    if approval.state == "open" and not approval.automatic:
        deciders += _channels(model, NoticeKind.APPROVAL, approval.roles, entity)
    return NewNotice(
        kind=NoticeKind.APPROVAL, subject=approval.id, cause=approval.id, entity=COMPANY if entity is None else entity,
        reason=approval.policy, amounts=() if approval.amount is None else (approval.amount,),
        due=approval.expires, persons=tuple(deciders),
        mail=_mail_channel(model, NoticeKind.APPROVAL, approval.roles, entity),
    )  # fmt: skip


def _case_channels(model: Model, kind: NoticeKind, case: Case, entity: str | None) -> list[str]:
    if case.state is not CaseState.OPEN or case.reason == UNDELIVERED:
        return []
    return _channels(model, kind, [case.owner], entity)


def _case_mail(model: Model, kind: NoticeKind, case: Case, entity: str | None) -> str:
    return "" if case.reason == UNDELIVERED else _mail_channel(model, kind, [case.owner], entity)


def _channels(model: Model, kind: NoticeKind, roles: Iterable[str], entity: str | None) -> list[str]:
    """Return the receivers that stand for channels of roles, for a kind of notice and within their legal entities."""
    return [
        f"{CHANNEL_PREFIX}{channel.name}"
        for channel in _channels_of(model, kind, roles, entity)
        if channel.mail is None
    ]


def _mail_channel(model: Model, kind: NoticeKind, roles: Iterable[str], entity: str | None) -> str:
    """Return the first channel that mails a kind of notice of roles to persons; empty if there is none."""
    mails = (c.name for c in _channels_of(model, kind, roles, entity) if c.mail is not None)
    return next(mails, "")


def _channels_of(
    model: Model, kind: NoticeKind, roles: Iterable[str], entity: str | None
) -> list[NoticeChannel]:
    of_roles = set(roles)
    return [
        channel
        for _, channel in sorted(model.channels.items())
        if (channel.notices is None or str(kind) in channel.notices)
        and not of_roles.isdisjoint(channel.roles)
        and (
            channel.entities is None
            or (entity is not None and (entity or model.default_entity) in channel.entities)
        )
    ]


def _owners(model: Model, case: Case, entity: str | None, persons: Iterable[Person]) -> list[str]:
    if case.state is not CaseState.OPEN:
        return []
    return [
        person.id
        for person in persons
        if _may(model, person, entity, READS[NoticeKind.CASE])
        and case.owner in acting_roles(model, person, entity)
    ]


def _may(model: Model, person: Person, entity: str | None, permission: Permission) -> bool:
    """Report whether an active person has a permission by a role that acts for the legal entity."""
    roles = acting_roles(model, person, entity) if person.active else frozenset[str]()
    return any(permission in model.roles[name].may for name in roles if name in model.roles)


def _of_case(
    kind: NoticeKind, case: Case, entity: str | None, document: str, persons: Iterable[str], mail: str
) -> NewNotice:
    # A Case that a person gave to another is a notice of its own; Cases of one cause are one notice.
    cause = case.id if kind is NoticeKind.ASSIGNED else case.cause or case.reason
    return NewNotice(
        kind=kind, subject=case.id, cause=cause, entity=COMPANY if entity is None else entity, reason=case.reason,
        document=document, amounts=case.exposure, due=case.deadline, persons=tuple(persons), mail=mail,
    )  # fmt: skip
