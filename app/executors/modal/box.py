"""A Modal sandbox with our supervisor in it, for one run."""

from collections.abc import AsyncGenerator, AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import modal

from app.domain.errors import ExecutorError
from app.executors.modal.account import Account, BoxSize, end, status_of
from app.executors.modal.errors import ModalError, translated
from app.executors.modal.frames import Decoder, Frame, Kind
from app.executors.modal.private import OOM_KILLED, ProcessIds, process_ids

SUPERVISOR = Path(__file__).with_name("supervisor.py").read_text()
_READY_TIMEOUT = 60.0  # s; Python starts in the box, which may be cold
_GIVE_TIMEOUT = 15.0  # s; a job of megabytes takes one
_VERDICT_TIMEOUT = 5.0  # s for Modal to say how a box ended, after its output has


@dataclass(slots=True, kw_only=True)
class Box:
    """A box whose supervisor waits for its job."""

    account: Account
    sandbox: modal.Sandbox
    ids: ProcessIds
    born: float
    _process: Any
    _frames: AsyncGenerator[Frame, None]
    _ended: bool = field(default=False)

    @property
    def id(self) -> str:
        """The sandbox's id."""
        return self.sandbox.object_id

    async def give(self, job: bytes) -> None:
        """Hand the job over: the one call on the critical path of a warm run."""
        with translated("hand over a job"), anyio.fail_after(_GIVE_TIMEOUT):
            self._process.stdin.write(job)
            await self._process.stdin.drain.aio()

    def frames(self) -> AsyncIterator[Frame]:
        """Give what the supervisor reports, until its output ends."""
        return self._frames

    async def ran_out_of_memory(self) -> bool:
        """Whether Modal says that the kernel killed the box for its memory.

        Raises:
            ModalError: Modal says otherwise, or nothing: the program was not to blame.
        """
        status = None
        with anyio.move_on_after(_VERDICT_TIMEOUT):
            while status is None:
                status = await status_of(self.sandbox)
                if status is None:
                    await anyio.sleep(0.05)
        if status != OOM_KILLED:
            raise ModalError(f"Modal: the sandbox ended with status {status}")
        return True

    async def end(self) -> None:
        """Terminate the box, once; one that is gone already is fine."""
        if self._ended:
            return
        self._ended = True
        with anyio.CancelScope(shield=True):
            try:
                await end(self.sandbox)
                await self._frames.aclose()
            except (ExecutorError, RuntimeError):
                pass  # the sandbox ends with its lifetime, and a read that was cancelled with it
            finally:
                self.account.box_ended()


async def open_box(account: Account, size: BoxSize, tags: dict[str, str]) -> Box:
    """Create a box, start the supervisor and wait until it is ready."""
    sandbox = await account.create(size, tags)
    try:
        with translated("start the supervisor"):
            process = await sandbox.exec.aio("python3", "-u", "-c", SUPERVISOR, text=False)
        frames = _read(process)
        await _ready(frames)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _forget(sandbox)
        raise
    account.box_began()
    return Box(
        account=account,
        sandbox=sandbox,
        ids=process_ids(process),
        born=anyio.current_time(),
        _process=process,
        _frames=frames,
    )


async def _ready(frames: AsyncGenerator[Frame, None]) -> None:
    with anyio.move_on_after(_READY_TIMEOUT):
        first = await anext(frames, None)
        if first is not None and first.kind is Kind.READY:
            return
    raise ModalError("Modal: the supervisor did not say that it is ready")


async def _read(process: Any) -> AsyncGenerator[Frame, None]:
    decoder = Decoder()
    with translated("read the output"):
        async for chunk in process.stdout:
            for frame in decoder.feed(chunk):
                yield frame


async def _forget(sandbox: modal.Sandbox) -> None:
    try:
        await end(sandbox)
    except ExecutorError:
        return  # it ends by itself when its lifetime does
