"""Calls that go to the worker of a box: start a program, feed it, read it, wait for it."""

import os
from collections.abc import AsyncIterator, Mapping
from typing import Any

from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from modal_proto import task_command_router_pb2 as router_pb2

from app.executors.modal.loopback.box import ENTRYPOINT, Box, BoxGone, environment_of
from app.executors.modal.loopback.bytelog import ByteLog
from app.executors.modal.loopback.programs import Command, Program
from app.executors.modal.loopback.proto import Message
from app.executors.modal.loopback.rpc import Streaming, Unary
from app.executors.modal.loopback.state import State
from app.executors.modal.loopback.stdin import StdinClosed, StdinGap

_STDERR = 1  # of TaskExecStdioFileDescriptor and of SandboxStdioFileDescriptor alike
Metadata = Mapping[str, Any]


class Router:
    """The task command router; one serves all boxes."""

    def __init__(self, state: State) -> None:
        self._state = state
        self.unary: Mapping[str, Unary] = {
            "TaskExecStart": self.start,
            "TaskExecStdinWrite": self.write,
            "TaskExecStdinStatus": self.stdin_status,
            "TaskExecPoll": self.poll,
            "TaskExecWait": self.wait,
            "SandboxStdinWriteV2": self.write_entrypoint,
        }
        self.streaming: Mapping[str, Streaming] = {
            "TaskExecStdioRead": self.read,
            "SandboxStdioReadV2": self.read_entrypoint,
        }

    async def start(self, request: router_pb2.TaskExecStartRequest, _: Metadata) -> Message:
        """Start a program; a repeated call with the same id starts nothing."""
        if request.HasField("pty_info"):
            raise GRPCError(Code.UNIMPLEMENTED, "the loopback server has no terminals")
        box = self._box(request.task_id)
        try:
            await box.execute(request.exec_id, _command(box, request))
        except BoxGone as error:
            raise _gone(box) from error
        except OSError as error:
            raise GRPCError(Code.INVALID_ARGUMENT, f"cannot start: {error.strerror}") from error
        return router_pb2.TaskExecStartResponse()

    async def write(self, request: router_pb2.TaskExecStdinWriteRequest, _: Metadata) -> Message:
        """Give a program input; what arrived before is not given twice."""
        self._write(self._box(request.task_id), request.exec_id, request)
        return router_pb2.TaskExecStdinWriteResponse()

    async def write_entrypoint(
        self, request: router_pb2.SandboxStdinWriteV2Request, _: Metadata
    ) -> Message:
        """Give the entrypoint input."""
        self._write(self._box(request.task_id), ENTRYPOINT, request)
        return router_pb2.SandboxStdinWriteV2Response()

    async def stdin_status(
        self, request: router_pb2.TaskExecStdinStatusRequest, _: Metadata
    ) -> Message:
        """Say how much input has arrived."""
        stdin = self._program(self._box(request.task_id), request.exec_id).stdin
        return router_pb2.TaskExecStdinStatusResponse(
            num_bytes_written=stdin.size, closed=stdin.is_closed
        )

    async def read(
        self, request: router_pb2.TaskExecStdioReadRequest, _: Metadata
    ) -> AsyncIterator[router_pb2.TaskExecStdioReadResponse]:
        """Send what a program writes, from an offset on."""
        box = self._box(request.task_id)
        program = self._program(box, request.exec_id)
        log = program.stderr if request.file_descriptor == _STDERR else program.stdout
        async for _offset, data in self._follow(box, log, request.offset):
            yield router_pb2.TaskExecStdioReadResponse(data=data)

    async def read_entrypoint(
        self, request: router_pb2.SandboxStdioReadV2Request, _: Metadata
    ) -> AsyncIterator[router_pb2.SandboxStdioReadV2Response]:
        """Send what the entrypoint writes; also when its box has ended."""
        box = self._state.box_of_task(request.task_id)
        await box.ready.wait()
        if ENTRYPOINT not in box.programs:
            return
        program = box.programs[ENTRYPOINT]
        log = program.stderr if request.file_descriptor == _STDERR else program.stdout
        async for offset, data in self._follow(box, log, request.offset):
            yield router_pb2.SandboxStdioReadV2Response(data=data, starting_offset=offset)

    async def poll(self, request: router_pb2.TaskExecPollRequest, _: Metadata) -> Message:
        """Say how a program ended, or nothing."""
        program = self._program(self._box(request.task_id), request.exec_id)
        return router_pb2.TaskExecPollResponse(**_ending(program.status))

    async def wait(self, request: router_pb2.TaskExecWaitRequest, _: Metadata) -> Message:
        """Wait until a program ends."""
        box = self._box(request.task_id)
        program = self._program(box, request.exec_id)
        await program.ended.wait()
        if program.status is None:
            raise _gone(box)
        return router_pb2.TaskExecWaitResponse(**_ending(program.status))

    def _box(self, task_id: str) -> Box:
        """Find a living box: the worker forgets one when it ends."""
        box = self._state.box_of_task(task_id)
        if not box.is_running:
            raise _gone(box)
        return box

    def _program(self, box: Box, exec_id: str) -> Program:
        if exec_id not in box.programs:
            raise GRPCError(Code.NOT_FOUND, f"exec {exec_id} not found")
        return box.programs[exec_id]

    def _write(
        self,
        box: Box,
        exec_id: str,
        request: router_pb2.TaskExecStdinWriteRequest | router_pb2.SandboxStdinWriteV2Request,
    ) -> None:
        box.touch()
        try:
            stdin = self._program(box, exec_id).stdin
            stdin.write(request.offset, request.data, end=request.eof)
        except StdinClosed as error:
            raise GRPCError(Code.FAILED_PRECONDITION, "stdin is closed") from error
        except StdinGap as error:
            raise GRPCError(Code.OUT_OF_RANGE, "bytes before the offset are missing") from error

    async def _follow(
        self, box: Box, log: ByteLog, offset: int
    ) -> AsyncIterator[tuple[int, bytes]]:
        # Never an empty piece: the client takes that for an error.
        while data := await log.read(offset):
            yield offset, data
            offset += len(data)
        if box.is_forgotten:
            raise _gone(box)


def _command(box: Box, request: router_pb2.TaskExecStartRequest) -> Command:
    command = box.command(
        tuple(request.command_args),
        environment_of(tuple(request.secret_sources)),
        request.workdir,
    )
    return Command(
        argv=command.argv,
        environment=command.environment,
        folder=command.folder,
        timeout=request.timeout_secs or None,
        stdout=request.stdout_config == router_pb2.TASK_EXEC_STDOUT_CONFIG_PIPE,
        stderr=request.stderr_config == router_pb2.TASK_EXEC_STDERR_CONFIG_PIPE,
    )


def _ending(status: int | None) -> dict[str, int]:
    if status is None:
        return {}
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"code": os.WEXITSTATUS(status)}


def _gone(box: Box) -> GRPCError:
    return GRPCError(Code.NOT_FOUND, f"Task {box.task_id} not found: it has finished")
