"""Every route, permission, problem and field of the API is documented, and every route declares its requirement."""

from __future__ import annotations

import re
from typing import Any, get_type_hints

import msgspec
import pytest
from litestar import Litestar
from litestar.handlers import HTTPRouteHandler

from counterfoil.web.api import (
    audit_shapes,
    contracts,
    decisions,
    event_shapes,
    matches,
    shapes,
    statements,
    trace,
)
from counterfoil.web.http.permissions import COVERS, Open, Permission
from counterfoil.web.http.problems import _TITLES
from counterfoil.web.http.request import REQUIRES
from counterfoil.web.http.server import routes
from tests.source import ROOT

HTTP = (ROOT / "docs" / "reference" / "http.md").read_text("utf-8")
JSON = (ROOT / "docs" / "reference" / "json-output.md").read_text("utf-8")


class NoApplication:
    """Stands for an application: the tests read routes, and call none."""


def handlers(app: Litestar) -> list[tuple[str, str, Any]]:
    """Return method, documented path and requirement of each route."""
    rows: list[tuple[str, str, Any]] = []
    for route in app.routes:
        for handler in getattr(route, "route_handlers", []):
            if isinstance(handler, HTTPRouteHandler):
                path = re.sub(r"\{(\w+):\w+\}", r"{\1}", route.path)
                rows += [
                    (str(method), path, handler.opt.get(REQUIRES))
                    for method in handler.http_methods
                    if str(method) != "OPTIONS"
                ]
    return rows


SERVED = handlers(routes(NoApplication()))  # type: ignore[arg-type]


def test_there_are_routes() -> None:
    assert len(SERVED) > 25


@pytest.mark.parametrize(("method", "path", "requirement"), SERVED)
def test_a_route_declares_a_permission_and_is_documented(method: str, path: str, requirement: object) -> None:
    assert isinstance(requirement, Permission | Open), f"{method} {path} declares no requirement"
    cell = f"`{requirement}`" if isinstance(requirement, Permission) else str(requirement)
    assert f"| `{method} {path}` | {cell} |" in HTTP


def test_no_documented_route_is_missing() -> None:
    documented = set(re.findall(r"\| `([A-Z]+) (/[^`]*)` \|", HTTP))
    assert documented == {(method, path) for method, path, _ in SERVED}


@pytest.mark.parametrize("permission", list(Permission))
def test_a_permission_is_documented_and_required(permission: Permission) -> None:
    assert re.fullmatch(r"[a-z]+:[a-z]+:[a-z]+", permission)
    assert f"| `{permission}` |" in HTTP
    assert permission in {requirement for _, _, requirement in SERVED} or permission in COVERS


@pytest.mark.parametrize(
    "kind",
    sorted({kind for kind, _ in _TITLES.values()})
    + sorted(
        {
            kind
            for table in (decisions._DECIDE, decisions._RESOLVE, matches._REFUSALS)
            for _, kind, _ in table.values()
        }
    ),
)
def test_a_kind_of_problem_is_documented(kind: str) -> None:
    assert f"`{kind}`" in HTTP


@pytest.mark.parametrize(
    "shape",
    [
        shapes.RunShape, shapes.FoilShape, shapes.ItemShape, shapes.CaseShape, shapes.ApprovalShape, shapes.VoteShape,
        event_shapes.EventShape, shapes.EffectShape, shapes.LinkShape, shapes.InboxShape, audit_shapes.LeafShape, matches.MatchDecided,
        contracts.ContractShape, contracts.VersionShape, contracts.DeprecatedShape, contracts.UserShape,
        contracts.WaitingShape,
        statements.ListStatement, trace.Trace, trace.Moment, trace.LegShape, trace.ObservationShape,
    ],
)  # fmt: skip
def test_a_shape_is_documented_field_by_field(shape: type[msgspec.Struct]) -> None:
    fields = r",\s+".join(re.escape(name) for name in get_type_hints(shape))
    assert re.search(r"(?<![\w,] )" + fields, JSON), f"{shape.__name__}: {', '.join(get_type_hints(shape))}"
