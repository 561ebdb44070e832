"""The public types of the history: connections and statistics."""

from uuid import UUID

import strawberry

from app.api.context import Info
from app.api.enums import ExecutionStatus, LanguageId, TestVerdict
from app.api.errors import BadArgumentError
from app.api.ids import decode_cursor, encode_cursor
from app.api.types import Execution
from app.domain import history as domain

MAX_PAGE = 100
DEFAULT_PAGE = 20


@strawberry.type(description="An execution in a connection.")
class ExecutionEdge:
    cursor: str = strawberry.field(description="Where it stands; for `after` and `before`.")
    node: Execution = strawberry.field(description="The execution.")


@strawberry.type(description="Where a page ends and whether there is more.")
class PageInfo:
    has_next_page: bool = strawberry.field(description="Whether more follows.")
    has_previous_page: bool = strawberry.field(description="Whether something comes before.")
    start_cursor: str | None = strawberry.field(description="Of the first edge.")
    end_cursor: str | None = strawberry.field(description="Of the last edge.")


@strawberry.type(description="A page of the history.")
class ExecutionConnection:
    page: strawberry.Private[domain.Page]
    filter: strawberry.Private[domain.Filter]

    @strawberry.field(description="The executions with their cursors.")
    def edges(self) -> list[ExecutionEdge]:
        return [
            ExecutionEdge(cursor=encode_cursor(record.id), node=Execution.of(record))
            for record in self.page.executions
        ]

    @strawberry.field(description="The executions.")
    def nodes(self) -> list[Execution]:
        return [Execution.of(record) for record in self.page.executions]

    @strawberry.field(description="Where the page ends and whether there is more.")
    def page_info(self) -> PageInfo:
        cursors = [encode_cursor(record.id) for record in self.page.executions]
        return PageInfo(
            has_next_page=self.page.has_next,
            has_previous_page=self.page.has_previous,
            start_cursor=cursors[0] if cursors else None,
            end_cursor=cursors[-1] if cursors else None,
        )

    @strawberry.field(description="How many there are in all; counted only when asked for.")
    async def total_count(self, info: Info) -> int:
        return await info.context.history.count(info.context.owner, self.filter)


def window(
    *,
    first: int | None,
    after: str | None,
    last: int | None,
    before: str | None,
    order: domain.Order,
) -> domain.Window:
    """Read the arguments of a connection.

    Raises:
        BadArgumentError: they contradict each other or are out of range.
    """
    if first is not None and last is not None:
        message = "Give `first` or `last`, not both."
        raise BadArgumentError(message)
    for name, size in (("first", first), ("last", last)):
        if size is not None and not 0 <= size <= MAX_PAGE:
            message = f"`{name}` must be 0 to {MAX_PAGE}, not {size}."
            raise BadArgumentError(message)
    size = last if last is not None else first
    return domain.Window(
        size=DEFAULT_PAGE if size is None else size,
        after=_cursor("after", after),
        before=_cursor("before", before),
        backward=last is not None,
        order=order,
    )


def _cursor(name: str, text: str | None) -> UUID | None:
    if text is None:
        return None
    cursor = decode_cursor(text)
    if cursor is None:
        message = f"`{name}` is not a cursor of this connection."
        raise BadArgumentError(message)
    return cursor


@strawberry.type(description="How many executions ended so.")
class StatusCount:
    status: ExecutionStatus = strawberry.field(description="The status.")
    count: int = strawberry.field(description="How many have it.")


@strawberry.type(description="How many executions are in this language.")
class LanguageCount:
    language: LanguageId = strawberry.field(description="The language.")
    count: int = strawberry.field(description="How many are in it.")


@strawberry.type(description="How many executions have tests that together say so.")
class VerdictCount:
    verdict: TestVerdict = strawberry.field(description="The verdict.")
    count: int = strawberry.field(description="How many have it.")


@strawberry.type(
    description="Nearest-rank percentiles of the wall time of what has ended and has no tests."
)
class WallTimePercentiles:
    p50_ms: float | None = strawberry.field(description="Half took no longer.")
    p95_ms: float | None = strawberry.field(description="95 of 100 took no longer.")
    p99_ms: float | None = strawberry.field(description="99 of 100 took no longer.")


@strawberry.type(description="Counts and durations.")
class ExecutionStats:
    total_count: int = strawberry.field(description="How many there are.")
    by_status: list[StatusCount] = strawberry.field(description="By status; absent ones are 0.")
    by_language: list[LanguageCount] = strawberry.field(
        description="By language; absent ones are 0."
    )
    by_verdict: list[VerdictCount] = strawberry.field(
        description="By what their tests say together; absent ones are 0."
    )
    wall_time: WallTimePercentiles = strawberry.field(description="How long programs took.")

    @classmethod
    def of(cls, stats: domain.Stats) -> "ExecutionStats":
        """Translate."""
        return cls(
            total_count=stats.total,
            by_status=[
                StatusCount(status=ExecutionStatus(status), count=count)
                for status, count in stats.by_status
            ],
            by_language=[
                LanguageCount(language=LanguageId(id), count=count)
                for id, count in stats.by_language
            ],
            by_verdict=[
                VerdictCount(verdict=TestVerdict(verdict), count=count)
                for verdict, count in stats.by_verdict
            ],
            wall_time=WallTimePercentiles(
                p50_ms=milliseconds(stats.wall_time_p50),
                p95_ms=milliseconds(stats.wall_time_p95),
                p99_ms=milliseconds(stats.wall_time_p99),
            ),
        )


def milliseconds(seconds: float | None) -> float | None:
    """Return seconds in milliseconds, where there are any."""
    return None if seconds is None else round(seconds * 1000, 3)
