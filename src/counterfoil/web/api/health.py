"""Whether the server is alive and ready, and its numbers for Prometheus."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from litestar import Request, get
from litestar.response import Response

from counterfoil.flow.context.deprecations import RECENT, DeprecatedInUse, in_use
from counterfoil.flow.intake.load_shedding import Intake
from counterfoil.store.port.stalled import KINDS, StalledFinding
from counterfoil.web.http.access import application, requires
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.ports import App

Asked = Request[Any, Any, Any]
PROMETHEUS = "text/plain; version=0.0.4; charset=utf-8"
_STATES = {
    "run": ("counterfoil_runs", "status", "Runs by status"),
    "effect": ("counterfoil_effects", "state", "Effects by state"),
    "foil": ("counterfoil_foils", "state", "Counterfoils by state"),
    "case": ("counterfoil_cases", "state", "Cases by state"),
    "approval": ("counterfoil_approvals", "state", "Approvals by state"),
    "link": ("counterfoil_links", "status", "Links by status"),
    "todo": ("counterfoil_todos", "state", "Deliveries not admitted yet"),
}
_TOTALS = {
    "receipt": ("counterfoil_receipts", "Receipts kept"),
    "event": ("counterfoil_events", "Canonical events kept"),
    "pending": ("counterfoil_leaves_pending", "Audit leaves that wait to be sealed"),
    "tree": ("counterfoil_leaves_sealed", "Audit leaves in the tree"),
}


@get("/healthz", opt=requires(Open.PUBLIC), tags=["operations"], summary="The process answers")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get("/readyz", opt=requires(Open.PUBLIC), tags=["operations"], summary="The server takes work")
async def readyz(request: Asked) -> Response[dict[str, bool]]:
    """200 when ready, 503 when not; what else there is to say is for those who may read it."""
    ready = bool((await application(request).health()).get("ready"))
    return Response({"ready": ready}, status_code=200 if ready else 503)


@get(
    "/v1/health",
    opt=requires(Permission.METRICS_ANY_READ),
    tags=["operations"],
    summary="Systems and backlog",
)
async def health(request: Asked) -> dict[str, Any]:
    return await application(request).health()


@get(
    "/metrics",
    opt=requires(Permission.METRICS_ANY_READ),
    tags=["operations"],
    summary="Prometheus",
    media_type="text/plain",
)
async def metrics(request: Asked) -> Response[str]:
    return Response(await exposition(application(request)), media_type=PROMETHEUS)


async def exposition(app: App) -> str:
    """Counts by state, backlog and the age of the oldest due thing, in Prometheus' text format 0.0.4."""
    counts = await app.views.counts()
    lines: list[str] = []
    for table, (name, label, about) in _STATES.items():
        lines += [f"# HELP {name} {about}.", f"# TYPE {name} gauge"]
        for key, count in sorted(counts.items()):
            head, _, state = key.partition(".")
            if head == table and state:
                lines.append(f'{name}{{{label}="{state}"}} {count}')
    for key, (name, about) in _TOTALS.items():
        lines += [f"# HELP {name} {about}.", f"# TYPE {name} gauge", f"{name} {counts.get(key, 0)}"]
    lines += _due(await app.store.next_due(), await app.now())
    lines += _ready(await app.health())
    lines += _intake(app.intake)
    lines += _stuck(await app.store.stuckness())
    lines += _deprecated(await in_use(app.store, app.model, now := await app.now()), now)
    lines += _calls(app.gateway.counts)
    return "\n".join(lines) + "\n"


def _due(due: datetime | None, now: datetime) -> list[str]:
    late = max(0.0, (now - due).total_seconds()) if due is not None else 0.0
    name = "counterfoil_oldest_due_seconds"
    return [
        f"# HELP {name} How long the oldest due thing has waited.",
        f"# TYPE {name} gauge",
        f"{name} {late:g}",
    ]


def _ready(health: Mapping[str, Any]) -> list[str]:
    name = "counterfoil_ready"
    value = 1 if health.get("ready") else 0
    return [f"# HELP {name} Whether the server takes work.", f"# TYPE {name} gauge", f"{name} {value}"]


def _intake(intake: Intake) -> list[str]:
    name, queue = "counterfoil_intake_shed_total", "counterfoil_intake_queue"
    return [
        f"# HELP {name} Deliveries refused with 503 before anything was kept, by what there was too much of.",
        f"# TYPE {name} counter",
        *(f'{name}{{over="{over}"}} {intake.refused[over]}' for over in ("queue", "backlog", "age")),
        f"# HELP {queue} Transitions of this process that wait for a transaction.",
        f"# TYPE {queue} gauge",
        f"{queue} {intake.depth}",
    ]


def _stuck(held: Sequence[StalledFinding]) -> list[str]:
    """Every kind is told, so that an alert on one needs no history."""
    name = "counterfoil_stuck"
    counts = Counter(dict.fromkeys(KINDS, 0))
    for each in held:
        counts[each.stuck.kind] += each.stuck.count
    return [
        f"# HELP {name} What makes no progress by the latest scan, by kind.",
        f"# TYPE {name} gauge",
        *(f'{name}{{kind="{kind}"}} {count}' for kind, count in counts.items()),
    ]


def _deprecated(found: Sequence[DeprecatedInUse], now: datetime) -> list[str]:
    """How many use each deprecated version, so that an alert can be set before the sunset and not after it."""
    users, uses, left = (
        "counterfoil_deprecated_users",
        "counterfoil_deprecated_uses_total",
        "counterfoil_sunset_seconds",
    )
    days = [(held.lifecycle.name, held.lifecycle.sunset) for held in found]
    return [
        f"# HELP {users} Who used a deprecated version in the last thirty days, or has Runs that wait for it.",
        f"# TYPE {users} gauge",
        *(f'{users}{{name="{h.lifecycle.name}"}} {len(h.users(now - RECENT))}' for h in found),
        f"# HELP {uses} Counted uses of a deprecated version.",
        f"# TYPE {uses} counter",
        *(f'{uses}{{name="{h.lifecycle.name}"}} {sum(each.count for each in h.used)}' for h in found),
        f"# HELP {left} Until the sunset of a deprecated version; below zero after it.",
        f"# TYPE {left} gauge",
        *(f'{left}{{name="{n}"}} {(day - now).total_seconds():.0f}' for n, day in days if day is not None),
    ]


def _calls(counts: Mapping[tuple[str, str], int]) -> list[str]:
    name = "counterfoil_operation_calls_total"
    return [
        f"# HELP {name} Calls of operations that this process has answered or refused, by what became of them.",
        f"# TYPE {name} counter",
        *(
            f'{name}{{operation="{operation}",outcome="{outcome}"}} {count}'
            for (operation, outcome), count in sorted(counts.items())
        ),
    ]


ROUTES = [healthz, readyz, health, metrics]
