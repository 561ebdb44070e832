"""A Modal sandbox with our supervisor in it, for one run."""

import contextlib
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import modal

from app.domain.errors import ExecutorError
from app.domain.ports import Placement
from app.executors.modal.account import Account, BoxSize, end, leave, status_of
from app.executors.modal.calls import within
from app.executors.modal.errors import Lost, ModalError, Unauthorized, translated
from app.executors.modal.frames import Frame, Kind
from app.executors.modal.private import OOM_KILLED, ProcessIds, output_again, process_ids
from app.executors.modal.reading import Reading

SUPERVISOR = Path(__file__).with_name("supervisor.py").read_text()
_START_TIMEOUT = 30.0  # s; the client itself would try for five minutes to reach a worker
_READY_TIMEOUT = 60.0  # s; Python starts in the box, which may be cold
_GIVE_TIMEOUT = 15.0  # s; a job of megabytes takes one
_VERDICT_TIMEOUT = 5.0  # s for Modal to say how a box ended, after its output has


@dataclass(slots=True, kw_only=True)
class Box:
    """A box whose supervisor waits for its job, or has it."""

    account: Account
    sandbox: modal.Sandbox
    ids: ProcessIds
    size: BoxSize
    _process: Any
    """None in a box that another process made: nothing more can be handed to it."""
    _reading: Reading
    _ended: bool = field(default=False)
    _is_ours: bool = field(default=True)

    @property
    def id(self) -> str:
        """The sandbox's id."""
        return self.sandbox.object_id

    @property
    def placement(self) -> Placement:
        """What `find_box` needs in another process."""
        return {
            "sandbox": self.id,
            "task": self.ids.task,
            "exec": self.ids.exec,
            "memory": str(self.size.memory),
            "cpu": str(self.size.cpu),
        }

    async def give(self, data: bytes) -> None:
        """Hand the job over: the one call on the critical path of a warm run. Or what is typed."""
        with translated("hand over a job"):
            self._process.stdin.write(data)
            await within(_GIVE_TIMEOUT, self._process.stdin.drain.aio())

    def frames(self) -> AsyncIterator[Frame]:
        """Give what the supervisor reports, until its output ends."""
        return self._reading

    async def ran_out_of_memory(self) -> bool:
        """Whether Modal says that the kernel killed the box for its memory.

        Raises:
            ModalError: Modal says otherwise, or nothing: the program was not to blame.
        """
        status = None
        with anyio.move_on_after(_VERDICT_TIMEOUT):
            while (  # noqa: ASYNC110 - Modal tells nobody
                status := await status_of(self.sandbox)
            ) is None:
                await anyio.sleep(0.05)
        if status != OOM_KILLED:
            raise Lost(f"Modal: the sandbox ended with status {status}")
        return True

    def disown(self) -> None:
        """Leave it to another process: its end is then no matter of ours."""
        self._is_ours = False

    async def end(self, successor: Callable[[], Account | None] = lambda: None) -> None:
        """Terminate the box, once; one that is gone already is fine.

        Where the token that made it is refused meanwhile, that of its successor may do it.
        """
        if self._ended:
            return
        self._ended = True
        with anyio.CancelScope(shield=True):
            try:
                # It ends with its lifetime otherwise.
                with contextlib.suppress(ExecutorError):
                    await self._terminate(successor)
                await self._reading.close()
            finally:
                self.account.box_ended()

    async def _terminate(self, successor: Callable[[], Account | None]) -> None:
        if not self._is_ours:
            await leave(self.sandbox)
            return
        tried = self.account
        try:
            await end(self.sandbox)
        except Unauthorized:
            await leave(self.sandbox)
            # It may have one itself by the time that it is asked.
            while (account := successor()) is not None and account is not tried:
                tried = account
                with contextlib.suppress(Unauthorized):
                    await end(await tried.find(self.id))
                    return
            self.account.left.add(self.id)


async def open_box(account: Account, size: BoxSize, tags: Mapping[str, str]) -> Box:
    """Create a box with a supervisor that is ready."""
    # From now on: an account that others have left must not hang up before the box is there.
    account.box_began()
    try:
        return await supervise(account, await account.create(size, tags), size)
    except BaseException:
        account.box_ended()
        raise


async def supervise(account: Account, sandbox: modal.Sandbox, size: BoxSize) -> Box:
    """Start the supervisor in a sandbox, and wait until it is ready; otherwise end the sandbox."""
    reading = None
    try:
        with translated("start the supervisor"):
            start = sandbox.exec.aio("python3", "-u", "-c", SUPERVISOR, text=False)
            process = await within(_START_TIMEOUT, start)
        reading = Reading(process.stdout)
        await _ready(reading)
    except BaseException:
        with anyio.CancelScope(shield=True):
            await _forget(sandbox)
            if reading is not None:
                await reading.close()
        raise
    return Box(
        account=account,
        sandbox=sandbox,
        ids=process_ids(process),
        size=size,
        _process=process,
        _reading=reading,
    )


async def find_box(account: Account, placement: Placement) -> Box:
    """Find a box that another process made; its frames come again from the first.

    Raises:
        Missing: it was never there, or Modal has forgotten it.
    """
    sandbox = await account.find(placement["sandbox"])
    ids = ProcessIds(task=placement["task"], exec=placement["exec"])
    size = BoxSize(
        memory=int(placement.get("memory", 0)), cpu=float(placement.get("cpu", 0)), lifetime=0
    )
    account.box_began()
    return Box(
        account=account,
        sandbox=sandbox,
        ids=ids,
        size=size,
        _process=None,
        _reading=Reading(output_again.aio(sandbox, ids.task, ids.exec)),
    )


async def _ready(reading: Reading) -> None:
    with anyio.move_on_after(_READY_TIMEOUT):
        first = await anext(reading, None)
        if first is not None and first.kind is Kind.READY:
            return
    raise ModalError("Modal: the supervisor did not say that it is ready")


async def _forget(sandbox: modal.Sandbox) -> None:
    try:
        await end(sandbox)
    except ExecutorError:
        return  # it ends by itself when its lifetime does
