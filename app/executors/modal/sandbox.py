"""One run on Modal: a box is claimed when the program is ready to go, and used once."""

import json
import logging
import math
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict, replace

import anyio

from app.domain.execution import Exit
from app.domain.language import Language
from app.domain.limits import KIB, MIB, Limits
from app.domain.ports import Command, Emit, Placed
from app.executors.modal.attempt import Attempt
from app.executors.modal.box import Box
from app.executors.modal.errors import ModalError, NoBox
from app.executors.modal.typist import Typist

log = logging.getLogger(__name__)

Claim = Callable[[Limits], Awaitable[Box]]
Release = Callable[[Box], None]

_INODES = 4096
_ASK_TIMEOUT = 5.0  # s
_OPEN_FILES = 1024
_PENDING_SIGNALS = 1024  # and timers
_MESSAGE_QUEUES = 96 * KIB
_CPU_BACKSTOP = 1  # s above the limit, for the kernel to stop what the supervisor cannot
_ENVIRONMENT = {
    "HOME": "/box",
    "LANG": "C.UTF-8",
    "TMPDIR": "/tmp",  # noqa: S108 - the box's own
    "USER": "sandbox",
}


class ModalSandbox:
    """A place for one program of one language."""

    def __init__(  # noqa: PLR0913 - a run, and where its box comes from
        self,
        language: Language,
        limits: Limits,
        claim: Claim,
        release: Release,
        placed: Placed | None = None,
        *,
        variables: Mapping[str, str],
    ) -> None:
        self._variables = variables
        self._language, self._limits = language, limits
        self._claim, self._release, self._placed = claim, release, placed
        self._files: dict[str, bytes] = {}

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Keep the files; they travel with the job."""
        self._files.update(files)

    async def run(self, command: Command, emit: Emit) -> Exit:
        """Run the program; see `Sandbox.run`.

        When Modal takes the box away before anything of the program was seen, it runs once more
        in a fresh one: nobody can tell, and it is not the program's fault.
        """
        variables = {**self._variables, **command.environment}
        equipped = replace(command, environment=variables)
        job = encode_job(self._language, self._limits, self._files, equipped)
        typist = Typist(command.typed) if command.typed is not None else None
        attempt = Attempt(self._limits, emit, typist, collect=command.collect)
        try:
            return await self._try(job, attempt)
        except ModalError as error:
            if attempt.was_seen or isinstance(error, NoBox):
                raise
            log.warning("a sandbox was lost; trying another", extra={"reason": str(error)})
            again = Attempt(self._limits, emit, typist, collect=command.collect)
            return await self._try(job, again)

    async def _try(self, job: bytes, attempt: Attempt) -> Exit:
        box = await self._claim(self._limits)
        try:
            await self._place(box)
            await box.give(job)
            return await attempt.follow(box)
        except ModalError:
            raise
        except BaseException:
            await disown_if_lost(box, self._placed)
            raise
        finally:
            # The supervisor has ended the program; that Modal ends the box need not be waited for.
            self._release(box)

    async def _place(self, box: Box) -> None:
        if self._placed is not None:
            await self._placed(box.placement)


async def disown_if_lost(box: Box, placed: Placed | None) -> None:
    """Leave a box alone, unless the run in it is surely ours: somebody else may follow it."""
    if placed is None:
        return
    with anyio.move_on_after(_ASK_TIMEOUT, shield=True):
        try:
            await placed(box.placement)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is no yes
            log.warning("modal: a sandbox is left alone", extra={"reason": repr(error)})
        else:
            return
    box.disown()


def encode_job(
    language: Language,
    limits: Limits,
    files: Mapping[str, bytes],
    command: Command,
) -> bytes:
    """Return what the supervisor reads: a line that announces, and the bytes announced."""
    head = {
        "argv": [command.executable or language.image.executable, *command.arguments],
        "environment": {**_ENVIRONMENT, **command.environment},
        "files": [{"path": path, "size": len(data)} for path, data in files.items()],
        "stdin": len(command.stdin),
        "typed": command.typed is not None,
        "collect": asdict(command.collect) if command.collect else None,
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
            "RLIMIT_MEMLOCK": MIB,
            "RLIMIT_SIGPENDING": _PENDING_SIGNALS,
            "RLIMIT_MSGQUEUE": _MESSAGE_QUEUES,
            "RLIMIT_NICE": 0,
            "RLIMIT_RTPRIO": 0,
        },
    }
    return b"".join((json.dumps(head).encode(), b"\n", *files.values(), command.stdin))
