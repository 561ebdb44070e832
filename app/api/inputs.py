"""What a caller sends, each with its way into the domain."""

from typing import Any, cast

import strawberry

from app.api.enums import ExecutionKind, LanguageId
from app.api.parts import FileInput, LimitsInput, bytes_of, files_of, invalid, path_of
from app.api.scalars import Json
from app.api.suites import TestInput, suite_of
from app.domain.access import Caller
from app.domain.execution import Kind, Program, Submission
from app.domain.language import Language
from app.executions.rules import Rules

MAX_WAIT_MS = 60_000
DEFAULT_WAIT_MS = 15_000
_WAITING = (
    "How long to wait for the end before answering with the running execution: "
    f"0 to {MAX_WAIT_MS}, {DEFAULT_WAIT_MS} if left out."
)


@strawberry.input(description="A program to run, and what to remember with it.")
class ExecuteCodeInput:
    language: LanguageId = strawberry.field(description="See `languages` for what is available.")
    language_version: str | None = strawberry.field(
        default=None,
        description="One of the language's `versions`, or the beginning of one: `3` and `3.11` are "
        "3.11.2 as well. The first that fits runs the program; the usual one if left out.",
    )
    environment: str | None = strawberry.field(
        default=None,
        description="The id of one of the language's `environments`, to have its packages.",
    )
    source: str = strawberry.field(
        description="The program's text: the file `main.py`, `main.js` and so on, which is "
        "started. It may be empty when `entryPoint` is one of `files`."
    )
    files: list[FileInput] | None = strawberry.field(
        default=None,
        description="More files of the program, in its folder; those in its language are compiled "
        "with it.",
    )
    entry_point: str | None = strawberry.field(
        default=None,
        description="The path of the file that is started: one of `files`, or else the path that "
        "`source` is to have.",
    )
    stdin: str | None = strawberry.field(
        default=None, description="Standard input as text; not together with `stdinBase64`."
    )
    stdin_base64: str | None = strawberry.field(
        default=None, description="Standard input as bytes."
    )
    args: list[str] | None = strawberry.field(
        default=None, description="The program's command-line arguments."
    )
    limits: LimitsInput | None = strawberry.field(
        default=None, description="See `limits` for the defaults and the maximums."
    )
    tests: list[TestInput] | None = strawberry.field(
        default=None,
        description="What to run the program against, instead of once: it is compiled once, and "
        "runs in a fresh sandbox for each.",
    )
    stop_on_failure: bool | None = strawberry.field(
        default=None,
        description="Whether tests run one after the other, and those after the first that is not "
        "passed are skipped.",
    )
    kind: ExecutionKind | None = strawberry.field(
        default=None, description="What it is for: RUN if left out."
    )
    session_id: str | None = strawberry.field(
        default=None, description="The interview this run belongs to; for filtering the history."
    )
    label: str | None = strawberry.field(
        default=None, description="A name of your own; for filtering the history."
    )
    metadata: Json | None = strawberry.field(
        default=None, description="An object of your own, given back as it is."
    )
    interactive: bool | None = strawberry.field(
        default=None,
        description="Whether its input stays open for `sendInput`, until that says `eof`. Its wall "
        "time is then bounded by another default and maximum, and by how long it may wait with "
        "nothing happening.",
    )
    wait_ms: int | None = strawberry.field(
        default=None, description=f"{_WAITING[:-1]}, or 0 if it is interactive."
    )
    idempotency_key: str | None = strawberry.field(
        default=None,
        description="A name of your own for this run, such as a random UUID: the same input sent "
        "again with it within 24 hours gives the first execution, and does not run again.",
    )

    def submission(self, caller: Caller, language: Language, rules: Rules) -> Submission:
        """Return what a caller asks for.

        Raises:
            Rejected: a part of it cannot be read.
        """
        if self.metadata is not None and not isinstance(self.metadata, dict):
            raise invalid("metadata", "`metadata` must be an object.")
        defaults = rules.defaults_for(language, interactive=bool(self.interactive))
        limits = self.limits.over(defaults) if self.limits else defaults
        return Submission(
            owner=caller.owner,
            subject=caller.subject,
            program=Program(
                language=language.id,
                source=self.source,
                stdin=bytes_of("stdin", self.stdin, "stdinBase64", self.stdin_base64) or b"",
                args=tuple(self.args or ()),
                files=files_of(self.files),
                entry_point=self.entry_point and path_of("entryPoint", self.entry_point),
                language_version=self.language_version,
                environment=self.environment,
                suite=suite_of(self.tests, limits, stops=bool(self.stop_on_failure)),
            ),
            kind=Kind.RUN if self.kind is None else Kind[self.kind.name],
            limits=limits,
            session_id=self._session(caller),
            label=self.label,
            metadata=cast("dict[str, Any] | None", self.metadata),
            interactive=bool(self.interactive),
            idempotency_key=self._key(),
            key_scope=caller.session_id,
        )

    def wait(self) -> float:
        """Return how long to wait for the end, in seconds."""
        # Who is to type must first know what to type into.
        return _seconds(self.wait_ms, 0 if self.interactive else DEFAULT_WAIT_MS)

    def _session(self, caller: Caller) -> str | None:
        if caller.session_id is None:
            return self.session_id
        if self.session_id in {None, caller.session_id}:
            return caller.session_id
        raise invalid("sessionId", f"You are in the session `{caller.session_id}` alone.")

    def names(self) -> dict[str, str]:
        """Return how the caller has called what has more names than one."""
        return {} if self.stdin_base64 is None else {"stdin": "stdinBase64"}

    def _key(self) -> str | None:
        if self.idempotency_key == "":
            raise invalid("idempotencyKey", "`idempotencyKey` must not be empty.")
        return self.idempotency_key


@strawberry.input(description="What to run again.")
class RerunExecutionInput:
    id: strawberry.ID = strawberry.field(description="The id of the execution to repeat.")
    wait_ms: int | None = strawberry.field(default=None, description=_WAITING)

    def wait(self) -> float:
        """Return how long to wait for the end, in seconds."""
        return _seconds(self.wait_ms)


def _seconds(wait_ms: int | None, default: int = DEFAULT_WAIT_MS) -> float:
    """Read `waitMs`.

    Raises:
        Rejected: it is out of range.
    """
    wait_ms = default if wait_ms is None else wait_ms
    if not 0 <= wait_ms <= MAX_WAIT_MS:
        raise invalid("waitMs", f"`waitMs` must be 0 to {MAX_WAIT_MS}, not {wait_ms}.")
    return wait_ms / 1000


@strawberry.input(description="Which execution to stop.")
class CancelExecutionInput:
    id: strawberry.ID = strawberry.field(description="The execution's id.")
