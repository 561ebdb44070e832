"""The embedded sandbox as the rest of the house knows it."""

import logging
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Self

import anyio
import anyio.to_thread

from app.domain.errors import Check, ExecutorError, Unavailable
from app.domain.execution import Exit, Output, Stream
from app.domain.language import Language, Runtime, Toolchain
from app.domain.limits import DEFAULT_LIMITS, Limits
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
from app.executors.local import host
from app.executors.local.bubblewrap import command_line
from app.executors.local.cell import Cell, executor_error, start_cell
from app.executors.local.census import process_of
from app.executors.local.cgroups import Cgroups, find_cgroups
from app.executors.local.meter import CensusMeter, CgroupMeter, Meter
from app.executors.local.run import Run, Start
from app.executors.local.sandbox import LocalSandbox, Spare, argv, environment, plain_start
from app.executors.local.seccomp import UnsupportedArchitecture, seccomp_filter
from app.executors.local.selftest import prove
from app.executors.local.stage import Stage
from app.executors.local.toolchains import Toolchains
from app.executors.local.warm import WarmCells
from app.executors.local.warming import Warm, warmed
from app.executors.local.zygote import Recipe, recipe_for

log = logging.getLogger(__name__)


class LocalExecutor:
    """Runs programs in cells on this host; used within `async with`.

    Args:
        languages: those that are offered, by their ids.
        interpreter: a Python that can run a cell's init.
        executables: by language id, executables that the operator has chosen.
        environments: the folder in which environments are built.
        keeps_warm: whether cells wait ready for their programs.
        defaults: the limits that these are made ready for.
    """

    name = "local"

    def __init__(  # noqa: PLR0913 - options, each with a default
        self,
        languages: Mapping[str, Language],
        *,
        interpreter: Toolchain,
        executables: Mapping[str, Path] | None = None,
        environments: Path = Path("environments"),
        keeps_warm: bool = True,
        defaults: Limits = DEFAULT_LIMITS,
    ) -> None:
        self._defaults = defaults
        self._wants_warm = keeps_warm
        self._warm = Warm(cells={}, checks=())
        self._interpreter = interpreter
        self._toolchains = Toolchains(languages, executables or {}, environments)
        mounts = (mount for each in (interpreter, *self._toolchains) for mount in each.mounts)
        self._stage = Stage(tuple(mounts))
        self._command_lines: dict[Toolchain, list[str]] = {}
        self._resources = AsyncExitStack()
        self._cgroups: Cgroups | None = None
        self._cgroups_missing = ""
        self.checks: tuple[Check, ...] = ()
        """What this host was found to give, once the executor has started."""

    async def __aenter__(self) -> Self:
        _require_filter()
        async with AsyncExitStack() as resources:
            await anyio.to_thread.run_sync(self._stage.__enter__)
            resources.push_async_callback(anyio.to_thread.run_sync, self._stage.close)
            await anyio.to_thread.run_sync(self._write_command_lines)
            await anyio.to_thread.run_sync(self._find_cgroups)
            if self._cgroups is not None:
                resources.push_async_callback(anyio.to_thread.run_sync, self._cgroups.close)
            await self._toolchains.ask(self._ask_version)
            await self._prove()
            if self._wants_warm:
                recipes = await anyio.to_thread.run_sync(lambda: dict(self._recipes()))
                warm = warmed(self._stage, recipes, self._cgroups, self._prove_warm)
                self._warm = await resources.enter_async_context(warm)
                self.checks = (*self.checks, *self._warm.checks)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()

    @property
    def counts_exactly(self) -> bool:
        """Whether there are cgroups; without them the cell's processes are looked at."""
        return self._cgroups is not None

    @property
    def keeps_warm(self) -> set[str]:
        """The languages that have warm cells."""
        return set(self._warm.cells)

    def state(self) -> ExecutorState:
        """Tell how it is."""
        return ExecutorState(counts_exactly=self.counts_exactly, pool=self._warm.figures())

    async def check(self) -> None:
        """Start a cell and run nothing in it.

        Raises:
            ExecutorError: no cell works here any more.
        """
        end, _, _ = await self._run_python("", (), DEFAULT_LIMITS)
        if end.code != 0:
            raise ExecutorError(f"a program that does nothing ended with {end}")

    def supports(self, language: Language) -> Support:
        """Tell whether the language runs here; its versions were asked in cells at the start."""
        return self._toolchains.support.get(language.id, NOT_OFFERED)

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
        """Start a fresh cell, or take a warm one; with an environment it is always a fresh one."""
        del placed  # a cell cannot outlive us
        toolchain = self._toolchains.choose(language, version, environment)
        async with AsyncExitStack() as opened:
            cells = self._warm_cells(language, toolchain)
            if cells and cells.recipe.fits(*plain_start(toolchain, language, limits)):
                slot = await opened.enter_async_context(cells.slot(limits))
                if slot:
                    spare = Spare(cells.recipe, partial(self._open, toolchain, limits))
                    run = Run(slot.cell, limits, slot.meter, cells.begun)
                    yield LocalSandbox(run, toolchain, spare)
                    return
            cell, meter = await opened.enter_async_context(self._open(toolchain, limits))
            yield LocalSandbox(Run(cell, limits, meter), toolchain)

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
        """Find nothing: a cell dies with the process that started it."""
        del placement, limits, emit, skip, placed, collect
        return None

    def _warm_cells(self, language: Language, toolchain: Toolchain) -> WarmCells | None:
        is_usual = toolchain is self._toolchains.choose(language, None)
        return self._warm.cells.get(language.id) if is_usual else None

    @asynccontextmanager
    async def _open(
        self, toolchain: Toolchain, limits: Limits
    ) -> AsyncIterator[tuple[Cell, Meter]]:
        async with (
            start_cell(self._stage, self._command_lines[toolchain]) as start,
            # Made while the init starts, removed while bubblewrap ends.
            self._cgroup_meter(limits) as meter,
            start.ready() as cell,
        ):
            yield cell, meter or CensusMeter(cell)

    @asynccontextmanager
    async def _cgroup_meter(self, limits: Limits) -> AsyncIterator[CgroupMeter | None]:
        if self._cgroups is None:
            yield None
            return
        with executor_error("no cgroup could be made"):
            meter = await anyio.to_thread.run_sync(CgroupMeter.make, self._cgroups, limits)
        try:
            yield meter
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(meter.remove)

    def _write_command_lines(self) -> None:
        for toolchain in (self._interpreter, *self._toolchains):
            line = command_line(self._stage, self._interpreter, toolchain)
            self._command_lines[toolchain] = line

    def _find_cgroups(self) -> None:
        try:
            self._cgroups = find_cgroups()
        except OSError as error:
            self._cgroups_missing = str(error)

    async def _ask_version(self, language: Language, toolchain: Toolchain) -> str:
        async with self._open(toolchain, DEFAULT_LIMITS) as (cell, meter):
            start = Start(
                argv=argv(toolchain, language.version_arguments),
                environment=environment(toolchain),
            )
            _, said = await _listen(Run(cell, DEFAULT_LIMITS, meter), start)
        return said

    async def _prove(self) -> None:
        try:
            walls = await prove(
                self._run_python, counts_exactly=self.counts_exactly, missing=self._cgroups_missing
            )
        except ExecutorError as error:
            check = await anyio.to_thread.run_sync(host.no_cell, str(error))
            raise Unavailable(check) from error
        facts = await anyio.to_thread.run_sync(lambda: tuple(self._facts()))
        self.checks = (*facts, *walls)
        if any(check.required and not check.passed for check in self.checks):
            raise Unavailable(*self.checks)

    def _recipes(self) -> Iterator[tuple[str, tuple[Recipe, Runtime]]]:
        """Say what can be kept warm, and how."""
        for language, toolchain in self._toolchains.usual():
            if language.runtime:
                memory = language.memory or self._defaults.memory
                limits = replace(self._defaults, memory=memory)
                toolchains = (self._interpreter, toolchain)
                start = plain_start(toolchain, language, limits)
                yield (
                    language.id,
                    (
                        recipe_for(self._stage, toolchains, start, limits, language.runtime),
                        language.runtime,
                    ),
                )

    async def _prove_warm(self, cells: WarmCells, runtime: Runtime) -> list[Check]:
        async def run(source: str, args: tuple[str, ...], limits: Limits) -> tuple[Exit, str, int]:
            async with cells.slot(limits) as slot:
                if slot is None:
                    raise ExecutorError("no warm cell was ready")
                start = Start(
                    argv=(*cells.recipe.argv, *args),
                    environment=cells.recipe.environment,
                    files={Path(cells.recipe.argv[-1]).name: source.encode()},
                )
                return await _tell(slot.cell, slot.meter, limits, start)

        return await prove(
            run,
            counts_exactly=self.counts_exactly,
            missing=self._cgroups_missing,
            runtime=runtime,
        )

    async def _run_python(
        self, source: str, args: tuple[str, ...], limits: Limits
    ) -> tuple[Exit, str, int]:
        """Run a program of our own; return also the host's uid of its cell."""
        async with self._open(self._interpreter, limits) as (cell, meter):
            start = Start(
                argv=(str(self._interpreter.executable), "/box/main.py", *args),
                environment=environment(self._interpreter),
                files={"main.py": source.encode()},
            )
            return await _tell(cell, meter, limits, start)

    def _facts(self) -> Iterator[Check]:
        yield host.kernel()
        yield Check(name="bubblewrap", passed=True, detail=self._stage.bubblewrap_version())
        yield host.cgroup_mode(self._cgroups, self._cgroups_missing)
        yield from host.limits(self._cgroups)
        for id, support in self._toolchains.support.items():
            yield Check(
                name=f"language {id}",
                passed=support.is_available,
                detail=", ".join(support.versions or ()) or support.reason or "",
                required=False,
            )
            for name, state in support.environments.items():
                yield Check(
                    name=f"environment {name}",
                    passed=state.is_available,
                    detail=f"for {id} {', '.join(state.versions)}"
                    if state.versions
                    else "not built",
                    remedy=f"if programs are to have it: `greenroom env build {name}`",
                    required=False,
                )


def _require_filter() -> None:
    try:
        seccomp_filter()
    except UnsupportedArchitecture as error:
        check = Check(name="system call filter", passed=False, detail=str(error))
        raise Unavailable(check) from error


def _owner_of(pidfd: int) -> int:
    return Path("/proc", str(process_of(pidfd))).stat().st_uid


async def _listen(run: Run, start: Start) -> tuple[Exit, str]:
    said = bytearray()

    async def listen(output: Output) -> None:
        said.extend(output.data)

    return await run(start, listen), said.decode(errors="replace")


async def _tell(cell: Cell, meter: Meter, limits: Limits, start: Start) -> tuple[Exit, str, int]:
    uid = await anyio.to_thread.run_sync(_owner_of, cell.init)
    end, said = await _listen(Run(cell, limits, meter), start)
    return end, said, uid
