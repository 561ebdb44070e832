"""The executors that are held to the contract, and how each is looked at from outside."""

import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from itertools import count
from pathlib import Path

import anyio
import pytest
from anyio import to_thread
from pydantic import SecretStr

from app.domain.limits import DEFAULT_LIMITS, Limits
from app.domain.ports import Executor
from app.executor_factory import tools_here
from app.executors.local.executor import LocalExecutor
from app.executors.modal.box import Box
from app.executors.modal.credentials import MODAL_SERVER, read_token
from app.executors.modal.executor import ModalExecutor, ModalOptions
from app.executors.modal.loopback import LoopbackModal
from app.languages import all_languages
from tests.contract.host import living
from tests.contract.waiting import at_rest, pids
from tests.wire.adapter import Ledger, executor_on, pinned_client, until_ready

LANGUAGES = all_languages()

# Far above the uids that people, services and containers have: what lives under it is ours.
_UIDS_FOR_TESTS = 1_900_000_000
_MOST_AT_ONE_TIME = 32
_numbers = count()
_open: list[LocalExecutor] = []
_WARM = 3  # boxes; while one test runs, those of the next are made
_PATIENCE = 10.0  # s
NOWHERE = Path("/nowhere")


@dataclass(frozen=True, slots=True)
class Subject:
    """An executor under test."""

    executor: Executor
    survivors: Callable[[], Awaitable[list[str]]]
    """Names what lives although its sandbox was left."""


@asynccontextmanager
async def local(*, keeps_warm: bool = True, environments: Path = NOWHERE) -> AsyncIterator[Subject]:
    """Open the embedded sandbox, as root under a uid that nobody else on this host has.

    Several may be open in one process, and each has its own.
    """
    executor = await to_thread.run_sync(partial(_made, keeps_warm, environments))
    uid = os.geteuid()
    if executor._stage.uid is not None:
        number = os.getpid() * _MOST_AT_ONE_TIME + next(_numbers) % _MOST_AT_ONE_TIME
        uid = executor._stage.uid = _UIDS_FOR_TESTS + number
    others = set(living(uid).values())

    async def survivors() -> list[str]:
        known = set[int]()
        for each in _open:  # an ordinary user has but one uid for all of them
            await at_rest(each)
            known |= await to_thread.run_sync(pids, each)
        return [
            each for pid, each in living(uid).items() if each not in others and pid not in known
        ]

    async with executor:
        assert not keeps_warm or executor.keeps_warm == {"PYTHON", "JAVASCRIPT"}
        _open.append(executor)
        try:
            yield Subject(executor, survivors)
        finally:
            _open.remove(executor)


def _made(keeps_warm: bool, environments: Path) -> LocalExecutor:  # noqa: FBT001 - private
    return LocalExecutor(
        LANGUAGES,
        interpreter=LANGUAGES["PYTHON"].find(None)[0],
        environments=environments,
        keeps_warm=keeps_warm,
    )


@asynccontextmanager
async def modal(environments: Path = NOWHERE) -> AsyncIterator[Subject]:
    """Open the executor on Modal, with Modal's own client and a Modal of our own behind it."""
    tools = tools_here(environments)
    if os.geteuid() != 0:
        # Before anything is open: a skip within a group of tasks would be a failure.
        pytest.skip("only the host's root can give a box the two users that Modal's have")
    with pinned_client():
        async with LoopbackModal(tools) as server:
            uid = server.program_uid
            assert uid is not None

            async with executor_on(
                server,
                limits=DEFAULT_LIMITS,
                offered=frozenset(LANGUAGES),
                warm_floor=_WARM,
                warm_ceiling=_WARM,
            ) as executor:
                used = _note_claims(executor)

                async def survivors() -> list[str]:
                    # Nobody waits for Modal to end a box, but it ends.
                    with anyio.fail_after(_PATIENCE):
                        for id in used:
                            await server.state.boxes[id].ended.wait()
                    return list(living(uid).values())

                yield Subject(executor, survivors)


def _note_claims(executor: ModalExecutor) -> set[str]:
    """Return the ids of the boxes that runs are given, from now on."""
    used: set[str] = set()
    claim = executor._claim

    async def noted(limits: Limits) -> Box:
        box = await claim(limits)
        used.add(box.id)
        return box

    executor._claim = noted  # type: ignore[method-assign]
    return used


@asynccontextmanager
async def live() -> AsyncIterator[Subject]:
    """Open the executor on real Modal; nobody can look there from outside."""
    token = read_token(
        id=SecretStr(os.environ["MODAL_TOKEN_ID"]),
        secret=SecretStr(os.environ["MODAL_TOKEN_SECRET"]),
        both=None,
    )
    assert token is not None
    options = ModalOptions(
        offered=frozenset(LANGUAGES),
        server=MODAL_SERVER,
        cpu=1.0,
        warm_floor=_WARM,
        warm_ceiling=_WARM,
        box_age=300.0,
        create_rate=4.0,
        create_burst=8,
        budget=120.0,
        longest_run=60.0,
    )

    async def survivors() -> list[str]:
        return []

    async with ModalExecutor(LANGUAGES, token, options, DEFAULT_LIMITS, Ledger()) as executor:
        await until_ready(executor, 1, patience=300.0)
        yield Subject(executor, survivors)


IS_LIVE = os.environ.get("GREENROOM_MODAL_LIVE") == "1"
SUBJECTS: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {
    "local": local,
    "local-cold": partial(local, keeps_warm=False),
    "modal": modal,
    **({"live": live} if IS_LIVE else {}),
}
