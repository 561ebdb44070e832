"""The executor of a process that runs nothing itself: others take what it accepts."""

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager

from app.domain.errors import ExecutorError
from app.domain.execution import Exit, Stream
from app.domain.language import Language
from app.domain.limits import Limits
from app.domain.ports import (
    NOT_OFFERED,
    Collect,
    Emit,
    ExecutorState,
    Placed,
    Placement,
    Sandbox,
    Support,
)


class ElsewhereExecutor:
    """Knows no versions, and promises every language: who has it claims the work.

    Args:
        offered: the ids of the languages that programs may be in.
    """

    name = "elsewhere"

    def __init__(self, offered: frozenset[str]) -> None:
        self._offered = offered

    def state(self) -> ExecutorState:
        """Tell that nothing is wrong with nothing."""
        return ExecutorState(counts_exactly=False)

    async def check(self) -> None:
        """Find nothing that could fail."""

    def supports(self, language: Language) -> Support:
        """Tell that programs of `language` are accepted, if it is offered."""
        return Support() if language.id in self._offered else NOT_OFFERED

    @asynccontextmanager
    async def sandbox(
        self,
        language: Language,
        limits: Limits,
        placed: Placed | None = None,
        *,
        version: str | None = None,
        environment: str | None = None,
    ) -> AsyncIterator[Sandbox]:
        """Refuse: nothing is run here."""
        del language, limits, placed, version, environment
        raise ExecutorError("this process runs no programs")
        yield  # a generator, although it never gets here

    async def reattach(  # noqa: PLR0913 - all that a run is
        self,
        placement: Placement,
        limits: Limits,
        emit: Emit,
        *,
        skip: Mapping[Stream, int],
        placed: Placed | None = None,
        collect: Collect | None = None,
    ) -> Exit | None:
        """Find nothing."""
        del placement, limits, emit, skip, placed, collect
        return None
