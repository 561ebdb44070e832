"""An executor that stages what no real sandbox does when one asks for it."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager

import anyio

from app.domain.execution import Exit, Output, Stream, Usage
from app.domain.language import Language
from app.domain.limits import Limits
from app.domain.ports import (
    Collect,
    Command,
    Emit,
    ExecutorState,
    Placed,
    Placement,
    Sandbox,
    Support,
)

Program = Callable[[Emit], Awaitable[Exit]]

SUCCESS = Exit(code=0, usage=Usage(wall_time=0.25, cpu_time=0.125, peak_memory=1024))

VERSIONS = ("1.2.3", "1.1.9", "1.1.10", "1.11.0")


def says(text: str) -> Output:
    return Output(stream=Stream.STDOUT, data=text.encode())


async def succeed(emit: Emit) -> Exit:
    await emit(says("42\n"))
    return SUCCESS


class Gate:
    """A program that writes, and then runs until it is let go."""

    def __init__(self) -> None:
        self.started, self.ends = anyio.Event(), anyio.Event()

    async def __call__(self, emit: Emit) -> Exit:
        await emit(says("so far\n"))
        self.started.set()
        await self.ends.wait()
        await emit(says("and on\n"))
        return SUCCESS


class FakeSandbox:
    def __init__(self, program: Program) -> None:
        self._program = program

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Need no files."""

    async def run(self, command: Command, emit: Emit) -> Exit:
        del command
        return await self._program(emit)


class FakeExecutor:
    """Runs one function, whatever program it is given."""

    name = "fake"

    def __init__(self, program: Program = succeed, unavailable: Mapping[str, str] = {}) -> None:
        self.program = program
        self.sandboxes = 0
        self.versions: list[str | None] = []
        self.environments: list[str | None] = []
        self._unavailable = unavailable

    def state(self) -> ExecutorState:
        return ExecutorState(counts_exactly=False)

    async def check(self) -> None:
        """Work."""

    def supports(self, language: Language) -> Support:
        reason = self._unavailable.get(language.id)
        return Support(reason=reason) if reason else Support(versions=VERSIONS)

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
        del language, limits, placed
        self.versions.append(version)
        self.environments.append(environment)
        self.sandboxes += 1
        yield FakeSandbox(self.program)

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
        del placement, limits, emit, skip, placed, collect
        return None
