"""Health of the server: alive, ready, its backlog, and its metrics for Prometheus."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from litestar import get
from litestar.response import Response
from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from counterfoil.application import Application
from counterfoil.core.errors import TryAgain
from counterfoil.core.personal_texts import without_answer
from counterfoil.core.run import RunStatus
from counterfoil.core.waiting import waits_for
from counterfoil.flow.context.deprecations import RECENT_USE, DeprecatedVersion, in_use
from counterfoil.flow.intake.load_shedding import RETRY_AFTER_SECONDS, Intake
from counterfoil.store.port.stalled import KINDS, StalledFinding
from counterfoil.store.port.views import ListFilter
from counterfoil.web.http.permissions import Open, Permission
from counterfoil.web.http.request import WebRequest, application, requires

log = logging.getLogger("counterfoil.web")
MAX_WAITING_RUNS = 10
TEXT_FORMAT = "text/plain; version=0.0.4; charset=utf-8"
_STATES = {
    "run": ("counterfoil_runs", "status", "Runs by status."),
    "effect": ("counterfoil_effects", "state", "Effects by state."),
    "foil": ("counterfoil_foils", "state", "Counterfoils by state."),
    "case": ("counterfoil_cases", "state", "Cases by state."),
    "approval": ("counterfoil_approvals", "state", "Approvals by state."),
    "link": ("counterfoil_links", "status", "Links by status."),
    "todo": ("counterfoil_todos", "state", "Deliveries that wait for admission."),
}
_TOTALS = {
    "receipt": ("counterfoil_receipts", "Stored receipts."),
    "event": ("counterfoil_events", "Stored canonical events."),
    "pending": ("counterfoil_leaves_pending", "Audit leaves that are not sealed yet."),
    "tree": ("counterfoil_leaves_sealed", "Sealed audit leaves."),
}


@get("/healthz", opt=requires(Open.PUBLIC), tags=["operations"], summary="Check that the process responds")
async def healthz() -> dict[str, str]:
    return {"status": "ok"}


@get(
    "/readyz",
    opt=requires(Open.PUBLIC, also={503: "The server is not ready."}),
    tags=["operations"],
    summary="Check that the server is ready",
)
async def readyz(request: WebRequest) -> Response[dict[str, bool]]:
    """200 when ready, 503 when not. Details need a permission: see /v1/health."""
    try:
        ready = bool((await application(request).health()).get("ready"))
    except Exception as error:
        log.warning("not ready: %s", error, exc_info=not isinstance(error, TryAgain))
        ready = False
    return Response({"ready": ready}, status_code=200 if ready else 503)


@get(
    "/v1/health",
    opt=requires(Permission.METRICS_ANY_READ),
    tags=["operations"],
    summary="Get the state of systems and backlog",
)
async def health(request: WebRequest) -> dict[str, Any]:
    """`waiting` has the newest Runs that wait, and what each waits for."""
    app = application(request)
    rows, _ = await app.views.runs(ListFilter(status=RunStatus.WAITING, limit=MAX_WAITING_RUNS))
    now = await app.now()
    waiting = [
        {"id": r.run.id, "key": r.run.bkey, "waits_for": waits_for(r.run, r.obstacles, now)} for r in rows
    ]
    return {**await system_health(app), "waiting": waiting}


async def system_health(app: Application) -> dict[str, Any]:
    """Return the state of systems and backlog. What a system answered may be personal, of any legal entity."""
    health = await app.health()
    if app.mask is None and app.scope.everything:
        return health
    faults = {
        part: {name: {**s, "error": without_answer(s.get("error") or "")} for name, s in health[part].items()}
        for part in ("feeds", "systems")
        if part in health
    }
    return health | faults


@get(
    "/metrics",
    opt=requires(Permission.METRICS_ANY_READ),
    tags=["operations"],
    summary="Get the metrics in Prometheus' text format",
    media_type="text/plain",
)
async def metrics(request: WebRequest) -> Response[bytes]:
    return Response(await exposition(application(request)), media_type=TEXT_FORMAT)


async def exposition(app: Application) -> bytes:
    """Return all metrics in Prometheus' text format 0.0.4."""
    counts = await app.views.counts()
    due = await app.store.next_due()
    ready = (await app.health()).get("ready")
    now = await app.now()
    registry = CollectorRegistry()
    registry.register(
        _Snapshot(
            [
                *_states(counts),
                *_totals(counts),
                _by_entity(await app.views.runs_by_entity(), app.model.default_entity),
                _lag(due, now),
                _gauge("counterfoil_ready", "1 if the server is ready, else 0.", 1 if ready else 0),
                *_intake(app.intake),
                _stalled(await app.store.stall_findings()),
                *_deprecated(await in_use(app.store, app.model, now), now),
                _calls(app.gateway.counts),
            ]
        )
    )
    return generate_latest(registry)


