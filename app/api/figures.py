"""Numbers about executions: what they may use, what they have used, how long they wait."""

from datetime import UTC, datetime

import strawberry

from app.api.scalars import BigInt
from app.domain import limits
from app.domain.execution import Usage
from app.storage.store import QueuePlace


@strawberry.type(description="What a program may use.")
class Limits:
    wall_time_ms: int = strawberry.field(description="By the clock, in milliseconds.")
    cpu_time_ms: int = strawberry.field(
        description="Of all processors and processes together, in milliseconds."
    )
    memory_bytes: BigInt = strawberry.field(
        description="Of all processes together, files in memory included."
    )
    output_bytes: BigInt = strawberry.field(
        description="For standard output and standard error each."
    )
    processes: int = strawberry.field(description="Processes and threads at one time.")
    disk_bytes: BigInt = strawberry.field(description="For `/box` and `/tmp` together.")

    @classmethod
    def of(cls, of: limits.Limits) -> "Limits":
        """Translate."""
        return cls(
            wall_time_ms=round(of.wall_time * 1000),
            cpu_time_ms=round(of.cpu_time * 1000),
            memory_bytes=BigInt(of.memory),
            output_bytes=BigInt(of.output),
            processes=of.processes,
            disk_bytes=BigInt(of.disk),
        )


@strawberry.type(description="What a program has used.")
class ResourceUsage:
    wall_time_ms: float = strawberry.field(description="By the clock, from its start to its end.")
    cpu_time_ms: float = strawberry.field(description="Of all its processes together.")
    peak_memory_bytes: BigInt = strawberry.field(
        description="The most at one time, of all its processes together."
    )
    core_seconds: float = strawberry.field(
        description="What it cost: processors kept for it times seconds, or CPU time if that is "
        "more. Where none are kept for it, its CPU time."
    )
    gib_seconds: float = strawberry.field(
        description="Likewise of memory: what was kept for it, or its peak if that is more, in GiB "
        "times seconds."
    )

    @classmethod
    def of(cls, usage: Usage) -> "ResourceUsage":
        """Translate."""
        return cls(
            wall_time_ms=round(usage.wall_time * 1000, 3),
            cpu_time_ms=round(usage.cpu_time * 1000, 3),
            peak_memory_bytes=BigInt(usage.peak_memory),
            core_seconds=round(usage.core_seconds, 6),
            gib_seconds=round(usage.gib_seconds, 6),
        )


@strawberry.type(name="QueuePlace", description="Where an execution stands in the queue.")
class Waiting:
    position: int = strawberry.field(
        description="1 for the one that gets the next slot of those that its owner has waiting, "
        "on all servers. Turns go between owners."
    )
    age_ms: float = strawberry.field(description="How long it has waited.")

    @classmethod
    def of(cls, place: QueuePlace) -> "Waiting":
        """Translate."""
        return cls(position=place.position, age_ms=age_ms(place.since))


def age_ms(moment: datetime) -> float:
    """Return how long ago something was, in milliseconds."""
    # Another host's clock may have said so, and be ahead of ours.
    return max(round((datetime.now(UTC) - moment).total_seconds() * 1000, 3), 0.0)
