"""One run on Modal: a box is claimed when the program is ready to go, and used once."""

import json
import logging
import math
import os
import signal
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio

from app.domain.errors import ExecutorError
from app.domain.execution import Exit, KillReason, Output, Stream, Usage
from app.domain.language import Language
from app.domain.limits import Limits
from app.domain.ports import Command, Emit
from app.executors.modal.box import Box
from app.executors.modal.errors import ModalError, NoBox
from app.executors.modal.frames import Frame, Kind

log = logging.getLogger(__name__)

Claim = Callable[[Limits], Awaitable[Box]]
Release = Callable[[Box], None]

_GRACE = 5.0  # s beyond the wall limit for the supervisor to report by itself
_INODES = 4096
_OPEN_FILES = 1024
_CPU_BACKSTOP = 1  # s above the limit, for the kernel to stop what the supervisor cannot
_ENVIRONMENT = {
    "HOME": "/box",
    "LANG": "C.UTF-8",
    "PATH": "/usr/local/bin:/usr/bin:/bin",
    "TMPDIR": "/tmp",  # noqa: S108 - the box's own
    "USER": "sandbox",
}
_STREAMS = {Kind.STDOUT: Stream.STDOUT, Kind.STDERR: Stream.STDERR}


class ModalSandbox:
    """A place for one program of one language."""

    def __init__(self, language: Language, limits: Limits, claim: Claim, release: Release) -> None:
        self._language, self._limits = language, limits
        self._claim, self._release = claim, release
        self._files: dict[str, bytes] = {}

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Keep the files; they travel with the job."""
        self._files.update(files)

    async def run(self, command: Command, emit: Emit) -> Exit:
        """Run the program; see `Sandbox.run`.

        When Modal takes the box away before anything of the program was seen, it runs once more
        in a fresh one: nobody can tell, and it is not the program's fault.
        """
        arguments = (*self._language.arguments, *command.args)
        return await self.run_raw(arguments, command, emit)

    async def run_raw(self, arguments: tuple[str, ...], command: Command, emit: Emit) -> Exit:
        """Run the language's executable with these arguments alone."""
        job = encode_job(self._language, self._limits, self._files, arguments, command.stdin)
        attempt = _Attempt(self._limits, emit)
        try:
            return await self._try(job, attempt)
        except ModalError as error:
            if attempt.has_emitted or isinstance(error, NoBox):
                raise
            log.warning("a sandbox was lost; trying another", extra={"reason": str(error)})
            return await self._try(job, _Attempt(self._limits, emit))

    async def _try(self, job: bytes, attempt: "_Attempt") -> Exit:
        box = await self._claim(self._limits)
        try:
            await box.give(job)
            return await attempt.follow(box)
        finally:
            # The supervisor has ended the program; that Modal ends the box need not be waited for.
            self._release(box)


class _Attempt:
    """What one box reports about the program."""

    def __init__(self, limits: Limits, emit: Emit) -> None:
        self._limits, self._emit = limits, emit
        self.has_emitted = False

    async def follow(self, box: Box) -> Exit:
        """Pass the output on and return the facts of the end.

        Raises:
            ModalError: the box was lost, and not through the program.
        """
        with anyio.move_on_after(self._limits.wall_time + _GRACE) as patience:
            async for frame in box.frames():
                if (end := await self._take(frame)) is not None:
                    return end
        if patience.cancelled_caught:
            # The supervisor should have; our own clock is the second that watches.
            return Exit(kill_reason=KillReason.WALL_TIME)
        return Exit(oom_killed=await box.ran_out_of_memory())

    async def _take(self, frame: Frame) -> Exit | None:
        match frame.kind:
            case Kind.STDOUT | Kind.STDERR:
                self.has_emitted = True
                await self._emit(Output(stream=_STREAMS[frame.kind], data=frame.data))
            case Kind.ENDED:
                return decode_exit(frame.details())
            case Kind.FAILED:
                message = str(frame.details().get("message"))
                raise ExecutorError(f"the supervisor could not run the program: {message}")
            case Kind.READY | Kind.STARTED:
                pass
        return None


def encode_job(
    language: Language,
    limits: Limits,
    files: Mapping[str, bytes],
    arguments: tuple[str, ...],
    stdin: bytes,
) -> bytes:
    """Return what the supervisor reads: a line that announces, and the bytes announced."""
    head = {
        "argv": [language.image.executable, *arguments],
        "environment": {**_ENVIRONMENT, **dict(language.environment)},
        "files": [{"path": path, "size": len(data)} for path, data in files.items()],
        "stdin": len(stdin),
        "wall_time": limits.wall_time,
        "cpu_time": limits.cpu_time,
        "memory": limits.memory,
        "output": limits.output,
        "disk": limits.disk,
        "inodes": _INODES,
        "rlimits": {
            "RLIMIT_CORE": 1,
            "RLIMIT_NOFILE": _OPEN_FILES,
            "RLIMIT_FSIZE": limits.disk,
            "RLIMIT_CPU": math.ceil(limits.cpu_time) + _CPU_BACKSTOP,
            "RLIMIT_NPROC": limits.processes,
        },
    }
    return b"".join((json.dumps(head).encode(), b"\n", *files.values(), stdin))


def decode_exit(report: Mapping[str, Any]) -> Exit:
    """Read the supervisor's facts.

    Raises:
        ExecutorError: they make no sense.
    """
    try:
        status, reason = report["status"], report["kill_reason"]
        return Exit(
            code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=_signal_name(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None,
            kill_reason=KillReason(reason) if reason else None,
            truncated=frozenset(_STREAMS[Kind(each.encode())] for each in report["truncated"]),
            usage=Usage(
                wall_time=float(report["wall_time"]),
                cpu_time=float(report["cpu_time"]),
                peak_memory=int(report["peak_memory"]),
            ),
        )
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        raise ExecutorError("the supervisor's report makes no sense") from error


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"SIG{number}"