class _Snapshot(Collector):
    """Collector of metrics that are already read: the library collects synchronously, the store does not."""

    def __init__(self, families: Sequence[Metric]) -> None:
        self._families = families

    def collect(self) -> Iterable[Metric]:
        return self._families


def _gauge(name: str, description: str, value: float) -> Metric:
    return GaugeMetricFamily(name, description, value=value)


def _states(counts: Mapping[str, int]) -> Iterable[Metric]:
    for table, (name, label, description) in _STATES.items():
        family = GaugeMetricFamily(name, description, labels=[label])
        for key, count in sorted(counts.items()):
            head, _, state = key.partition(".")
            if head == table and state:
                family.add_metric([state], count)
        yield family


def _totals(counts: Mapping[str, int]) -> Iterable[Metric]:
    return (_gauge(name, description, counts.get(key, 0)) for key, (name, description) in _TOTALS.items())


def _by_entity(rows: Sequence[tuple[str, str, int]], default: str) -> Metric:
    """Rows without a legal entity belong to the default one; without entities, no sample is given."""
    family = GaugeMetricFamily(
        "counterfoil_entity_runs", "Runs of a legal entity, by status.", labels=["legal_entity", "status"]
    )
    counts: Counter[tuple[str, str]] = Counter()
    for entity, status, count in rows:
        counts[entity or default, status] += count
    for (entity, status), count in sorted(counts.items()):
        if entity:
            family.add_metric([entity, status], count)
    return family


def _lag(due: datetime | None, now: datetime) -> Metric:
    late = max(0.0, (now - due).total_seconds()) if due is not None else 0.0
    return _gauge("counterfoil_oldest_due_seconds", "Seconds that the oldest due work is overdue.", late)


def _intake(intake: Intake) -> Iterable[Metric]:
    shed = CounterMetricFamily(
        "counterfoil_intake_shed",
        "Deliveries rejected with 503 by load shedding, by the limit exceeded.",
        labels=["over"],
    )
    for limit in RETRY_AFTER_SECONDS:
        shed.add_metric([limit], intake.refused[limit])
    yield shed
    yield _gauge(
        "counterfoil_intake_queue", "Writes of this process that wait for a transaction.", intake.depth
    )


def _stalled(findings: Sequence[StalledFinding]) -> Metric:
    """Every kind has a sample, so an alert on one kind needs no history."""
    counts = Counter(dict.fromkeys(KINDS, 0))
    for finding in findings:
        counts[finding.stuck.kind] += finding.stuck.count
    family = GaugeMetricFamily(
        "counterfoil_stuck", "Rows without progress in the latest scan, by kind.", labels=["kind"]
    )
    for kind, count in counts.items():
        family.add_metric([kind], count)
    return family


def _deprecated(findings: Sequence[DeprecatedVersion], now: datetime) -> Iterable[Metric]:
    """Use of each deprecated version, so that an alert can fire before the sunset."""
    users = GaugeMetricFamily(
        "counterfoil_deprecated_users",
        "Users of a deprecated version in the last thirty days, including Runs that wait for it.",
        labels=["name"],
    )
    uses = CounterMetricFamily(
        "counterfoil_deprecated_uses", "Recorded uses of a deprecated version.", labels=["name"]
    )
    seconds = GaugeMetricFamily(
        "counterfoil_sunset_seconds",
        "Seconds until the sunset of a deprecated version; negative after it.",
        labels=["name"],
    )
    for finding in findings:
        name, sunset = finding.notice.name, finding.notice.sunset
        users.add_metric([name], len(finding.users(now - RECENT_USE)))
        uses.add_metric([name], sum(use.count for use in finding.used))
        if sunset is not None:
            seconds.add_metric([name], round((sunset - now).total_seconds()))
    return users, uses, seconds


def _calls(counts: Mapping[tuple[str, str], int]) -> Metric:
    family = CounterMetricFamily(
        "counterfoil_operation_calls",
        "Operation calls that this process answered or refused, by outcome.",
        labels=["operation", "outcome"],
    )
    for labels, count in sorted(counts.items()):
        family.add_metric(labels, count)
    return family


ROUTES = [healthz, readyz, health, metrics]
