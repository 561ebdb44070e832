"""Parts that several inputs have: limits, files, and text that may be bytes."""

import base64 as base64_codec
import binascii
from collections.abc import Sequence
from dataclasses import replace

import strawberry

from app.api.scalars import BigInt
from app.domain.errors import InvalidInput, Problem, Rejected
from app.domain.execution import File
from app.domain.limits import Limits
from app.domain.paths import BadPath, normalized
from app.executions.rules import MOST_PROBLEMS


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

    def file(self) -> File:
        """Return the file.

        Raises:
            Rejected: its path or its content cannot be read.
        """
        data = bytes_of("text", self.text, "base64", self.base64)
        if data is None:
            raise invalid("base64", "Give `text` or `base64`, one of both.")
        return File(path=path_of("path", self.path), data=data)


def files_of(inputs: Sequence[FileInput] | None) -> tuple[File, ...]:
    """Return files.

    Raises:
        Rejected: a path or a content cannot be read.
    """
    files: list[File] = []
    problems: list[Problem] = []
    for position, each in enumerate(inputs or ()):
        try:
            files.append(each.file())
        except Rejected as rejected:
            problems += within(rejected, "files", str(position))
    if problems:
        raise Rejected(*problems[:MOST_PROBLEMS])
    return tuple(files)


def path_of(name: str, path: str) -> str:
    """Return a path as we write it.

    Raises:
        Rejected: it leads out of the program's folder, or is none.
    """
    try:
        return normalized(path)
    except BadPath as error:
        raise invalid(name, str(error)) from error


def bytes_of(name: str, text: str | None, name_of_base64: str, base64: str | None) -> bytes | None:
    """Return what is given as text or as base64; None if neither is.

    Raises:
        Rejected: both are, or it cannot be read.
    """
    if text is not None and base64 is not None:
        raise invalid(name_of_base64, f"Give `{name}` or `{name_of_base64}`, not both.")
    if base64 is not None:
        try:
            return base64_codec.b64decode(base64, validate=True)
        except (binascii.Error, ValueError) as error:
            message = f"`{name_of_base64}` is not valid base64."
            raise invalid(name_of_base64, message) from error
    try:
        return None if text is None else text.encode()
    except UnicodeEncodeError as error:
        message = f"`{name}` must be Unicode text without lone surrogates; use `{name_of_base64}`."
        raise invalid(name, message) from error


def within(rejected: Rejected, *path: str) -> list[Problem]:
    """Return the problems of a part, with the path that leads to it."""
    return [replace(problem, path=(*path, *problem.path)) for problem in rejected.problems]


def invalid(name: str, message: str) -> Rejected:
    """Return the refusal of one part of an input."""
    return Rejected(InvalidInput(path=(name,), message=message))
