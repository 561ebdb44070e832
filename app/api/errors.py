"""Errors that a caller can fix, as data, and errors of the request itself."""

import math
from collections.abc import Callable, Mapping
from enum import Enum
from typing import TYPE_CHECKING, Annotated, TypeAlias, assert_never

import strawberry
from graphql import GraphQLError
from strawberry import enum_value

from app.api.enums import LanguageId
from app.api.refusals import Code
from app.api.scalars import BigInt
from app.domain import errors as domain
from app.domain.execution import Execution as Record

if TYPE_CHECKING:
    from app.api.types import Execution

ExecutionType: TypeAlias = Annotated["Execution", strawberry.lazy("app.api.types")]


class BadArgumentError(GraphQLError):
    """An argument of a field that makes no sense; shown to the caller as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": UserErrorCode.INVALID_INPUT.value})


class ForbiddenError(GraphQLError):
    """Something that the caller's role or session does not allow; shown as it is."""

    def __init__(self, message: str) -> None:
        super().__init__(message, extensions={"code": Code.FORBIDDEN.value})


class NoSuchExecutionError(GraphQLError):
    """A subscription to what is not there, or not the caller's."""

    def __init__(self) -> None:
        message = "There is no execution with this id."
        super().__init__(message, extensions={"code": UserErrorCode.NOT_FOUND.value})


@strawberry.enum(description="What kind of mistake a `UserError` is about.")
class UserErrorCode(Enum):
    INVALID_INPUT = enum_value("INVALID_INPUT", description="See `InvalidInput`.")
    LANGUAGE_UNAVAILABLE = enum_value(
        "LANGUAGE_UNAVAILABLE", description="See `LanguageUnavailable`."
    )
    VERSION_UNAVAILABLE = enum_value("VERSION_UNAVAILABLE", description="See `VersionUnavailable`.")
    ENVIRONMENT_UNAVAILABLE = enum_value(
        "ENVIRONMENT_UNAVAILABLE", description="See `EnvironmentUnavailable`."
    )
    LIMIT_TOO_HIGH = enum_value("LIMIT_TOO_HIGH", description="See `LimitTooHigh`.")
    SERVER_BUSY = enum_value("SERVER_BUSY", description="See `ServerBusy`.")
    RATE_LIMITED = enum_value("RATE_LIMITED", description="See `RateLimited`.")
    QUOTA_EXCEEDED = enum_value("QUOTA_EXCEEDED", description="See `QuotaExceeded`.")
    NOT_FOUND = enum_value("NOT_FOUND", description="See `NotFound`.")
    NOT_RUNNING = enum_value("NOT_RUNNING", description="See `NotRunning`.")
    NOT_INTERACTIVE = enum_value("NOT_INTERACTIVE", description="See `NotInteractive`.")
    INPUT_CLOSED = enum_value("INPUT_CLOSED", description="See `InputClosed`.")
    INPUT_BUFFER_FULL = enum_value("INPUT_BUFFER_FULL", description="See `InputBufferFull`.")
    IDEMPOTENCY_CONFLICT = enum_value(
        "IDEMPOTENCY_CONFLICT", description="See `IdempotencyConflict`."
    )
    STILL_RUNNING = enum_value("STILL_RUNNING", description="See `StillRunning`.")


@strawberry.interface(
    description="Something the caller can fix. Implementations carry typed details."
)
class UserError:
    code: UserErrorCode = strawberry.field(description="What kind of mistake it is.")
    message: str = strawberry.field(description="What is wrong and what to do, in English.")
    path: list[str] | None = strawberry.field(
        description="Leads to the mistake in the mutation's input, such as `[limits, memoryBytes]`."
    )


@strawberry.type(description="A part of the input breaks a rule.")
class InvalidInput(UserError):
    pass


@strawberry.type(description="A limit is above what this service allows.")
class LimitTooHigh(UserError):
    limit: str = strawberry.field(description="The limit, as it is called in `LimitsInput`.")
    requested: BigInt = strawberry.field(description="What was asked for.")
    maximum: BigInt = strawberry.field(description="The most that this service allows.")


@strawberry.type(description="The language is known, but cannot be run here.")
class LanguageUnavailable(UserError):
    available: list[LanguageId] = strawberry.field(description="What can be run here.")


@strawberry.type(description="The language can be run here, but not by this version of it.")
class VersionUnavailable(UserError):
    available: list[str] = strawberry.field(
        description="The versions that are here, the usual one first."
    )


@strawberry.type(description="The packages cannot be had here, or not in this language.")
class EnvironmentUnavailable(UserError):
    available: list[str] = strawberry.field(
        description="The environments of the language that can be had here."
    )


@strawberry.type(description="Every slot is taken and the queue is full, or the server stops.")
class ServerBusy(UserError):
    retry_after_ms: int = strawberry.field(
        description="An estimate of when to try again, in milliseconds."
    )


@strawberry.type(description="You ask too often, or have too much running.")
class RateLimited(UserError):
    retry_after_ms: int = strawberry.field(description="When to try again, in milliseconds.")


@strawberry.type(description="What a day has for you is used up.")
class QuotaExceeded(UserError):
    retry_after_ms: int = strawberry.field(
        description="When the next day begins in UTC, in milliseconds from now."
    )


@strawberry.type(description="There is no such thing, or it is not yours.")
class NotFound(UserError):
    pass


@strawberry.type(description="The execution has ended already.")
class NotRunning(UserError):
    pass


