"""What a caller sends, each with its way into the domain."""

import base64
import binascii
from datetime import datetime
from typing import Any, cast

import strawberry

from app.api.enums import ExecutionStatus, LanguageId
from app.api.errors import BadArgumentError
from app.api.scalars import BigInt, Json
from app.domain import history
from app.domain.access import Caller
from app.domain.errors import InvalidInput, Problem, Rejected
from app.domain.execution import File, Program, Status, Submission
from app.domain.language import Language
from app.domain.limits import Limits
from app.domain.paths import BadPath, normalized
from app.executions.rules import Rules, is_encodable

MAX_WAIT_MS = 60_000
DEFAULT_WAIT_MS = 15_000
_MOST_PROBLEMS = 20  # with files that are told at once
_WAITING = (
    "How long to wait for the end before answering with the running execution: "
    f"0 to {MAX_WAIT_MS}, {DEFAULT_WAIT_MS} if left out."
)


@strawberry.input(description="Limits for one run; what is left out or null has its default.")
class LimitsInput:
    wall_time_ms: int | None = strawberry.field(default=None, description="By the clock.")
    cpu_time_ms: int | None = strawberry.field(
        default=None, description="Of all processors and processes together."
    )
    memory_bytes: BigInt | None = strawberry.field(
        default=None, description="Of all processes together, files in memory included."
    )
    output_bytes: BigInt | None = strawberry.field(
        default=None, description="For standard output and standard error each."
    )
    processes: int | None = strawberry.field(
        default=None, description="Processes and threads at one time."
    )
    disk_bytes: BigInt | None = strawberry.field(
        default=None, description="For `/box` and `/tmp` together."
    )

    def over(self, defaults: Limits) -> Limits:
        """Return the defaults with what was asked for put over them."""
        wall, cpu = self.wall_time_ms, self.cpu_time_ms
        return Limits(
            wall_time=defaults.wall_time if wall is None else wall / 1000,
            cpu_time=defaults.cpu_time if cpu is None else cpu / 1000,
            memory=_or(self.memory_bytes, defaults.memory),
            output=_or(self.output_bytes, defaults.output),
            processes=_or(self.processes, defaults.processes),
            disk=_or(self.disk_bytes, defaults.disk),
        )


def _or(asked: int | None, default: int) -> int:
    return default if asked is None else asked


