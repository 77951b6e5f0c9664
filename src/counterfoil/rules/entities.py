"""The legal entity of a fact: what the fact says, else that of its system, else the company's default one.

Pure. A company that declares no legal entities has facts without one, or with what its mappings say.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from counterfoil.core.canonical import CanonicalEvent, Head
from counterfoil.core.entity_scope import EntityScope
from counterfoil.core.finding import did_you_mean
from counterfoil.core.people import Person
from counterfoil.model import Model
from counterfoil.rules.envelope import entity_of_start

NAME = "legal_entity"


def entity_of_fact(model: Model, system: str, named: str, data: Mapping[str, Any]) -> str:
    """Return the legal entity of an event from a system. `named` is the one that its mapping or its envelope names."""
    kind = model.systems.get(system)
    return named or str(data.get(NAME) or "") or (kind and kind.legal_entity) or model.default_entity


def entity_fault(model: Model, system: str, entity: str) -> tuple[str, str] | None:
    """Return why an event from a system cannot belong to a legal entity, with the reason of its Case; None if it can."""
    if not model.legal_entities:
        return None
    if entity not in model.legal_entities:
        fix = did_you_mean(entity, model.legal_entities, "declare it as a document of kind legal_entity")
        return "contract", f"no file declares the legal entity {entity!r}; {fix}"
    kind = model.systems.get(system)
    if kind is not None and kind.legal_entity not in (None, entity):
        own = kind.legal_entity
        return "ownership", f"{system} belongs to the legal entity {own}, and this is a fact of {entity}"
    return None


def moved_head(model: Model, event: CanonicalEvent, head: Head | None) -> str | None:
    """Return why an event may not move its object to its own legal entity; None if it may, or if nothing moves.

    A system with an entity of its own is evidence of whose the object is. Without such a fact, the entity of the head may
    be only the default one, which holds until a fact names another. Only a system of record moves its objects: what another
    system shows in the books of another entity is an observation, which breaks its counterfoil.
    """
    object_ = model.objects.get(event.object)
    if (
        head is None
        or not model.legal_entities
        or object_ is None
        or model.family(event.system) != object_.system
    ):
        return None
    entity, holder = event.legal_entity or model.default_entity, head.entity or model.default_entity
    if entity == holder:
        return None
    owners = [name for name, kind in model.systems.items() if kind.legal_entity == holder]
    owner = next((name for name in sorted(owners) if name == head.system or name in head.versions), None)
    if owner is None:
        return None
    return (
        f"{event.type} is a fact of the legal entity {entity}, but {event.object} {event.key} belongs to {holder}: "
        f"{owner} reported it"
    )


def entity_of_names(model: Model, names: Mapping[str, Any]) -> str:
    """Return the legal entity of the event, object or input that starts a Run."""
    return entity_of_start(names) or model.default_entity


def role_scope(model: Model, person: Person, role: str) -> EntityScope:
    """Return the legal entities for which a person acts in a role: those of both, where both name some."""
    of_role, of_person = model.roles[role].entities, person.entities
    if not of_role and not of_person:
        return EntityScope(None, model.default_entity)
    names = set(of_role or of_person) & set(of_person or of_role or ())
    return EntityScope(frozenset(names), model.default_entity)


def idle_roles(model: Model, person: Person | None, entity: str | None) -> frozenset[str]:
    """Return the roles of a person that do not act for a legal entity; None: for the company as a whole."""
    if person is None:
        return frozenset()
    scopes = {role: role_scope(model, person, role) for role in person.roles if role in model.roles}
    acts = {r for r, scope in scopes.items() if (scope.everything if entity is None else scope.sees(entity))}
    return frozenset(scopes.keys() - acts)


def excluded_role(model: Model, person: Person, policy: str, entity: str | None, on: date) -> str | None:
    """Return a role of the person that an approval policy excludes from its decisions; None if it excludes none of them.

    The policy is that of the legal entity, and a role counts in every entity.
    """
    of_entity = model.at(entity, on) if entity else model
    kind = of_entity.policies.get(policy)
    excludes = kind.approval.excludes if kind is not None and kind.approval is not None else []
    return next((role for role in excludes if role in person.roles), None)


def deciding_roles(model: Model, person: Person, policy: str, entity: str | None, on: date) -> frozenset[str]:
    """Return the roles by which a person decides approvals of a policy for a legal entity; None: for the company."""
    if excluded_role(model, person, policy, entity, on) is not None:
        return frozenset()
    return acting_roles(model, person, entity)


def acting_roles(model: Model, person: Person, entity: str | None) -> frozenset[str]:
    """Return the roles by which a person acts for a legal entity; None: for the company as a whole."""
    return frozenset(person.roles) - idle_roles(model, person, entity)
