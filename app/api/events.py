"""What happens to an execution, as the public API tells it: live, and afterwards."""

import base64
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import datetime
from enum import Enum
from typing import Annotated, TypeAlias, assert_never
from uuid import UUID

import strawberry
from strawberry import enum_value

from app.api.context import Context, Info
from app.api.enums import ExecutionStatus
from app.api.errors import BadArgumentError, ExecutionType, NoSuchExecutionError
from app.api.ids import decode_id, encode_id
from app.api.testing import TestResult, result_of
from app.domain import events as domain
from app.domain.errors import NoSuchExecution
from app.domain.execution import Execution as Record
from app.domain.execution import Stream
from app.domain.results import CaseRun

MOST_EVENTS = 1000
DEFAULT_EVENTS = 100

AfterEvent = Annotated[
    int,
    strawberry.argument(
        description="Only events with a higher `sequence`: the last one you have, or 0 for all."
    ),
]
FirstEvents = Annotated[
    int,
    strawberry.argument(description=f"At most so many, up to {MOST_EVENTS}."),
]


@strawberry.enum(description="Where a program writes to.")
class StreamName(Enum):
    STDOUT = enum_value(Stream.STDOUT, description="Standard output.")
    STDERR = enum_value(Stream.STDERR, description="Standard error.")


@strawberry.interface(
    description="Something that happened to an execution. Events are numbered from 1 without a "
    "gap, and the same for who watches and for who comes later."
)
class ExecutionEvent:
    execution_id: strawberry.ID = strawberry.field(description="The execution's id.")
    sequence: int = strawberry.field(description="Its number: 1, 2, 3 and so on.")
    at: datetime = strawberry.field(description="When it happened.")


@strawberry.type(description="The execution was accepted (QUEUED) or has begun (RUNNING).")
class ExecutionStatusChanged(ExecutionEvent):
    status: ExecutionStatus = strawberry.field(description="Its status from now on.")


@strawberry.type(
    description="The program wrote something: at most 64 KiB, cut where characters end."
)
class ExecutionOutput(ExecutionEvent):
    data: strawberry.Private[bytes]
    stream: StreamName = strawberry.field(description="Where it wrote to.")

    @strawberry.field(description="What it wrote as text, invalid bytes as U+FFFD.")
    def text(self) -> str:
        return self.data.decode(errors="replace")

    @strawberry.field(description="What it wrote, exactly.")
    def base64(self) -> str:
        return base64.b64encode(self.data).decode()


@strawberry.type(
    description="A test has ended, and not because it was skipped. To candidates, hidden ones end "
    "when the execution does."
)
class ExecutionTestFinished(ExecutionEvent):
    run: strawberry.Private[CaseRun]

    @strawberry.field(description="The test, and what came of it.")
    async def test(self, info: Info) -> TestResult:
        return await result_of(info, self.run)


@strawberry.type(description="The execution has ended; this is its last event.")
class ExecutionFinished(ExecutionEvent):
    record: strawberry.Private[Record]

    @strawberry.field(description="The execution with its final status.")
    def execution(self) -> ExecutionType:
        from app.api.types import Execution  # noqa: PLC0415 - it knows our events

        return Execution.of(self.record)


EVENTS = (ExecutionStatusChanged, ExecutionOutput, ExecutionTestFinished, ExecutionFinished)

EventType: TypeAlias = Annotated["ExecutionEvent", strawberry.lazy("app.api.events")]


def event_of(event: domain.Event) -> ExecutionEvent:
    """Translate."""
    id, sequence, at = strawberry.ID(encode_id(event.execution_id)), event.sequence, event.at
    match event:
        case domain.StatusChanged(status=status):
            return ExecutionStatusChanged(
                execution_id=id, sequence=sequence, at=at, status=ExecutionStatus(status)
            )
        case domain.OutputWritten(output=output):
            stream = StreamName(output.stream)
            return ExecutionOutput(
                execution_id=id, sequence=sequence, at=at, stream=stream, data=output.data
            )
        case domain.CaseEnded(test=run):
            return ExecutionTestFinished(execution_id=id, sequence=sequence, at=at, run=run)
        case domain.Finished(execution=record):
            return ExecutionFinished(execution_id=id, sequence=sequence, at=at, record=record)
    assert_never(event)


async def past_events(context: Context, id: UUID, after: int, first: int) -> list[ExecutionEvent]:
    """Return a slice of what has happened so far.

    Raises:
        BadArgumentError: the numbers make no sense, or the answer would be too large.
    """
    _require_number(after)
    if not 0 <= first <= MOST_EVENTS:
        message = f"`first` must be 0 to {MOST_EVENTS}, not {first}."
        raise BadArgumentError(message)
    found = await context.events(id, after, first) if first else ()
    return [event_of(event) for event in found]


async def follow(info: Info, id: strawberry.ID, after: int) -> AsyncGenerator[ExecutionEvent, None]:
    """Yield what happens after an event, until the end of the execution.

    Raises:
        BadArgumentError: the number makes no sense.
        NoSuchExecutionError: there is no such execution, or it was erased meanwhile.
    """
    context, decoded = info.context, decode_id(id)
    _require_number(after)
    execution = await context.find(decoded)
    if decoded is None or execution is None:
        raise NoSuchExecutionError
    context.look_into(execution)
    await context.settle()
    try:
        following = context.executions.follow(
            context.owner, decoded, after, sees_hidden=context.caller.sees_hidden
        )
        async with aclosing(following) as events:
            async for event in events:
                context.renew()
                yield event_of(event)
    except NoSuchExecution as error:
        raise NoSuchExecutionError from error


def _require_number(after: int) -> None:
    if after < 0:
        message = f"`after` must be 0 or the number of an event, not {after}."
        raise BadArgumentError(message)
