"""`/metrics`: what a Prometheus server reads of this process."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from http import HTTPStatus

import anyio.to_thread
from prometheus_client import CONTENT_TYPE_LATEST, ProcessCollector, generate_latest
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from app.api.context import Services
from app.api.entrance import Entrance
from app.api.requests import BadRequestError
from app.domain.access import Role
from app.domain.ports import PoolFigures
from app.executions.figures import Figures
from app.executions.pulse import Beat
from app.executions.slots import Occupancy
from app.storage.errors import StorageError
from app.version import VERSION

Gauges = Iterator[GaugeMetricFamily]


async def metrics(services: Services, entrance: Entrance, request: Request) -> Response:
    """Look at everything, add what was counted since the start, and answer in text.

    Where one must say who one is, they are for administrators: they are of all owners together.
    """
    try:
        visit, _ = await entrance.admit(request.scope)
    except BadRequestError as error:
        return Response(error.message, status_code=error.status, headers=error.headers)
    except StorageError:
        message = "Keys cannot be looked at now."
        return Response(message, status_code=HTTPStatus.SERVICE_UNAVAILABLE)
    if visit.caller.role is not Role.ADMIN:
        return Response("Metrics are for administrators.", status_code=HTTPStatus.FORBIDDEN)
    executions = services.executions
    moment = _Moment(
        executor=executions.executor.name,
        pool=executions.executor.state().pool,
        can_run=services.vigil.problem is None,
        occupancy=executions.occupancy(),
        beat=await services.pulse.feel(),
        hears_others=services.history.feed.is_connected,
    )
    # In a thread: it reads files of /proc.
    text = await anyio.to_thread.run_sync(_write, moment, executions.figures)
    return Response(text, media_type=CONTENT_TYPE_LATEST, headers={"Cache-Control": "no-store"})


def _write(moment: "_Moment", figures: Figures) -> bytes:
    parts: tuple[Collector, ...] = (moment, figures.registry, ProcessCollector(registry=None))
    return b"".join(generate_latest(part) for part in parts)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Moment:
    """How this process is now."""

    executor: str
    pool: PoolFigures | None
    can_run: bool
    occupancy: Occupancy
    beat: Beat
    hears_others: bool

    def collect(self) -> Gauges:
        """Say it in Prometheus's words."""
        info = GaugeMetricFamily(
            "greenroom_info", "What runs here.", labels=("version", "executor")
        )
        info.add_metric((VERSION, self.executor), 1)
        yield info
        yield _gauge("greenroom_slots", "Programs that can run here.", self.occupancy.slots)
        yield _gauge("greenroom_slots_used", "Programs that run here.", self.occupancy.running)
        yield _gauge("greenroom_executor_up", "Whether programs can run.", self.can_run)
        yield from self._database()
        if self.pool is not None:
            yield from _pool(self.pool)

    def _database(self) -> Gauges:
        beat = self.beat
        yield _gauge("greenroom_database_up", "Whether the database answers.", beat.is_alive)
        yield _gauge("greenroom_database_seconds", "How long its answer took.", beat.seconds)
        yield _gauge("greenroom_feed_up", "Whether its news are heard.", self.hears_others)
        if beat.queue is not None:  # of all processes on this database together
            oldest, now = beat.queue.oldest, datetime.now(UTC)
            age = max((now - oldest).total_seconds(), 0.0) if oldest else 0.0
            yield _gauge("greenroom_queue_length", "Executions that wait.", beat.queue.length)
            yield _gauge("greenroom_queue_oldest_seconds", "How long the first has waited.", age)


def _pool(figures: PoolFigures) -> Gauges:
    sandboxes = GaugeMetricFamily("greenroom_pool_sandboxes", "Of the pool.", labels=("state",))
    for name in ("ready", "starting", "target"):
        sandboxes.add_metric((name,), getattr(figures, name))
    yield sandboxes
    create = GaugeMetricFamily(
        "greenroom_pool_create_seconds", "How long making one took.", labels=("quantile",)
    )
    for quantile, seconds in (("0.5", figures.create_p50), ("0.95", figures.create_p95)):
        if seconds is not None:
            create.add_metric((quantile,), seconds)
    yield create
    if figures.warm_hit_rate is not None:
        text = "The share of programs that found one ready."
        yield _gauge("greenroom_pool_warm_hit_ratio", text, figures.warm_hit_rate)


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, text, value=float(value))
