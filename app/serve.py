"""A server from its first socket to its last program."""

import gc
import ipaddress
import logging
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager, nullcontext
from typing import Protocol, TypeAlias, runtime_checkable

import anyio
import anyio.abc
import anyio.to_thread
import uvicorn
from fastapi import FastAPI

from app.api.context import Services
from app.connections import Http, WebSocket
from app.domain.errors import ExecutorError
from app.domain.ports import Executor
from app.executions.service import ExecutionService
from app.executor_factory import modal_loopback, modal_token
from app.executors.modal.credentials import BadToken, Token
from app.logs import configure_logging
from app.main import (
    create_app,
    create_watched_app,
    is_guarded,
    open_services,
)
from app.settings import Settings
from app.storage.errors import StorageError
from app.storage.migrations import pending
from app.storage.urls import is_sqlite, normal

log = logging.getLogger(__name__)

ReadSettings: TypeAlias = Callable[[], Settings]

_BACKLOG = 2048
_SWITCH_AFTER = 0.0005  # s; Python's own is 0.005
_KEEP_ALIVE = 65  # s; longer than the idle limit of common proxies, so that they hang up first
_MOST_MESSAGE = 1024 * 1024  # bytes that a client may send at once over a WebSocket
_PING_EVERY = 15.0  # s; the same again, and a client that does not answer is gone
_LAST_ANSWERS = 5  # s; programs have ended by then, and what is left is to send


@runtime_checkable
class Rotating(Protocol):
    """An executor whose token can change while it runs."""

    async def rotate(self, token: Token) -> None:
        """Go over to another token without losing a run."""


class Refused(Exception):
    """The server does not start; the message says what to do."""


