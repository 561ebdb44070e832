"""What happens to an execution, in order: the same for who watches and for who comes later.

Events are numbered from 1 without a gap: QUEUED, RUNNING when it has begun, each piece of output,
and the end. An execution that is handed back and runs again keeps the moment when it first began
and has written nothing yet, so no number is ever given twice.

An execution with tests has no output of its own: in its place stand the tests as they end. Who does
not see hidden tests is told of them at the end, in their order, so the numbers are others for them.
"""

from dataclasses import dataclass
from datetime import datetime
from uuid import UUID

from app.domain.execution import Execution, Output, Status
from app.domain.results import CaseRun


@dataclass(frozen=True, slots=True, kw_only=True)
class StatusChanged:
    """It was accepted, or it has begun."""

    execution_id: UUID
    sequence: int
    at: datetime
    status: Status


@dataclass(frozen=True, slots=True, kw_only=True)
class OutputWritten:
    """It wrote something: at most 64 KiB, never a part of a character that has a rest."""

    execution_id: UUID
    sequence: int
    at: datetime
    output: Output


@dataclass(frozen=True, slots=True, kw_only=True)
class Finished:
    """It has ended; nothing follows."""

    execution_id: UUID
    sequence: int
    at: datetime
    execution: Execution


@dataclass(frozen=True, slots=True, kw_only=True)
class CaseEnded:
    """One of its tests has ended, and was not skipped."""

    execution_id: UUID
    sequence: int
    at: datetime
    test: CaseRun


Event = StatusChanged | OutputWritten | CaseEnded | Finished


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPage:
    """A slice of what happened."""

    events: tuple[Event, ...]
    has_more: bool
    """Whether the next slice is there already."""
    is_over: bool
    """Whether nothing will ever follow."""
