"""What a submission must look like to be accepted."""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from app.domain.errors import InvalidInput, LimitTooHigh, Problem
from app.domain.execution import File, Program, Submission
from app.domain.language import Language
from app.domain.limits import (
    DEFAULT_LIMITS,
    KIB,
    MAXIMUM_LIMITS,
    MIB,
    Limits,
    describe_limit,
    describe_size,
)

MOST_PROBLEMS = 20  # of files or of tests that are told at once
_SOURCE_ROOM = 64 * KIB  # of scratch disk beside the source: the file system's own bookkeeping
_LEAST_MEMORY = 4 * MIB  # the sandbox itself needs less than 1 MiB, a small interpreter 3


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The operator's rules for submissions. Sizes in bytes."""

    defaults: Limits = DEFAULT_LIMITS
    maximums: Limits = MAXIMUM_LIMITS
    source: int = 256 * KIB
    stdin: int = 1 * MIB
    args: int = 64
    args_size: int = 64 * KIB
    files: int = 20
    files_size: int = 2 * MIB
    tests: int = 1000
    tests_size: int = 8 * MIB
    """What all tests read and expect, together."""
    metadata: int = 16 * KIB
    metadata_depth: int = 8
    text_length: int = 200
    """Characters of a label or a session id."""
    interactive_wall_time: float = 1800.0
    """Seconds, instead of the other wall times: people think longer than programs compute."""

    def defaults_for(self, language: Language, *, interactive: bool) -> Limits:
        """Return the limits of a run that asks for nothing else."""
        wanted = max(self.defaults.memory, language.memory or 0)
        limits = replace(self.defaults, memory=min(wanted, self.maximums.memory))
        return self._widened(limits, interactive=interactive)

    def maximums_for(self, *, interactive: bool) -> Limits:
        """Return what a run may ask for at most."""
        return self._widened(self.maximums, interactive=interactive)

    def _widened(self, limits: Limits, *, interactive: bool) -> Limits:
        return replace(limits, wall_time=self.interactive_wall_time) if interactive else limits

    def problems(self, submission: Submission) -> Iterator[Problem]:
        """Name everything that is wrong with a submission, for its caller to mend at once."""
        yield from self._program_problems(submission.program)
        maximums = self.maximums_for(interactive=submission.interactive)
        yield from self.limit_problems(submission.limits, maximums, submission.program)
        for name in ("session_id", "label", "idempotency_key"):
            yield from text_problems((name,), getattr(submission, name), self.text_length)
        if submission.metadata is not None:
            yield from self._metadata_problems(submission.metadata)

    def _program_problems(self, program: Program) -> Iterator[Problem]:
        if not is_encodable(program.source):
            message = "`source` must be Unicode text without lone surrogates."
            yield InvalidInput(path=("source",), message=message)
        else:
            yield from _size_problems(("source",), len(program.source.encode()), self.source)
        yield from self._version_problems(program.language_version)
        yield from text_problems(("environment",), program.environment, self.text_length)
        yield from self.input_problems(program.stdin, program.args, program.files)

    def input_problems(
        self, stdin: bytes, args: tuple[str, ...], files: tuple[File, ...]
    ) -> Iterator[Problem]:
        """Name what is wrong with what a program is given."""
        yield from _size_problems(("stdin",), len(stdin), self.stdin)
        yield from self._argument_problems(args)
        if len(files) > self.files:
            message = f"`files` may have at most {self.files} items, not {len(files)}."
            yield InvalidInput(path=("files",), message=message)
        size = sum(len(each.data) for each in files)
        yield from _size_problems(("files",), size, self.files_size)

    def _version_problems(self, version: str | None) -> Iterator[Problem]:
        if version == "":
            message = "`languageVersion` must not be empty; leave it out for the usual one."
            yield InvalidInput(path=("language_version",), message=message)
        yield from text_problems(("language_version",), version, self.text_length)

    def _argument_problems(self, args: tuple[str, ...]) -> Iterator[Problem]:
        if len(args) > self.args:
            message = f"`args` may have at most {self.args} items, not {len(args)}."
            yield InvalidInput(path=("args",), message=message)
            return  # a problem for each of them would be an answer without bound
        size = sum(len(arg.encode(errors="replace")) for arg in args)
        yield from _size_problems(("args",), size, self.args_size)
        for position, arg in enumerate(args):
            yield from text_problems(("args", str(position)), arg, None)

    def limit_problems(
        self, limits: Limits, maximums: Limits, program: Program
    ) -> Iterator[Problem]:
        """Name what is wrong with the limits of a program."""
        source_size = len(program.source.encode(errors="replace"))
        source_size += sum(len(each.data) for each in program.files)
        for name in limits.not_positive():
            message = f"{_spoken(name)} must be greater than zero."
            yield InvalidInput(path=("limits", name), message=message)
        for name in limits.above(maximums):
            yield _too_high(name, getattr(limits, name), getattr(maximums, name))
        for name, room in (("memory", _LEAST_MEMORY), ("disk", _SOURCE_ROOM)):
            if 0 < getattr(limits, name) < source_size + room:
                least = describe_size(source_size + room)
                message = f"{_spoken(name)} must hold the program itself: at least {least}."
                yield InvalidInput(path=("limits", name), message=message)

    def _metadata_problems(self, metadata: Mapping[str, Any]) -> Iterator[Problem]:
        path = ("metadata",)
        if is_deeper(metadata, self.metadata_depth):
            message = f"`metadata` may be nested at most {self.metadata_depth} deep."
            yield InvalidInput(path=path, message=message)
            return
        try:
            text = json.dumps(metadata, ensure_ascii=False, allow_nan=False)
        except ValueError:
            message = "`metadata` has a number that is too large for JSON."
            yield InvalidInput(path=path, message=message)
            return
        # Without escaped backslashes, what still reads as an escaped NUL is one.
        if not is_encodable(text) or "\\u0000" in text.replace("\\\\", ""):
            yield _not_encodable(path)
            return
        yield from _size_problems(path, len(text.encode()), self.metadata)


