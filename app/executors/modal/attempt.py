"""What one box reports about its program, followed to the end."""

import math
import os
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import anyio

from app.domain.errors import ExecutorError
from app.domain.execution import Exit, KillReason, Output, Stream, Usage, signal_name
from app.domain.limits import Limits
from app.domain.ports import Collect, Emit
from app.executors.modal.account import BoxSize
from app.executors.modal.box import Box
from app.executors.modal.errors import Lost
from app.executors.modal.frames import Frame, Kind
from app.executors.modal.product import Product
from app.executors.modal.typist import Typist

_GRACE = 5.0  # s beyond the wall limit for the supervisor to report by itself
_BEGIN = 10.0  # s for a job that was handed over to begin; files of megabytes take one
_STREAMS = {Kind.STDOUT: Stream.STDOUT, Kind.STDERR: Stream.STDERR}


class Attempt:
    """One program in one box.

    Args:
        skip: bytes of each stream that are known already, from before a crash of the server.
    """

    def __init__(
        self,
        limits: Limits,
        emit: Emit,
        typist: Typist | None = None,
        *,
        collect: Collect | None = None,
        skip: Mapping[Stream, int] | None = None,
    ) -> None:
        self._limits, self._emit, self._typist = limits, emit, typist
        self._skip = dict(skip or {})
        self._product = Product(collect) if collect else None
        self._has_emitted = False
        self._patience = anyio.CancelScope()

    @property
    def was_seen(self) -> bool:
        """Whether anybody could tell that the program ran."""
        return self._has_emitted or (self._typist is not None and self._typist.has_begun)

    async def follow(self, box: Box) -> Exit:
        """Pass the output on and return the facts of the end.

        Raises:
            ModalError: the box was lost, and not through the program.
        """
        if self._typist is None:
            return await self._follow(box)
        return await self._typist.alongside(box, self._follow(box))

    async def resume(self, box: Box) -> Exit | None:
        """Follow a program that was handed over by another process; None when it never was.

        Raises:
            Lost: the box was lost, and not through the program.
        """
        with anyio.move_on_after(_BEGIN) as self._patience:
            return await self._follow(box)
        return None

    async def _follow(self, box: Box) -> Exit:
        with anyio.move_on_after(self._limits.wall_time + _GRACE) as patience:
            async for frame in box.frames():
                left = patience.deadline - anyio.current_time()
                # That whoever takes the output is slow says nothing of the supervisor.
                patience.deadline = math.inf
                if (end := await self._take(frame)) is not None:
                    return _priced(end, box.size)
                patience.deadline = anyio.current_time() + left
        if patience.cancelled_caught:
            # It would have ended the program by then: that we heard nothing is no verdict.
            raise Lost("Modal: the supervisor fell silent")
        return Exit(oom_killed=await box.ran_out_of_memory())

    async def _take(self, frame: Frame) -> Exit | None:
        match frame.kind:
            case Kind.STDOUT | Kind.STDERR:
                await self._pass_on(_STREAMS[frame.kind], frame.data)
            case Kind.ENDED:
                return self._with_product(frame.details())
            case Kind.FILE | Kind.CONTENT:
                self._take_product(frame)
            case Kind.FAILED:
                message = str(frame.details().get("message"))
                raise ExecutorError(f"the supervisor could not run the program: {message}")
            case Kind.STARTED:
                self._patience.deadline = math.inf
                if self._typist is not None:
                    self._typist.begin()
            case Kind.TAKEN:
                if self._typist is not None:
                    self._typist.taken(frame.number())
            case Kind.READY:
                pass
        return None

    def _take_product(self, frame: Frame) -> None:
        if self._product is not None:
            self._product.take(frame)

    def _with_product(self, report: Mapping[str, Any]) -> Exit:
        end = decode_exit(report)
        if self._product is None or report.get("left_out") is None:
            return end
        collected = self._product.end(report["left_out"])
        return replace(end, product=collected.files, left_out=collected.left_out)

    async def _pass_on(self, stream: Stream, data: bytes) -> None:
        known = min(self._skip.get(stream, 0), len(data))
        if known:
            self._skip[stream] -= known
        if len(data) > known:
            self._has_emitted = True
            await self._emit(Output(stream=stream, data=data[known:]))


def decode_exit(report: Mapping[str, Any]) -> Exit:
    """Read the supervisor's facts.

    Raises:
        ExecutorError: they make no sense.
    """
    try:
        status, reason = report["status"], report["kill_reason"]
        return Exit(
            code=os.WEXITSTATUS(status) if os.WIFEXITED(status) else None,
            signal=signal_name(os.WTERMSIG(status)) if os.WIFSIGNALED(status) else None,
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


def _priced(end: Exit, size: BoxSize) -> Exit:
    """Say what was kept for the program: Modal bills that, or more where more was used."""
    if end.usage is None:
        return end
    usage = replace(end.usage, reserved_cores=size.cpu, reserved_memory=size.memory)
    return replace(end, usage=usage)
