"""Edits of Cases by persons, as transitions of the store: assignee, comments, tags and snooze."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from counterfoil.core.case_edits import AssignCase, CaseEdit
from counterfoil.core.people import Person
from counterfoil.model import Model
from counterfoil.rules.entities import acting_roles, idle_roles
from counterfoil.rules.notices import assigned_notice
from counterfoil.store.port.case_edits import EditCase, EditVerdict
from counterfoil.store.port.store import Store
from counterfoil.store.port.views import CaseRow

MayResolveAny = Callable[[Person], bool]
"""Reports whether the roles of a person may resolve the Cases of any role."""


async def edit_case(
    store: Store, model: Model, case_id: str, person_id: str, edit: CaseEdit, may_any: MayResolveAny
) -> EditVerdict:
    """Record an edit and return the store's verdict."""
    target = await store.case(case_id)
    if target is None:
        return "not_found"
    person = await store.person(person_id)
    receiver = await store.person(edit.assignee) if isinstance(edit, AssignCase) and edit.assignee else None
    change = EditCase(
        case=case_id,
        person=person_id,
        edit=edit,
        at=await store.now(),
        idle=idle_roles(model, person, target.entity),
        override=person is not None and may_any(person),
        receiver_idle=idle_roles(model, receiver, target.entity),
        receiver_override=receiver is not None and _may_any_of(model, receiver, target.entity, may_any),
        notice=assigned_notice(model, target.case, target.entity, target.bkey or "", receiver, person_id),
    )
    return (await store.apply(change)).verdict


def assignable(model: Model, row: CaseRow, persons: Iterable[Person], may_any: MayResolveAny) -> list[Person]:
    """Return the active persons who may decide a Case of its legal entity, by name."""
    fit = [
        person
        for person in persons
        if person.active
        and (
            row.case.owner in acting_roles(model, person, row.entity)
            or _may_any_of(model, person, row.entity, may_any)
        )
    ]
    return sorted(fit, key=lambda person: (person.name, person.id))


def _may_any_of(model: Model, person: Person, entity: str | None, may_any: MayResolveAny) -> bool:
    """Report whether a person may resolve any Case, and sees those of the legal entity."""
    return may_any(person) and bool(acting_roles(model, person, entity))
