"""Our executor on Modal's own client, for tests: an image that is published, a pool that is up."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import anyio
import modal.config
import pytest
from pydantic import SecretStr

from app.domain.execution import Exit, Outcome, Output, Program, Stream
from app.domain.language import Language
from app.domain.limits import DEFAULT_LIMITS, MIB, Limits
from app.domain.ports import Command, Placement, Support
from app.domain.verdict import judge
from app.executions.files import layout
from app.executors.modal import loopback
from app.executors.modal.credentials import Token
from app.executors.modal.executor import ModalExecutor, ModalOptions
from app.executors.modal.images import recipe_for
from app.executors.modal.loopback import LoopbackModal
from app.executors.modal.publish import publish
from app.executors.modal.reaper import Registry
from app.languages import all_languages
from tests.hosted import hosted

LANGUAGES = all_languages()
LIMITS = replace(DEFAULT_LIMITS, memory=128 * MIB, wall_time=10.0)
_PATIENCE = 20.0  # s; for what is awaited without an event of its own


@contextmanager
def pinned_client() -> Iterator[pytest.MonkeyPatch]:
    """Let nothing of this machine's Modal settings in, and nothing out to modal.com."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_PROFILE", "MODAL_ENVIRONMENT"):
            patch.delenv(name, raising=False)
        patch.setattr(modal.config, "_user_config", {})  # read from ~/.modal.toml on import
        patch.setenv("MODAL_SANDBOX_V2", "1")
        patch.setenv("MODAL_SERVER_URL", "http://127.0.0.1:1")
        yield patch


def token_of(server: LoopbackModal) -> Token:
    return ours(server.token)


def ours(token: loopback.Token) -> Token:
    return Token(id=SecretStr(token.id), secret=SecretStr(token.secret))


def options_of(server: LoopbackModal, **changes: Any) -> ModalOptions:
    usual = ModalOptions(
        offered=frozenset({"JAVASCRIPT", "PYTHON"}),  # to ask for all takes longer than most tests
        server=server.url,
        cpu=1.0,
        warm_floor=1,
        warm_ceiling=2,
        box_age=120.0,
        create_rate=50.0,
        create_burst=20,
        budget=10.0,
        longest_run=60.0,
    )
    return replace(usual, **changes)


@asynccontextmanager
async def executor_on(
    server: LoopbackModal,
    *,
    with_image: bool = True,
    limits: Limits = LIMITS,
    registry: Registry | None = None,
    **changes: Any,
) -> AsyncIterator[ModalExecutor]:
    """Open the executor and wait until it knows its languages and has no box but the ready ones."""
    token = token_of(server)
    if with_image:
        await publish(token, server=server.url, recipe=recipe_for(LANGUAGES.values()))
    # What is kept ready does not follow demand, unless a test says so: it is to be counted.
    changes.setdefault("warm_ceiling", changes.get("warm_floor", 1))
    options = options_of(server, **changes)
    others = len(server.state.running())
    made = ModalExecutor(LANGUAGES, token, options, limits, registry or Ledger())
    async with hosted(made) as executor:
        await until_ready(executor, options.warm_floor)
        await until_running(server, options.warm_floor + others)
        yield executor


@dataclass(slots=True)
class Ledger:
    """What an installation writes down of its replicas, without a database."""

    lives: dict[str, datetime] = field(default_factory=dict)
    placed: list[Placement] = field(default_factory=list)
    is_away: bool = False

    async def keep_replica(self, name: str, *, until: datetime) -> None:
        self._require()
        self.lives[name] = until

    async def dead_replicas(self, *, after: datetime, before: datetime) -> frozenset[str]:
        self._require()
        return frozenset(name for name, until in self.lives.items() if after < until < before)

    async def placements(self) -> tuple[Placement, ...]:
        self._require()
        return tuple(self.placed)

    def _require(self) -> None:
        if self.is_away:
            raise LookupError("the database is away")


async def until_ready(
    executor: ModalExecutor, boxes: int = 1, *, patience: float = _PATIENCE
) -> None:
    with anyio.fail_after(patience):
        while not _is_ready(executor, boxes):  # noqa: ASYNC110 - the pool has no event for this
            await anyio.sleep(0.01)


async def until_running(server: LoopbackModal, boxes: int) -> None:
    """Wait until used boxes are gone: nobody waits for Modal to end them."""
    with anyio.fail_after(_PATIENCE):
        while len(server.state.running()) > boxes:  # noqa: ASYNC110 - as above
            await anyio.sleep(0.01)


def _is_ready(executor: ModalExecutor, boxes: int) -> bool:
    pool = executor.state().pool
    known = all(executor.supports(each) != Support() for each in LANGUAGES.values())
    return pool is not None and known and pool.ready >= boxes and pool.starting == 0


def command_for(language: Language) -> Command:
    """Start the program's one file."""
    sources = layout(language, Program(language=language.id, source="")).sources
    return Command(
        arguments=language.run(sources, LIMITS),
        environment=language.environment(LIMITS),
    )


@dataclass(slots=True)
class Ran:
    """What came out of a run."""

    stdout: bytearray = field(default_factory=bytearray)
    stderr: bytearray = field(default_factory=bytearray)
    end: Exit = field(default_factory=Exit)
    seconds: float = 0.0

    @property
    def outcome(self) -> Outcome:
        return judge(self.end)


async def run(
    executor: ModalExecutor,
    source: str,
    *,
    language: str = "PYTHON",
    stdin: bytes = b"",
    **limits: Any,
) -> Ran:
    """Run a program."""
    ran = Ran()

    async def emit(output: Output) -> None:
        (ran.stdout if output.stream is Stream.STDOUT else ran.stderr).extend(output.data)

    chosen = LANGUAGES[language]
    began = anyio.current_time()
    bounds = replace(LIMITS, **limits)
    async with executor.sandbox(chosen, bounds) as sandbox:
        await sandbox.write({chosen.source_name: source.encode()})
        ran.end = await sandbox.run(replace(command_for(chosen), stdin=stdin), emit)
    ran.seconds = anyio.current_time() - began
    return ran