@strawberry.input(description="A file in the program's folder, as text or as bytes.")
class FileInput:
    path: str = strawberry.field(
        description="Relative to the program's folder, such as `data/words.txt`; it must not lead "
        "out of it."
    )
    text: str | None = strawberry.field(
        default=None, description="What is in it, as text; not together with `base64`."
    )
    base64: str | None = strawberry.field(default=None, description="What is in it, as bytes.")

    def file(self, position: int) -> File:
        """Return the file.

        Raises:
            Rejected: its path or its content cannot be read.
        """
        if (self.text is None) == (self.base64 is None):
            raise _invalid_file(position, "base64", "Give `text` or `base64`, one of both.")
        try:
            path = normalized(self.path)
        except BadPath as error:
            raise _invalid_file(position, "path", str(error)) from error
        return File(path=path, data=self._data(position))

    def _data(self, position: int) -> bytes:
        try:
            if self.base64 is not None:
                return base64.b64decode(self.base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid_file(position, "base64", "`base64` is not valid base64.") from error
        try:
            return (self.text or "").encode()
        except UnicodeEncodeError as error:
            message = "`text` must be Unicode text without lone surrogates; use `base64`."
            raise _invalid_file(position, "text", message) from error


@strawberry.input(description="A program to run, and what to remember with it.")
class ExecuteCodeInput:
    language: LanguageId = strawberry.field(description="See `languages` for what is available.")
    language_version: str | None = strawberry.field(
        default=None,
        description="One of the language's `versions`, or the beginning of one: `3` and `3.11` are "
        "3.11.2 as well. The first that fits runs the program; the usual one if left out.",
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
            raise _invalid("metadata", "`metadata` must be an object.")
        defaults = rules.defaults_for(language, interactive=bool(self.interactive))
        return Submission(
            owner=caller.owner,
            subject=caller.subject,
            program=Program(
                language=language.id,
                source=self.source,
                stdin=self._stdin(),
                args=tuple(self.args or ()),
                files=self._files(),
                entry_point=self._entry_point(),
                language_version=self.language_version,
            ),
            limits=self.limits.over(defaults) if self.limits else defaults,
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
        raise _invalid("sessionId", f"You are in the session `{caller.session_id}` alone.")

    def names(self) -> dict[str, str]:
        """Return how the caller has called what has more names than one."""
        return {} if self.stdin_base64 is None else {"stdin": "stdinBase64"}

    def _key(self) -> str | None:
        if self.idempotency_key == "":
            raise _invalid("idempotencyKey", "`idempotencyKey` must not be empty.")
        return self.idempotency_key

    def _files(self) -> tuple[File, ...]:
        files: list[File] = []
        problems: list[Problem] = []
        for position, each in enumerate(self.files or ()):
            try:
                files.append(each.file(position))
            except Rejected as rejected:
                problems += rejected.problems
        if problems:
            raise Rejected(*problems[:_MOST_PROBLEMS])
        return tuple(files)

    def _entry_point(self) -> str | None:
        if self.entry_point is None:
            return None
        try:
            return normalized(self.entry_point)
        except BadPath as error:
            raise _invalid("entryPoint", str(error)) from error

    def _stdin(self) -> bytes:
        if self.stdin is not None and self.stdin_base64 is not None:
            raise _invalid("stdinBase64", "Give `stdin` or `stdinBase64`, not both.")
        try:
            if self.stdin_base64 is not None:
                return base64.b64decode(self.stdin_base64, validate=True)
        except (binascii.Error, ValueError) as error:
            raise _invalid("stdinBase64", "`stdinBase64` is not valid base64.") from error
        try:
            return (self.stdin or "").encode()
        except UnicodeEncodeError as error:
            message = "`stdin` must be Unicode text without lone surrogates; use `stdinBase64`."
            raise _invalid("stdin", message) from error


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
        raise _invalid("waitMs", f"`waitMs` must be 0 to {MAX_WAIT_MS}, not {wait_ms}.")
    return wait_ms / 1000


@strawberry.input(description="Which execution to stop.")
class CancelExecutionInput:
    id: strawberry.ID = strawberry.field(description="The execution's id.")


@strawberry.input(description="Which executions; what is left out or null does not restrict.")
class ExecutionFilter:
    status_in: list[ExecutionStatus] | None = strawberry.field(
        default=None, description="With one of these statuses."
    )
    language_in: list[LanguageId] | None = strawberry.field(
        default=None, description="In one of these languages."
    )
    session_id: str | None = strawberry.field(default=None, description="Of this session.")
    label: str | None = strawberry.field(default=None, description="With exactly this label.")
    created_after: datetime | None = strawberry.field(
        default=None, description="Created after this moment."
    )
    created_before: datetime | None = strawberry.field(
        default=None, description="Created before this moment."
    )

    def domain(self) -> history.Filter:
        """Return the filter in the domain's words."""
        for name, text in (("sessionId", self.session_id), ("label", self.label)):
            require_text(name, text)
        languages, statuses = self.language_in, self.status_in
        return history.Filter(
            statuses=None
            if statuses is None
            else frozenset(Status(status.name) for status in statuses),
            languages=None if languages is None else frozenset(each.value for each in languages),
            session_id=self.session_id,
            label=self.label,
            created_after=self.created_after,
            created_before=self.created_before,
        )


def require_text(name: str, text: str | None) -> None:
    """Make sure that a text can be looked for.

    Raises:
        BadArgumentError: it cannot.
    """
    if text is not None and ("\0" in text or not is_encodable(text)):
        message = f"`{name}` must be Unicode text without NUL or lone surrogates."
        raise BadArgumentError(message)


def _invalid_file(position: int, name: str, message: str) -> Rejected:
    return Rejected(InvalidInput(path=("files", str(position), name), message=message))


def _invalid(name: str, message: str) -> Rejected:
    return Rejected(InvalidInput(path=(name,), message=message))
