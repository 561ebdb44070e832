"""What a program gets of the embedded sandbox: one cell, warm or cold."""

import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass

from app.domain.execution import Exit
from app.domain.language import FOLDER, Language, Sources, Toolchain
from app.domain.limits import Limits
from app.domain.ports import Command, Emit
from app.executors.local.cell import Cell
from app.executors.local.meter import Meter
from app.executors.local.run import NotStarted, Run, Start
from app.executors.local.zygote import Recipe

log = logging.getLogger(__name__)

_PATH = "/usr/local/bin:/usr/bin:/bin"
_ENVIRONMENT = {"HOME": "/box", "LANG": "C.UTF-8", "TMPDIR": "/tmp", "USER": "sandbox"}  # noqa: S108


@dataclass(frozen=True, slots=True)
class Spare:
    """What a program gets that cannot have its warm cell."""

    recipe: Recipe
    open: Callable[[], AbstractAsyncContextManager[tuple[Cell, Meter]]]


class LocalSandbox:
    """One cell, prepared for one program of one language.

    Args:
        spare: what there is besides a warm cell.
    """

    def __init__(self, run: Run, toolchain: Toolchain, spare: Spare | None = None) -> None:
        self._run, self._toolchain = run, toolchain
        self._spare = spare
        self._files: dict[str, bytes] = {}

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Keep the files for the cell's init, which writes them before the program starts."""
        self._files.update(files)

    async def run(self, command: Command, emit: Emit) -> Exit:
        """Run the program; see `Sandbox.run`."""
        start = Start(
            argv=argv(self._toolchain, command.arguments, command.executable),
            environment=environment(self._toolchain) | dict(command.environment),
            files=self._files,
            stdin=command.stdin,
            typed=command.typed,
            collect=command.collect,
        )
        if self._spare is None:
            return await self._run(start, emit)
        return await self._run_warm(start, emit, self._spare)

    async def _run_warm(self, start: Start, emit: Emit, spare: Spare) -> Exit:
        if spare.recipe.fits(start.argv, start.environment):
            try:
                return await self._run(start, emit)
            except NotStarted as failure:
                log.warning("a warm cell failed", extra={"reason": str(failure)})
        async with spare.open() as (cell, meter):
            return await Run(cell, self._run.limits, meter)(start, emit)


def plain_start(
    toolchain: Toolchain, language: Language, limits: Limits
) -> tuple[tuple[str, ...], dict[str, str]]:
    """Return what a plain program of a language is started with, and its environment."""
    entry = f"{FOLDER}/{language.source_name}"
    arguments = language.run(Sources(entry=entry, paths=(entry,), text=""), limits)
    return argv(toolchain, arguments), environment(toolchain) | dict(language.environment(limits))


def argv(
    toolchain: Toolchain, arguments: tuple[str, ...], executable: str | None = None
) -> tuple[str, ...]:
    """Return what is started: a file in the cell, or the language's own executable."""
    if executable is not None:
        return (executable, *arguments)
    return (str(toolchain.executable), *toolchain.arguments, *arguments)


def environment(toolchain: Toolchain) -> dict[str, str]:
    """Return what every program finds in its environment."""
    path = f"{toolchain.executable.parent}:{_PATH}"
    return _ENVIRONMENT | {"PATH": path} | dict(toolchain.variables)