@strawberry.type(description="The execution was not submitted with `interactive: true`.")
class NotInteractive(UserError):
    pass


@strawberry.type(description="The execution's input was closed before, with `eof: true`.")
class InputClosed(UserError):
    pass


@strawberry.type(description="The program has not read what was sent before.")
class InputBufferFull(UserError):
    pass


@strawberry.type(description="The `idempotencyKey` was used for another input.")
class IdempotencyConflict(UserError):
    earlier: strawberry.Private[Record]

    @strawberry.field(description="The execution of that input.")
    def execution(self) -> ExecutionType:
        from app.api.types import Execution  # noqa: PLC0415 - it knows our errors

        return Execution.of(self.earlier)


@strawberry.type(description="Executions that have not ended and could not be stopped.")
class StillRunning(UserError):
    execution_ids: list[strawberry.ID] = strawberry.field(description="Which ones.")


IMPLEMENTATIONS = (
    InvalidInput,
    LimitTooHigh,
    LanguageUnavailable,
    VersionUnavailable,
    EnvironmentUnavailable,
    ServerBusy,
    RateLimited,
    QuotaExceeded,
    NotFound,
    NotRunning,
    NotInteractive,
    InputClosed,
    InputBufferFull,
    StillRunning,
    IdempotencyConflict,
)


def not_found() -> UserError:
    """Say that an id stands for no execution."""
    return no_such("execution")


def no_such(thing: str) -> UserError:
    """Say that an id stands for nothing."""
    message = f"There is no {thing} with this id."
    return NotFound(code=UserErrorCode.NOT_FOUND, message=message, path=["id"])


def invalid_input(message: str, *path: str) -> UserError:
    """Say that a part of the input breaks a rule."""
    return InvalidInput(code=UserErrorCode.INVALID_INPUT, message=message, path=list(path) or None)


def user_errors(
    rejected: domain.Rejected, also_named: Mapping[str, str] | None = None
) -> list[UserError]:
    """Translate every problem of a refusal; `also_named` are names that this one input has used."""
    names = {**INPUT_NAMES, **(also_named or {})}
    return [
        _user_error(problem, [names.get(name, name) for name in problem.path] or None)
        for problem in rejected.problems
    ]


def _user_error(  # noqa: PLR0911 - one for each problem
    problem: domain.Problem, path: list[str] | None
) -> UserError:
    message = problem.message
    match problem:
        case domain.InvalidInput():
            return InvalidInput(code=UserErrorCode.INVALID_INPUT, message=message, path=path)
        case domain.LimitTooHigh():
            name, scale = LIMIT_NAMES[problem.limit]
            return LimitTooHigh(
                code=UserErrorCode.LIMIT_TOO_HIGH,
                message=message,
                path=path,
                limit=name,
                requested=BigInt(scale(problem.requested)),
                maximum=BigInt(scale(problem.maximum)),
            )
        case domain.LanguageUnavailable():
            return LanguageUnavailable(
                code=UserErrorCode.LANGUAGE_UNAVAILABLE,
                message=message,
                path=path,
                available=[LanguageId(id) for id in problem.available],
            )
        case domain.VersionUnavailable():
            return VersionUnavailable(
                code=UserErrorCode.VERSION_UNAVAILABLE,
                message=message,
                path=path,
                available=list(problem.available),
            )
        case domain.EnvironmentUnavailable():
            return EnvironmentUnavailable(
                code=UserErrorCode.ENVIRONMENT_UNAVAILABLE,
                message=message,
                path=path,
                available=list(problem.available),
            )
        case domain.ServerBusy():
            return ServerBusy(
                code=UserErrorCode.SERVER_BUSY,
                message=message,
                path=path,
                retry_after_ms=round(problem.retry_after * 1000),
            )
        case domain.RateLimited():
            return RateLimited(
                code=UserErrorCode.RATE_LIMITED,
                message=message,
                path=path,
                retry_after_ms=math.ceil(problem.retry_after * 1000),
            )
        case domain.QuotaExceeded():
            return QuotaExceeded(
                code=UserErrorCode.QUOTA_EXCEEDED,
                message=message,
                path=path,
                retry_after_ms=math.ceil(problem.retry_after * 1000),
            )
        case domain.IdempotencyConflict():
            return IdempotencyConflict(
                code=UserErrorCode.IDEMPOTENCY_CONFLICT,
                message=message,
                path=path,
                earlier=problem.earlier,
            )
    assert_never(problem)


def _milliseconds(seconds: float) -> int:
    return round(seconds * 1000)


LIMIT_NAMES: dict[str, tuple[str, Callable[[float], int]]] = {
    "wall_time": ("wallTimeMs", _milliseconds),
    "cpu_time": ("cpuTimeMs", _milliseconds),
    "memory": ("memoryBytes", int),
    "output": ("outputBytes", int),
    "processes": ("processes", int),
    "disk": ("diskBytes", int),
}
"""How the domain's limits are called in the input, and in which unit."""

INPUT_NAMES = {
    "session_id": "sessionId",
    "entry_point": "entryPoint",
    "language_version": "languageVersion",
    "idempotency_key": "idempotencyKey",
    "expected_value": "expectedValue",
    "expected_stdout": "expectedStdout",
    "absolute_tolerance": "absoluteTolerance",
    "relative_tolerance": "relativeTolerance",
    **{name: spoken for name, (spoken, _) in LIMIT_NAMES.items()},
}
