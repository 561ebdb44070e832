"""The public types of an execution, each with a way from the domain."""

from datetime import datetime
from typing import Annotated

import strawberry

from app.api.compilation import CompilePhase
from app.api.context import Info, Wanted
from app.api.enums import (
    ExecutionKind,
    ExecutionStatus,
    LimitKind,
    TestVerdict,
    TimeLimitKind,
)
from app.api.errors import UserError
from app.api.events import DEFAULT_EVENTS, AfterEvent, EventType, FirstEvents, past_events
from app.api.figures import Limits, ResourceUsage, Waiting
from app.api.files import Artifact, File
from app.api.ids import encode_id
from app.api.languages import Language
from app.api.output import MaxBytes, OutputStream, enough, read
from app.api.scalars import Json
from app.api.summary import TestSummary
from app.api.testing import TestResult, results_of
from app.domain import execution as domain


@strawberry.interface(description="Something with an id, for `node`.")
class Node:
    id: strawberry.ID = strawberry.field(description="Opaque and unique; keep it as it is.")


@strawberry.type(description="One run of a program.")
class Execution(Node):
    record: strawberry.Private[domain.Execution]
    status: ExecutionStatus = strawberry.field(
        description="Where it stands. With tests, it is SUCCEEDED when these were carried out, "
        "whatever they say: see `verdict`."
    )
    kind: ExecutionKind = strawberry.field(description="What it is for.")
    verdict: TestVerdict | None = strawberry.field(
        description="What its tests say together; null until it has ended, and without tests."
    )
    language_version: str | None = strawberry.field(description="The version that ran it.")
    exit_code: int | None = strawberry.field(description="Null unless the program exited.")
    signal: str | None = strawberry.field(
        description="The signal that ended it, such as `SIGSEGV`; null when it exited or we "
        "stopped it."
    )
    time_limit: TimeLimitKind | None = strawberry.field(
        description="Which limit stopped it, when its status is TIME_LIMIT_EXCEEDED."
    )
    limits_hit: list[LimitKind] = strawberry.field(
        description="Limits that it was seen to reach and that did not end it. What a sandbox "
        "cannot see is not here: the one on Modal sees none."
    )
    message: str | None = strawberry.field(
        description="What happened, when we failed or tests took too long together."
    )
    subject: str | None = strawberry.field(
        description="Who ran it, as their access token says; null for an API key."
    )
    session_id: str | None = strawberry.field(description="As it was given.")
    label: str | None = strawberry.field(description="As it was given.")
    metadata: Json | None = strawberry.field(description="As it was given.")
    is_interactive: bool = strawberry.field(
        description="Whether `sendInput` can give it input while it runs."
    )
    executor: str = strawberry.field(description="What kind of sandbox ran it.")
    attempt: int = strawberry.field(description="1, or more when it had to be run again.")
    created_at: datetime = strawberry.field(description="When it was accepted.")
    started_at: datetime | None = strawberry.field(description="When it got a slot.")
    finished_at: datetime | None = strawberry.field(description="When its status became final.")

    @classmethod
    def of(cls, record: domain.Execution) -> "Execution":
        """Translate."""
        outcome = record.outcome or domain.Outcome(status=record.status)
        limit = outcome.time_limit
        return cls(
            record=record,
            id=strawberry.ID(encode_id(record.id)),
            status=ExecutionStatus(record.status),
            kind=ExecutionKind(record.kind),
            verdict=None if record.verdict is None else TestVerdict(record.verdict),
            language_version=record.language_version,
            exit_code=outcome.exit_code,
            signal=outcome.signal,
            time_limit=None if limit is None else TimeLimitKind(limit),
            limits_hit=[LimitKind(each) for each in sorted(outcome.limits_hit)],
            message=outcome.message,
            subject=record.subject,
            session_id=record.session_id,
            label=record.label,
            metadata=None if record.metadata is None else Json(record.metadata),
            is_interactive=record.interactive,
            executor=record.executor,
            attempt=record.attempt,
            created_at=record.created_at,
            started_at=record.started_at,
            finished_at=record.finished_at,
        )

    @strawberry.field(description="The language it is written in.")
    def language(self, info: Info) -> Language:
        language = info.context.languages[self.record.language]
        return Language.of(language, info.context.executions.executor.supports(language))

    @strawberry.field(
        description="The execution that it repeats; null when it repeats none, or that was erased."
    )
    async def rerun_of(
        self, info: Info
    ) -> Annotated["Execution", strawberry.lazy(__name__)] | None:
        origin_id = self.record.origin_id
        origin = await info.context.records.load(origin_id) if origin_id else None
        return Execution.of(origin) if origin else None

    @strawberry.field(description="Where it stands in the queue; null unless it is QUEUED.")
    async def queue(self, info: Info) -> Waiting | None:
        if self.record.status is not domain.Status.QUEUED:
            return None
        place = await info.context.places.load(self.record.id)
        return Waiting.of(place) if place else None

    @strawberry.field(description="The limits it ran under.")
    def limits(self) -> Limits:
        return Limits.of(self.record.limits)

    @strawberry.field(
        description="What it has used, all its tests together; null until it has ended, when it "
        "could not be measured, and where it would tell of tests that are hidden from you."
    )
    def usage(self, info: Info) -> ResourceUsage | None:
        outcome = self.record.outcome
        if self.record.hidden_tests and not info.context.caller.sees_hidden:
            return None
        return ResourceUsage.of(outcome.usage) if outcome and outcome.usage else None

    @strawberry.field(
        description="How it was compiled; null before that has ended, and where nothing is."
    )
    async def compile(self, info: Info) -> CompilePhase | None:
        info.context.look_into(self.record)
        compilation = await info.context.compilations.load(self.record.id)
        return CompilePhase.of(compilation) if compilation else None

    @strawberry.field(
        description="Files that it has left in `out/`: 20 of them, 8 MiB together, are kept; none "
        "of tests, and none where it was killed at a limit."
    )
    async def artifacts(self, info: Info) -> list[Artifact]:
        info.context.look_into(self.record)
        files = await info.context.artifacts.load(self.record.id)
        return [Artifact(path=each.path, data=each.data) for each in files]

    @strawberry.field(
        description="How many files in `out/` were not kept: too many, too large, or no plain file "
        "with a plain name."
    )
    def artifacts_left_out(self) -> int:
        return self.record.outcome.left_out if self.record.outcome else 0

    @strawberry.field(description="Its tests in their order; empty if it has none.")
    async def tests(self, info: Info) -> list[TestResult]:
        return await results_of(info, self.record)

    @strawberry.field(description="Its tests counted; null if it has none.")
    async def test_summary(self, info: Info) -> TestSummary | None:
        if not self.record.tests:
            return None
        groups = await info.context.test_groups.load(self.record.id)
        return TestSummary.of(self.record, groups, info.context.caller)

    @strawberry.field(description="The program's text.")
    async def source(self, info: Info) -> str:
        source = (await self._program(info)).source
        info.context.allow(len(source))
        return source

    @strawberry.field(description="Its files, beside the source.")
    async def files(self, info: Info) -> list[File]:
        files = (await self._program(info)).files
        return [File(path=each.path, data=each.data) for each in files]

    @strawberry.field(description="The environment whose packages it has, if it has one.")
    async def environment(self, info: Info) -> str | None:
        return (await self._program(info)).environment

    @strawberry.field(description="The path of the file that is started, if it was given.")
    async def entry_point(self, info: Info) -> str | None:
        return (await self._program(info)).entry_point

    @strawberry.field(description="Its standard input as text, invalid bytes as U+FFFD.")
    async def stdin(self, info: Info) -> str:
        return read(info, (await self._program(info)).stdin, None)

    @strawberry.field(description="Its command-line arguments.")
    async def args(self, info: Info) -> list[str]:
        args = (await self._program(info)).args
        info.context.allow(sum(map(len, args)))
        return list(args)

    @strawberry.field(
        description="What it has written to standard output so far, invalid bytes as U+FFFD."
    )
    async def stdout(self, info: Info, max_bytes: MaxBytes = None) -> str:
        data = await self._output(info, domain.Stream.STDOUT, enough(max_bytes))
        return read(info, data, max_bytes)

    @strawberry.field(
        description="What it has written to standard error so far, invalid bytes as U+FFFD."
    )
    async def stderr(self, info: Info, max_bytes: MaxBytes = None) -> str:
        data = await self._output(info, domain.Stream.STDERR, enough(max_bytes))
        return read(info, data, max_bytes)

    @strawberry.field(description="Its standard output as bytes.")
    async def stdout_stream(self, info: Info) -> OutputStream:
        return await self._stream(info, domain.Stream.STDOUT)

    @strawberry.field(description="Its standard error as bytes.")
    async def stderr_stream(self, info: Info) -> OutputStream:
        return await self._stream(info, domain.Stream.STDERR)

    @strawberry.field(
        description="What has happened to it so far, in order: its output as it was written, both "
        "streams together, with times. Fewer than `first` come at once when they hold more than "
        "1 MiB of output; `executionEvents` is the same, live."
    )
    async def events(
        self, info: Info, after: AfterEvent = 0, first: FirstEvents = DEFAULT_EVENTS
    ) -> list[EventType]:
        info.context.look_into(self.record)
        return await past_events(info.context, self.record.id, after, first)

    async def _program(self, info: Info) -> domain.Program:
        info.context.look_into(self.record)
        program = await info.context.programs.load(self.record.id)
        return program or domain.Program(language=self.record.language, source="")

    async def _output(self, info: Info, stream: domain.Stream, most: int | None = None) -> bytes:
        info.context.look_into(self.record)
        return await info.context.outputs.load(Wanted(self.record.id, stream, most))

    async def _stream(self, info: Info, stream: domain.Stream) -> OutputStream:
        data, outcome = await self._output(info, stream), self.record.outcome
        return OutputStream(data=data, is_truncated=bool(outcome and stream in outcome.truncated))


@strawberry.type(description="The answer to `executeCode` and `rerunExecution`.")
class ExecuteCodePayload:
    execution: Execution | None = strawberry.field(
        description="The execution, ended or still running; null when it was refused."
    )
    errors: list[UserError] = strawberry.field(
        description="Why it was refused; then nothing was recorded. Or, beside an execution, "
        "`ServerBusy`: it has ended for want of a sandbox, and nothing of it has run."
    )


@strawberry.type(description="The answer to `cancelExecution`.")
class CancelExecutionPayload:
    execution: Execution | None = strawberry.field(description="The execution as it is now.")
    errors: list[UserError] = strawberry.field(description="Why it could not be stopped.")
