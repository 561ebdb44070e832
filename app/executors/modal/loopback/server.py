"""The server: it binds a port, holds what boxes are made of, and ends all of them."""

import socket
from collections.abc import Mapping
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Self

import anyio
import anyio.abc
import anyio.to_thread
from grpclib.events import RecvRequest, listen
from modal._utils.grpc_utils import custom_detail_codec
from modal_proto import api_pb2, task_command_router_pb2

from app.domain.language import Toolchain
from app.executors.modal.loopback.account import Account
from app.executors.modal.loopback.box import Status
from app.executors.modal.loopback.faults import Faults
from app.executors.modal.loopback.host import Host
from app.executors.modal.loopback.listener import Listener
from app.executors.modal.loopback.rate import Rate
from app.executors.modal.loopback.router import Router
from app.executors.modal.loopback.rpc import Service, door
from app.executors.modal.loopback.sandboxes import Creation, Sandboxes
from app.executors.modal.loopback.state import State
from app.executors.modal.loopback.tokens import Token, Tokens, new_token

_HOST = "127.0.0.1"
_TOKEN_LIFETIME = 1200.0  # s; about what Modal gives


class LoopbackModal:
    """A Modal of our own on this machine; used within `async with`.

    Args:
        tools: what a box has on its PATH; `python3` must be one.
        port: 0 takes a free one.
        create_latency: seconds that a box takes to come up, beside what it really takes.
        create_rate: how fast boxes may be created.
        signed_lifetime: seconds that a router's or V2 token is good for.
        token_expires_at: what `TokenInfoGet` says about the token, in seconds since 1970.
        may_mount: whether the root of a box may mount.
    """

    def __init__(  # noqa: PLR0913 - options, each with a default
        self,
        tools: Mapping[str, Toolchain],
        *,
        port: int = 0,
        create_latency: float = 0.0,
        create_rate: Rate | None = None,
        signed_lifetime: float = _TOKEN_LIFETIME,
        token_expires_at: float | None = None,
        may_mount: bool = True,
    ) -> None:
        self.token = new_token()
        """The first token that is accepted; random, so that no other server takes it."""
        self.state = State()
        self.faults = Faults()
        self.url = ""
        self._port, self._token_expires_at = port, token_expires_at
        self._creation = Creation(create_latency, create_rate)
        self._tokens = Tokens(signed_lifetime)
        self._host = Host(tools, may_mount=may_mount)
        self._resources = AsyncExitStack()
        self.accept(self.token)

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as resources:
            await anyio.to_thread.run_sync(self._host.__enter__)
            resources.push_async_callback(anyio.to_thread.run_sync, self._host.close)
            tasks = await resources.enter_async_context(anyio.create_task_group())
            resources.callback(tasks.cancel_scope.cancel)
            server = await self._listen(tasks)
            resources.push_async_callback(server.wait_closed)
            resources.callback(server.close)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._resources.__aexit__(kind, error, traceback)

    @property
    def token_id(self) -> str:
        """The `ak-…` half."""
        return self.token.id

    @property
    def token_secret(self) -> str:
        """The `as-…` half."""
        return self.token.secret

    @property
    def has_two_uids(self) -> bool:
        """Whether a box has other users than its root; only the host's root can give it any."""
        return self._host.has_two_uids

    @property
    def program_uid(self) -> int | None:
        """The host's id of a box's user 1000, where it has one."""
        return self._host.program_uid

    @property
    def counts_exactly(self) -> bool:
        """Whether a box's memory is bounded by a cgroup; otherwise it is looked at."""
        return self._host.cgroups is not None

    @property
    def create_latency(self) -> float:
        """Seconds that the next boxes take to come up, beside what they really take."""
        return self._creation.latency

    @create_latency.setter
    def create_latency(self, seconds: float) -> None:
        self._creation.latency = seconds

    @property
    def create_rate(self) -> Rate | None:
        """How fast boxes may be created."""
        return self._creation.rate

    @create_rate.setter
    def create_rate(self, rate: Rate | None) -> None:
        self._creation.rate = rate

    def accept(self, token: Token) -> None:
        """Let this token in as well."""
        self._tokens.accept(token)

    def revoke(self, token: Token) -> None:
        """Refuse this token from now on."""
        self._tokens.revoke(token)

    def kill_box(self, id: str, status: int = Status.OUT_OF_MEMORY) -> None:
        """End a box as if Modal had, with a status of its `GenericResult`."""
        self.state.boxes[id].end(Status(status))

    def forget_box(self, id: str) -> None:
        """End a box and deny that it ever was, as after the loss of a worker."""
        box = self.state.boxes[id]
        box.is_forgotten = True
        box.end(Status.INTERNAL_FAILURE)

    async def end_boxes(self) -> None:
        """End every box and wait until nothing of them is left."""
        for box in self.state.running():
            box.end(Status.TERMINATED)
        for box in list(self.state.boxes.values()):
            await box.ended.wait()

    async def _listen(self, tasks: anyio.abc.TaskGroup) -> Listener:
        listener = socket.create_server((_HOST, self._port))
        self.url = f"http://{_HOST}:{listener.getsockname()[1]}"
        sandboxes = Sandboxes(self.state, self._tokens, self._host, tasks, self._creation, self.url)
        account = Account(self.state, self._tokens, self._token_expires_at)
        router = Router(self.state)
        control = Service(
            api_pb2.DESCRIPTOR.services_by_name["ModalClient"],
            {**account.unary, **sandboxes.unary},
            account.streaming,
            self.state,
            self.faults,
        )
        commands = Service(
            task_command_router_pb2.DESCRIPTOR.services_by_name["TaskCommandRouter"],
            router.unary,
            router.streaming,
            self.state,
            self.faults,
        )
        # Without this codec the client never sees a retry policy.
        server = Listener([control, commands], status_details_codec=custom_detail_codec)
        listen(server, RecvRequest, door(self._tokens, self.state))
        await server.start(sock=listener)
        return server