class _Deaf(uvicorn.Server):
    """Leaves signals to us: it would raise them again when it has ended, and cut the drain."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class _Server(_Deaf):
    """Drains before it hangs up, so that whoever waits for a program gets an answer."""

    def __init__(self, config: uvicorn.Config, services: Services) -> None:
        super().__init__(config)
        self._executions, self._streams = services.executions, services.streams

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started and sockets:
            address = _address(sockets[0])
            log.info(
                "serving", extra={"graphiql": f"{address}/graphql", "health": f"{address}/readyz"}
            )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        log.info("stopping: running programs may end; a second signal does not wait for them")
        await self._executions.close()
        # Subscribers have heard of the end of every program; there is nothing more to hear.
        self._streams.stopped.set()
        await super().shutdown(sockets)

    def obey(self) -> None:
        """Stop; when asked again, without waiting for programs."""
        if self.should_exit:
            self._executions.stop_all()
        self.should_exit = True


async def serve_on_loopback_modal(settings: Settings) -> None:
    """Serve as `serve_forever` does, with programs run by a Modal server on this machine."""
    configure_logging(settings.log_level, settings.log_format)
    log.warning("modal: a server on this machine stands in for Modal; for development only")
    async with modal_loopback(settings) as led:
        # The token in .env is for Modal itself, and none of this server's business.
        await serve_forever(led, read_again=lambda: led)


async def serve_forever(
    settings: Settings, *, execute: bool = True, read_again: ReadSettings = Settings
) -> None:
    """Serve until a signal asks to stop, then drain; a second signal does not wait.

    Without `execute` no program runs in this process. SIGHUP has the token read again.

    Raises:
        Refused: the address or the port cannot be had, or nobody else could run programs.
        StorageError: the database cannot be used.
        Unavailable: the executor cannot run here.
    """
    configure_logging(settings.log_level, settings.log_format)
    if not execute:
        _require_shared(settings)
    await _require_current(settings)
    await _require_doors(settings)
    with _listen(settings.host, settings.port) as listener, _hangups() as hangups:
        async with open_services(settings, execute=execute) as services:
            app = create_app(settings, services)
            # What stands now stays: with each collection Python would look at all of it again,
            # which a body of many small values makes it do often.
            gc.collect()
            gc.freeze()
            # SQLite's thread lets go of the interpreter at each row, and gets it back from a busy
            # event loop after so long at the latest: a page of 50 rows waits 50 times.
            sys.setswitchinterval(_SWITCH_AFTER)
            config = _config(app)
            server, executor = _Server(config, services), services.executions.executor
            async with anyio.create_task_group() as tasks:
                await tasks.start(_obey_signals, server)
                tasks.start_soon(_rotate_when_asked, hangups, executor, read_again)
                await server.serve(sockets=[listener])
                tasks.cancel_scope.cancel()
    log.info("stopped")


def _config(app: FastAPI) -> uvicorn.Config:
    return uvicorn.Config(
        app,
        # httptools keeps headers without end: 200 MB of one request, when tried.
        http=Http,
        ws=WebSocket,
        ws_max_size=_MOST_MESSAGE,
        ws_ping_interval=_PING_EVERY,
        ws_ping_timeout=_PING_EVERY,
        # A quarter of a MiB for each socket, and output is small.
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=_LAST_ANSWERS,
    )


async def work_forever(settings: Settings) -> None:
    """Run programs from the queue until a signal asks to stop; say nothing but how it goes.

    Raises:
        Refused: nobody else could ask for them, or the port cannot be had.
        StorageError: the database cannot be used.
        Unavailable: the executor cannot run here.
    """
    configure_logging(settings.log_level, settings.log_format)
    _require_shared(settings)
    await _require_current(settings)
    port = settings.worker_port
    if port is not None:
        await _require_doors(settings)
    watched = nullcontext() if port is None else _listen(settings.host, port)
    with watched as listener, _hangups() as hangups:
        async with open_services(settings) as services:
            log.info("working", extra={"executor": services.executions.executor.name})
            worker, executor = _Worker(services.executions), services.executions.executor
            async with anyio.create_task_group() as tasks:
                await tasks.start(_obey_signals, worker)
                tasks.start_soon(_rotate_when_asked, hangups, executor, Settings)
                async with _watched(settings, services, listener):
                    await worker.should_stop.wait()
                    await services.executions.close()
                tasks.cancel_scope.cancel()
    log.info("stopped")


@asynccontextmanager
async def _watched(
    settings: Settings, services: Services, listener: socket.socket | None
) -> AsyncIterator[None]:
    """Say how the process is to who asks on its port, if it has one."""
    if listener is None:
        yield
        return
    server = _Deaf(_config(create_watched_app(settings, services)))
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.serve, [listener])
        log.info("watched", extra={"metrics": f"{_address(listener)}/metrics"})
        yield
        server.should_exit = True


def _address(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://{f'[{host}]' if ':' in host else host}:{port}"


class _Worker:
    """What signals a worker obeys."""

    def __init__(self, executions: ExecutionService) -> None:
        self._executions = executions
        self.should_stop = anyio.Event()

    def obey(self) -> None:
        """Stop; when asked again, without waiting for programs."""
        if self.should_stop.is_set():
            self._executions.stop_all()
            return
        log.info("stopping: running programs may end; a second signal does not wait for them")
        self.should_stop.set()


def _require_shared(settings: Settings) -> None:
    """Make sure that processes can share the work.

    Raises:
        Refused: they cannot.
    """
    if is_sqlite(normal(settings.database_url.get_secret_value())):
        message = (
            "An SQLite file is for one process that does both, answer and run programs. "
            "Use `greenroom serve`, or PostgreSQL in GREENROOM_DATABASE_URL."
        )
        raise Refused(message)


async def _require_current(settings: Settings) -> None:
    if await pending(settings.database_url.get_secret_value()):
        message = "The database is older than this Greenroom; run `greenroom migrate`."
        raise StorageError(message)


async def _require_doors(settings: Settings) -> None:
    """Make sure that only this machine can ask, unless one must say who one is.

    Raises:
        Refused: anybody could ask.
    """
    if is_loopback(settings.host) or await is_guarded(settings):
        return
    message = (
        f"Greenroom does not listen on {settings.host} as long as it does not ask who is there. "
        "Make a key with `greenroom keys create`, or set GREENROOM_JWT_SECRET or "
        "GREENROOM_JWKS_URL; until then use 127.0.0.1, ::1 or localhost."
    )
    raise Refused(message)


def is_loopback(host: str) -> bool:
    """Whether only this machine can reach an address."""
    name = "127.0.0.1" if host == "localhost" else host.strip("[]")
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


@contextmanager
def _listen(host: str, port: int) -> Iterator[socket.socket]:
    name = "127.0.0.1" if host == "localhost" else host.strip("[]")
    family = socket.AF_INET6 if ":" in name else socket.AF_INET
    try:
        listener = socket.create_server((name, port), family=family, backlog=_BACKLOG)
    except OSError as error:
        message = (
            f"Port {port} of {host} cannot be had: {error.strerror}. "
            "Choose another one with --port."
        )
        raise Refused(message) from error
    with listener:
        yield listener


class _Obedient(Protocol):
    def obey(self) -> None:
        """Stop; when asked again, at once."""


async def _obey_signals(server: _Obedient, *, task_status: anyio.abc.TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        task_status.started()
        async for _ in signals:
            server.obey()


def _hangups() -> AbstractContextManager[AsyncIterator[signal.Signals]]:
    """Take note of SIGHUP from now on: while the server starts, it would end it."""
    return anyio.open_signal_receiver(signal.SIGHUP)


async def _rotate_when_asked(
    hangups: AsyncIterator[signal.Signals], executor: Executor, read_again: ReadSettings
) -> None:
    async for _ in hangups:
        await _rotate(executor, read_again)


async def _rotate(executor: Executor, read_again: ReadSettings) -> None:
    """Read the Modal token again; one that does not work changes nothing."""
    if not isinstance(executor, Rotating):
        log.info("SIGHUP: there is no token to read again")
        return
    try:
        token = modal_token(await anyio.to_thread.run_sync(read_again))
        if token is None:
            log.warning("SIGHUP: there is no Modal token in .env; the old one stays")
        else:
            await executor.rotate(token)
    except (BadToken, ExecutorError, ValueError, OSError) as error:
        log.error("the token stays as it was", extra={"reason": str(error)})  # noqa: TRY400
