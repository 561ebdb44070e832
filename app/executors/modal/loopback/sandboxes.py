"""Calls about sandboxes: create, find, list, tag, wait, terminate."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import anyio
import anyio.abc
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.executors.modal.loopback.box import Box, Status
from app.executors.modal.loopback.host import Host
from app.executors.modal.loopback.proto import Empty, Message
from app.executors.modal.loopback.rate import Rate
from app.executors.modal.loopback.rpc import Unary
from app.executors.modal.loopback.state import State, new_id
from app.executors.modal.loopback.tokens import Tokens

_PAGE = 50
_SECONDS_PER_HOUR = 3600
_MIB_PER_GIB = 1024
Metadata = Mapping[str, Any]


@dataclass(slots=True)
class Creation:
    """How boxes are made; to be changed at any time."""

    latency: float = 0.0
    """Seconds that each takes beside what it really takes."""
    rate: Rate | None = None


class Sandboxes:
    """The control plane's half of what can be done with a box."""

    def __init__(  # noqa: PLR0913 - what it stands on
        self,
        state: State,
        tokens: Tokens,
        host: Host,
        tasks: anyio.abc.TaskGroup,
        creation: Creation,
        url: str,
    ) -> None:
        self._state, self._tokens, self._host = state, tokens, host
        self._tasks, self._creation, self._url = tasks, creation, url
        self.unary: Mapping[str, Unary] = {
            "SandboxCreateV2": self.create,
            "SandboxGetTaskIdV2": self.task_id,
            "SandboxGetCommandRouterAccess": self.router_access,
            "SandboxWaitV2": self.wait,
            "SandboxTerminateV2": self.terminate,
            "SandboxListV2": self.list,
            "SandboxTagsGetV2": self.tags,
            "SandboxTagsSetV2": self.set_tags,
            "SandboxSetName": self.set_name,
            "SandboxGetFromNameV2": self.from_name,
            "SandboxGetFromName": self.from_name_v1,
            "SandboxGetStats": self.stats,
            "SandboxGetStatsV2": self.stats,
        }

    async def create(self, request: api_pb2.SandboxCreateV2Request, metadata: Metadata) -> Message:
        """Make a box; a call that is repeated with its key gets the box of the first."""
        key = str(metadata.get("x-idempotency-key", ""))
        box = self._state.boxes.get(self._state.created.get(key, ""))
        if box is None:
            if self._creation.rate is not None:
                self._creation.rate.take()
            box = self._new(request)
            self._state.add(box, key)
            # The box belongs to the server: a caller that hangs up leaves it running.
            self._tasks.start_soon(box.live, self._host)
        await box.ready.wait()
        return api_pb2.SandboxCreateV2Response(
            sandbox_id=box.id,
            task_id=box.task_id,
            metadata=_handle(box),
            command_router_access=self._access(box),
            sandbox_token=self._tokens.sign(box.id),
        )

    def _new(self, request: api_pb2.SandboxCreateV2Request) -> Box:
        self._require_free_name(request.app_id, request.definition.name)
        if request.app_id not in self._state.apps.values():
            raise GRPCError(Code.NOT_FOUND, f"App {request.app_id} not found")
        if request.definition.image_id not in self._state.images:
            raise GRPCError(Code.NOT_FOUND, f"Image {request.definition.image_id} not found")
        return Box(
            id=new_id("sb", 24, "V"),
            task_id=new_id("ta", 24, "V"),
            app_id=request.app_id,
            definition=request.definition,
            secret_sources=tuple(request.secret_sources),
            tags={tag.tag_name: tag.tag_value for tag in request.tags},
            name=request.definition.name,
            created_at=self._state.now(),
            latency=self._creation.latency,
        )

    def _require_free_name(self, app_id: str, name: str) -> None:
        if name and any(box.is_running for box in self._state.named(app_id, name)):
            raise GRPCError(Code.ALREADY_EXISTS, f"Sandbox with name '{name}' already exists")

    async def task_id(self, request: api_pb2.SandboxGetTaskIdRequest, _: Metadata) -> Message:
        """Say which task a box is."""
        box = self._state.box(request.sandbox_id)
        result = None if box.is_running else box.result
        return api_pb2.SandboxGetTaskIdResponse(task_id=box.task_id, task_result=result)

    async def router_access(
        self, request: api_pb2.SandboxGetCommandRouterAccessRequest, _: Metadata
    ) -> Message:
        """Say where commands go, with a fresh token for it."""
        by_id = bool(request.sandbox_id)
        box = (
            self._state.box(request.sandbox_id)
            if by_id
            else self._state.box_of_task(request.task_id)
        )
        if not box.is_running:
            raise GRPCError(Code.FAILED_PRECONDITION, f"Sandbox {box.id} has finished")
        access = self._access(box)
        return api_pb2.SandboxGetCommandRouterAccessResponse(url=access.url, jwt=access.jwt)

    def _access(self, box: Box) -> api_pb2.CommandRouterAccess:
        return api_pb2.CommandRouterAccess(url=self._url, jwt=self._tokens.sign(box.task_id))

    async def wait(self, request: api_pb2.SandboxWaitRequest, _: Metadata) -> Message:
        """Wait for the result, for as long as the caller says; 0 asks."""
        box = self._state.box(request.sandbox_id)
        with anyio.move_on_after(request.timeout):
            await box.ended.wait()
        self._state.box(request.sandbox_id)  # it may have been forgotten meanwhile
        return api_pb2.SandboxWaitResponse(result=box.result, metadata=_handle(box))

    async def terminate(self, request: api_pb2.SandboxTerminateRequest, _: Metadata) -> Message:
        """End a box; one that has ended keeps its result."""
        box = self._state.box(request.sandbox_id)
        existing = box.result if box.ended.is_set() else None
        box.end(Status.TERMINATED)
        return api_pb2.SandboxTerminateResponse(existing_result=existing)

    async def list(self, request: api_pb2.SandboxListRequest, _: Metadata) -> Message:
        """List boxes from the newest on; the next page is what is older than the last."""
        found = [box for box in self._state.boxes.values() if _is_wanted(box, request)]
        found.sort(key=lambda box: box.created_at, reverse=True)
        return api_pb2.SandboxListResponse(sandboxes=map(_info, found[:_PAGE]))

    async def tags(self, request: api_pb2.SandboxTagsGetRequest, _: Metadata) -> Message:
        """Return the tags."""
        return api_pb2.SandboxTagsGetResponse(tags=_tags(self._state.box(request.sandbox_id)))

    async def set_tags(self, request: api_pb2.SandboxTagsSetRequest, _: Metadata) -> Message:
        """Replace all tags."""
        box = self._state.box(request.sandbox_id)
        box.tags = {tag.tag_name: tag.tag_value for tag in request.tags}
        return Empty()

    async def set_name(self, request: api_pb2.SandboxSetNameRequest, _: Metadata) -> Message:
        """Give a nameless box a name, once."""
        box = self._state.box(request.sandbox_id)
        if box.name == request.name:
            return api_pb2.SandboxSetNameResponse()
        self._require_free_name(box.app_id, request.name)
        if box.name:
            raise GRPCError(Code.FAILED_PRECONDITION, f"Sandbox {box.id} has a name")
        box.name = request.name
        return api_pb2.SandboxSetNameResponse()

    async def from_name(self, request: api_pb2.SandboxGetFromNameRequest, _: Metadata) -> Message:
        """Find the running box of a name, or the last that had it."""
        app_id = self._state.apps.get(request.app_name, "")
        named = self._state.named(app_id, request.sandbox_name)
        box = next((box for box in named if box.is_running or request.include_terminated), None)
        if box is None:
            raise GRPCError(Code.NOT_FOUND, f"Sandbox '{request.sandbox_name}' not found")
        return api_pb2.SandboxGetFromNameResponse(sandbox_id=box.id, metadata=_handle(box))

    async def from_name_v1(
        self, request: api_pb2.SandboxGetFromNameRequest, _: Metadata
    ) -> Message:
        """Find none: the client looks here when V2 has no box of that name."""
        raise GRPCError(Code.NOT_FOUND, f"Sandbox '{request.sandbox_name}' not found")

    async def stats(self, request: api_pb2.SandboxGetStatsRequest, _: Metadata) -> Message:
        """Bill what was asked for, by the second."""
        box = self._state.box(request.sandbox_id)
        seconds = (box.ended_at or self._state.now()) - box.created_at
        asked = box.definition.resources
        return api_pb2.SandboxGetStatsResponse(
            duration_hours=seconds / _SECONDS_PER_HOUR,
            billed_cpu_core_seconds=max(asked.milli_cpu / 1000 * seconds, box.cpu_time),
            billed_memory_gib_seconds=asked.memory_mb / _MIB_PER_GIB * seconds,
        )


def _is_wanted(box: Box, request: api_pb2.SandboxListRequest) -> bool:
    tags = {tag.tag_name: tag.tag_value for tag in request.tags}
    return (
        not box.is_forgotten
        and (box.is_running or request.include_finished)
        and (not request.app_id or box.app_id == request.app_id)
        and (not request.before_timestamp or box.created_at < request.before_timestamp)
        and tags.items() <= box.tags.items()
    )


def _info(box: Box) -> api_pb2.SandboxInfo:
    return api_pb2.SandboxInfo(
        id=box.id,
        app_id=box.app_id,
        created_at=box.created_at,
        name=box.name,
        image_id=box.definition.image_id,
        tags=_tags(box),
        timeout_secs=box.definition.timeout_secs,
        task_info=api_pb2.TaskInfo(id=box.task_id, started_at=box.created_at, result=box.result),
        metadata=_handle(box),
    )


def _handle(box: Box) -> api_pb2.SandboxHandleMetadata:
    return api_pb2.SandboxHandleMetadata(app_id=box.app_id, result=box.result)


def _tags(box: Box) -> list[api_pb2.SandboxTag]:
    return [api_pb2.SandboxTag(tag_name=name, tag_value=value) for name, value in box.tags.items()]
