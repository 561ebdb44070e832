"""Closed sets of the public schema."""

from enum import Enum

import strawberry
from strawberry import enum_value

from app.domain import comparison
from app.domain.execution import Kind, LimitHit, Status, TimeLimit
from app.domain.testing import Verdict
from app.languages import LanguageId as LanguageId  # noqa: PLC0414 - for others as well

# Before any type uses it: modules here take it from here.
strawberry.enum(LanguageId, description="A programming language; see `languages` for more.")


@strawberry.enum(description="Where an execution stands; all but QUEUED and RUNNING are final.")
class ExecutionStatus(Enum):
    QUEUED = enum_value(Status.QUEUED, description="It waits for a slot.")
    RUNNING = enum_value(Status.RUNNING, description="It has a slot.")
    SUCCEEDED = enum_value(Status.SUCCEEDED, description="It exited with code 0.")
    FAILED = enum_value(Status.FAILED, description="It exited with another code.")
    CRASHED = enum_value(Status.CRASHED, description="A signal that was not ours ended it.")
    COMPILE_ERROR = enum_value(
        Status.COMPILE_ERROR, description="It could not be compiled; see `compile`."
    )
    TIME_LIMIT_EXCEEDED = enum_value(
        Status.TIME_LIMIT_EXCEEDED, description="It was stopped at the limit in `timeLimit`."
    )
    MEMORY_LIMIT_EXCEEDED = enum_value(
        Status.MEMORY_LIMIT_EXCEEDED, description="One of its processes was killed for its memory."
    )
    OUTPUT_LIMIT_EXCEEDED = enum_value(
        Status.OUTPUT_LIMIT_EXCEEDED, description="It was stopped at the limit for its output."
    )
    CANCELLED = enum_value(Status.CANCELLED, description="Somebody stopped it.")
    INFRASTRUCTURE_ERROR = enum_value(
        Status.INFRASTRUCTURE_ERROR, description="We failed, not the program; see `message`."
    )


@strawberry.enum(description="What an execution is for.")
class ExecutionKind(Enum):
    RUN = enum_value(Kind.RUN, description="To see what a program does.")
    SUBMIT = enum_value(Kind.SUBMIT, description="To have it judged; there are quotas on these.")


@strawberry.enum(description="What a test says of a program, or what all of them say together.")
class TestVerdict(Enum):
    PASSED = enum_value(Verdict.PASSED, description="It did what was expected; all tests did.")
    FAILED = enum_value(
        Verdict.FAILED,
        description="It ended well, and wrote something else. Together: some test was not passed.",
    )
    ERROR = enum_value(
        Verdict.ERROR,
        description="It did not end well: see the status. Together: the tests could not be carried "
        "out, because it could not be compiled, was cancelled, or we have failed.",
    )
    SKIPPED = enum_value(Verdict.SKIPPED, description="It was not run.")


@strawberry.enum(description="How output is compared with what is expected.")
class Comparison(Enum):
    EXACT = enum_value(comparison.Comparison.EXACT, description="The same bytes.")
    TRIMMED = enum_value(
        comparison.Comparison.TRIMMED,
        description="White space at the ends of lines, and newlines at the end, do not matter.",
    )
    TOKENS = enum_value(
        comparison.Comparison.TOKENS, description="The same words, whatever is between them."
    )
    FLOATS = enum_value(
        comparison.Comparison.FLOATS,
        description="As TOKENS, but numbers may differ a little: absolutely or relatively.",
    )
    SORTED_LINES = enum_value(
        comparison.Comparison.SORTED_LINES,
        description="As TRIMMED, but the order of lines does not matter.",
    )
    JSON = enum_value(
        comparison.Comparison.JSON, description="The same JSON value, however it is written."
    )


@strawberry.enum(description="Which clock ran out.")
class TimeLimitKind(Enum):
    CPU = enum_value(TimeLimit.CPU, description="The CPU time of all its processes.")
    WALL = enum_value(TimeLimit.WALL, description="The clock on the wall.")


@strawberry.enum(description="A limit that a program can reach and go on.")
class LimitKind(Enum):
    PROCESSES = enum_value(
        LimitHit.PROCESSES,
        description="It was refused a process or a thread. Seen where accounting is EXACT.",
    )
    DISK = enum_value(
        LimitHit.DISK,
        description="`/box` and `/tmp` had no room left for a byte, or for a file, at its end.",
    )


@strawberry.enum(description="How the history is sorted.")
class ExecutionOrder(Enum):
    CREATED_AT_DESC = enum_value("CREATED_AT_DESC", description="Newest first.")
    CREATED_AT_ASC = enum_value("CREATED_AT_ASC", description="Oldest first.")


@strawberry.enum(description="Whether the service can do its work.")
class HealthStatus(Enum):
    OK = enum_value("OK", description="Everything works.")
    DEGRADED = enum_value("DEGRADED", description="Something does not; see the parts.")


@strawberry.enum(description="How exactly the sandbox counts.")
class Accounting(Enum):
    EXACT = enum_value("EXACT", description="By the kernel's own counters.")
    APPROXIMATE = enum_value(
        "APPROXIMATE", description="By looking at the processes; a short burst can be missed."
    )
