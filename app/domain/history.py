"""Questions that one can ask of the history, and their answers."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from uuid import UUID

from app.domain.execution import Execution, Kind, Status
from app.domain.testing import Verdict


class Order(StrEnum):
    """How a page of history is sorted."""

    NEWEST_FIRST = "NEWEST_FIRST"
    OLDEST_FIRST = "OLDEST_FIRST"


@dataclass(frozen=True, slots=True, kw_only=True)
class Filter:
    """Which executions; a field that is None does not restrict."""

    statuses: frozenset[Status] | None = None
    languages: frozenset[str] | None = None
    kinds: frozenset[Kind] | None = None
    verdicts: frozenset[Verdict] | None = None
    session_id: str | None = None
    label: str | None = None
    created_after: datetime | None = None
    created_before: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Window:
    """A slice of the sorted history: `size` items after or before the item at the cursor.

    `backward` takes the slice from the end, still in the asked order.
    """

    size: int
    after: UUID | None = None
    before: UUID | None = None
    backward: bool = False
    order: Order = Order.NEWEST_FIRST


@dataclass(frozen=True, slots=True, kw_only=True)
class Page:
    """A slice and whether there is more on its sides."""

    executions: tuple[Execution, ...]
    has_next: bool
    has_previous: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Stats:
    """Counts and wall-clock durations (seconds; None when nothing has been measured)."""

    total: int
    by_status: tuple[tuple[Status, int], ...]
    by_language: tuple[tuple[str, int], ...]
    by_verdict: tuple[tuple[Verdict, int], ...]
    wall_time_p50: float | None
    wall_time_p95: float | None
    wall_time_p99: float | None