def is_encodable(text: str) -> bool:
    """Whether the text is proper Unicode: JSON can smuggle in half of a surrogate pair."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def text_problems(path: tuple[str, ...], text: str | None, length: int | None) -> Iterator[Problem]:
    """Name what is wrong with a text, which has a length in characters at most."""
    if text is None:
        return
    if not is_encodable(text) or "\0" in text:
        yield _not_encodable(path)
    elif length is not None and len(text) > length:
        message = f"{_quoted(path)} may have at most {length} characters, not {len(text)}."
        yield InvalidInput(path=path, message=message)


def _size_problems(path: tuple[str, ...], size: int, maximum: int) -> Iterator[Problem]:
    if size > maximum:
        sizes = f"at most {describe_size(maximum)}, not {describe_size(size)}"
        yield InvalidInput(path=path, message=f"{_quoted(path)} may be {sizes}.")


def _not_encodable(path: tuple[str, ...]) -> InvalidInput:
    return InvalidInput(
        path=path, message=f"{_quoted(path)} must be Unicode text without NUL or lone surrogates."
    )


def _quoted(path: tuple[str, ...]) -> str:
    """Name a part of the input as its callers write it."""
    first, *more = path[0].split("_")
    return f"`{first}{''.join(word.capitalize() for word in more)}`"


def _too_high(name: str, requested: float, maximum: float) -> LimitTooHigh:
    return LimitTooHigh(
        path=("limits", name),
        message=f"{_spoken(name)} may be at most {describe_limit(name, maximum)}, "
        f"not {describe_limit(name, requested)}.",
        limit=name,
        requested=requested,
        maximum=maximum,
    )


def _spoken(limit: str) -> str:
    return f"The {limit.replace('_', ' ').replace('cpu', 'CPU')} limit"


def is_deeper(value: object, depth: int) -> bool:
    """Whether containers are nested in more than `depth` levels; goes no further than that."""
    level = [value]
    for _ in range(depth):
        level = [inner for each in level for inner in _items(each)]
    return any(isinstance(each, dict | list) for each in level)


def _items(value: object) -> Iterable[object]:
    match value:
        case dict():
            return value.values()
        case list():
            return value
        case _:
            return ()
