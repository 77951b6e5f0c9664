"""The caller: who a token belongs to, and what that person may do."""

from __future__ import annotations

import msgspec
from litestar import get

from counterfoil.web.http.permissions import Open, personal_permissions
from counterfoil.web.http.request import WebRequest, application, caller, requires


class MeShape(msgspec.Struct, frozen=True, kw_only=True):
    id: str
    name: str
    roles: list[str]
    entities: list[str] | None
    """Legal entities whose records the person sees. None: every entity."""
    permissions: list[str]


@get("/v1/me", opt=requires(Open.SIGNED_IN), tags=["people"], summary="The caller", sync_to_thread=False)
def get_me(request: WebRequest) -> MeShape:
    """The person whose token the request has."""
    identity, app = caller(request), application(request)
    scope = app.scope
    return MeShape(
        id=identity.person.id,
        name=identity.person.name,
        roles=sorted(identity.person.roles),
        entities=None if scope.names is None else sorted(scope.names),
        permissions=sorted([*identity.may, *personal_permissions(identity.person, app.model)]),
    )


ROUTES = [get_me]
