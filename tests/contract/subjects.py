"""The executors that are held to the contract, and how each is looked at from outside."""

import os
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass

from app.domain.ports import Executor
from app.executors.local.executor import LocalExecutor
from app.languages import all_languages
from tests.contract.host import living

LANGUAGES = all_languages()

# Far above the uids that people, services and containers have: what lives under it is ours.
_UIDS_FOR_TESTS = 2_000_000_000


@dataclass(frozen=True, slots=True)
class Subject:
    """An executor under test."""

    executor: Executor
    survivors: Callable[[], list[str]]
    """Names what lives although its sandbox was left."""


@asynccontextmanager
async def local() -> AsyncIterator[Subject]:
    """Open the embedded sandbox, as root under a uid that nobody else on this host has."""
    executor = LocalExecutor(LANGUAGES, interpreter=LANGUAGES["PYTHON"].find(None))
    uid = os.geteuid()
    if executor._stage.uid is not None:
        uid = executor._stage.uid = _UIDS_FOR_TESTS + os.getpid()
    others = set(living(uid))
    async with executor:
        yield Subject(executor, lambda: [each for each in living(uid) if each not in others])


SUBJECTS: dict[str, Callable[[], AbstractAsyncContextManager[Subject]]] = {"local": local}
