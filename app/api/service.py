"""The public types of the service itself: its limits and its health."""

import strawberry

from app.api.context import Info
from app.api.enums import Accounting, HealthStatus
from app.api.figures import Limits, age_ms
from app.api.history import MAX_PAGE, milliseconds
from app.api.inputs import DEFAULT_WAIT_MS, MAX_WAIT_MS
from app.api.scalars import BigInt
from app.domain.ports import Executor, PoolFigures
from app.executions.rules import Rules
from app.executions.slots import Occupancy
from app.storage.store import QueueLength
from app.version import VERSION


@strawberry.type(description="What this service accepts.")
class ServiceLimits:
    defaults: Limits = strawberry.field(description="For a run that asks for nothing else.")
    maximums: Limits = strawberry.field(description="What a run may ask for at most.")
    source_bytes: BigInt = strawberry.field(description="A program's text.")
    stdin_bytes: BigInt = strawberry.field(description="Standard input.")
    args: int = strawberry.field(description="How many arguments.")
    args_bytes: BigInt = strawberry.field(description="All arguments together.")
    files: int = strawberry.field(description="How many files beside the program.")
    files_bytes: BigInt = strawberry.field(description="All these files together.")
    tests: int = strawberry.field(description="How many tests of a program.")
    tests_bytes: BigInt = strawberry.field(
        description="What all these tests read and expect, together."
    )
    metadata_bytes: BigInt = strawberry.field(description="`metadata` as JSON.")
    metadata_depth: int = strawberry.field(description="How deep `metadata` may be nested.")
    text_length: int = strawberry.field(description="Characters of a label or session id.")
    default_wait_ms: int = strawberry.field(description="`waitMs` when it is left out.")
    max_wait_ms: int = strawberry.field(description="The longest `waitMs`.")
    page_size: int = strawberry.field(description="Executions on a page at most.")

    @classmethod
    def of(cls, rules: Rules) -> "ServiceLimits":
        """Translate."""
        return cls(
            defaults=Limits.of(rules.defaults),
            maximums=Limits.of(rules.maximums),
            source_bytes=BigInt(rules.source),
            stdin_bytes=BigInt(rules.stdin),
            args=rules.args,
            args_bytes=BigInt(rules.args_size),
            files=rules.files,
            files_bytes=BigInt(rules.files_size),
            tests=rules.tests,
            tests_bytes=BigInt(rules.tests_size),
            metadata_bytes=BigInt(rules.metadata),
            metadata_depth=rules.metadata_depth,
            text_length=rules.text_length,
            default_wait_ms=DEFAULT_WAIT_MS,
            max_wait_ms=MAX_WAIT_MS,
            page_size=MAX_PAGE,
        )


@strawberry.type(description="Sandboxes that are kept ready.")
class PoolHealth:
    ready: int = strawberry.field(description="Sandboxes that wait for a program.")
    starting: int = strawberry.field(description="Sandboxes that are being made.")
    target: int = strawberry.field(description="How many to keep ready; it follows demand.")
    create_p50_ms: float | None = strawberry.field(description="Half were made in this time.")
    create_p95_ms: float | None = strawberry.field(description="95 of 100 were made in this time.")
    warm_hit_rate: float | None = strawberry.field(
        description="The share of programs that found one ready."
    )
    is_broken: bool = strawberry.field(
        description="Whether making them fails, so that no program is accepted."
    )

    @classmethod
    def of(cls, figures: PoolFigures) -> "PoolHealth":
        """Translate."""
        return cls(
            ready=figures.ready,
            starting=figures.starting,
            target=figures.target,
            create_p50_ms=milliseconds(figures.create_p50),
            create_p95_ms=milliseconds(figures.create_p95),
            warm_hit_rate=figures.warm_hit_rate,
            is_broken=figures.is_broken,
        )


@strawberry.type(description="Where programs run.")
class ExecutorHealth:
    name: str = strawberry.field(description="Its kind.")
    status: HealthStatus = strawberry.field(description="Whether it runs programs.")
    problem: str | None = strawberry.field(description="What is wrong, if something is.")
    memory: Accounting = strawberry.field(description="How memory is counted and bounded.")
    cpu_time: Accounting = strawberry.field(description="How CPU time is counted.")
    pool: PoolHealth | None = strawberry.field(
        description="What it keeps ready; null where nothing is."
    )


@strawberry.type(description="Where the history is kept.")
class DatabaseHealth:
    status: HealthStatus = strawberry.field(description="Whether it answers.")


@strawberry.type(description="How full the service is.")
class Load:
    slots: int = strawberry.field(description="Programs that this server can run at one time.")
    running: int = strawberry.field(description="Programs that it runs.")
    queue_size: int = strawberry.field(description="Programs that can wait.")
    queued: int | None = strawberry.field(
        description="Programs that wait, for this server or another one; null when the database "
        "does not answer."
    )
    oldest_age_ms: float | None = strawberry.field(
        description="How long the first of these has waited; null when none does."
    )

    @classmethod
    def of(cls, occupancy: Occupancy, queue: QueueLength | None) -> "Load":
        """Translate."""
        return cls(
            slots=occupancy.slots,
            running=occupancy.running,
            queue_size=occupancy.queue_size,
            queued=None if queue is None else queue.length,
            oldest_age_ms=age_ms(queue.oldest) if queue and queue.oldest else None,
        )


@strawberry.type(description="Whether the service can do its work.")
class Health:
    version: str = strawberry.field(description="Of Greenroom.")
    status: HealthStatus = strawberry.field(description="Of all parts together.")
    executor: ExecutorHealth = strawberry.field(description="Where programs run.")
    database: DatabaseHealth = strawberry.field(description="Where the history is kept.")
    load: Load = strawberry.field(description="How full this server is.")


async def look_at_health(info: Info) -> Health:
    """Ask each part how it is."""
    context = info.context
    beat = await context.pulse.feel()
    database = HealthStatus.OK if beat.is_alive else HealthStatus.DEGRADED
    executor = _executor_health(context.executions.executor, context.vigil.problem)
    is_ok = database is HealthStatus.OK and executor.status is HealthStatus.OK
    return Health(
        version=VERSION,
        status=HealthStatus.OK if is_ok else HealthStatus.DEGRADED,
        executor=executor,
        database=DatabaseHealth(status=database),
        load=Load.of(context.executions.occupancy(), beat.queue),
    )


def _executor_health(executor: Executor, problem: str | None) -> ExecutorHealth:
    state = executor.state()
    counts = Accounting.EXACT if state.counts_exactly else Accounting.APPROXIMATE
    return ExecutorHealth(
        name=executor.name,
        status=HealthStatus.DEGRADED if problem else HealthStatus.OK,
        problem=problem,
        memory=counts,
        cpu_time=counts,
        pool=PoolHealth.of(state.pool) if state.pool else None,
    )
