"""Whether programs can be run, tried again and again: who is not asked to run may be broken too."""

import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio

from app.domain.errors import ExecutorError
from app.domain.ports import Executor

log = logging.getLogger(__name__)

EVERY = 15.0  # s; a try costs what a program costs that does nothing
AGAIN = 2.0  # s; while it does not work
_PATIENCE = 15.0  # s; for a try


class Vigil:
    """Watches over an executor; made by `open_vigil`."""

    def __init__(self, executor: Executor) -> None:
        self._executor = executor
        self._seen: str | None = None

    @property
    def problem(self) -> str | None:
        """Why programs cannot be run now, or None when they can."""
        state = self._executor.state()
        if state.problem is not None:
            return state.problem
        if state.pool is not None and state.pool.is_broken:
            return "no sandbox can be made"
        return self._seen

    async def keep(self) -> None:
        """Try until cancelled."""
        while True:
            await anyio.sleep(AGAIN if self._seen else EVERY)
            problem = await self._try()
            if problem and not self._seen:
                log.error("programs cannot be run", extra={"reason": problem})
            elif self._seen and not problem:
                log.info("programs can be run again")
            self._seen = problem

    async def _try(self) -> str | None:
        problem = None
        try:
            with anyio.fail_after(_PATIENCE):
                await self._executor.check()
        except* ExecutorError as errors:
            problem = str(_first(errors))
        except* TimeoutError:
            problem = f"it does not answer within {_PATIENCE:g} s"
        except* Exception:
            # A bug must not end the server; that nothing can be run is known all the same.
            log.exception("not known whether programs can be run")
            problem = "it is not known whether programs can be run; see the log"
        return problem


def _first(error: BaseException) -> BaseException:
    return _first(error.exceptions[0]) if isinstance(error, BaseExceptionGroup) else error


@asynccontextmanager
async def open_vigil(executor: Executor) -> AsyncIterator[Vigil]:
    """Watch over an executor until the end of the block."""
    vigil = Vigil(executor)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(vigil.keep)
        yield vigil
        tasks.cancel_scope.cancel()
