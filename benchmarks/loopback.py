"""Hello-world on Modal as far as a machine without Modal can tell: what the pool is worth.

Modal's own client talks to the loopback server, whose sandboxes take as long to come up as
Modal's did in public measurements. The programs really run; the network is none.

    python -m benchmarks.loopback
"""

import json
import os
import statistics
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Annotated

import anyio
import typer
from pydantic import SecretStr
from rich.console import Console
from rich.table import Table

from app.domain.execution import Output, Program
from app.domain.limits import DEFAULT_LIMITS
from app.domain.ports import Command, Placement
from app.executions.files import layout
from app.executors.modal.credentials import Token
from app.executors.modal.executor import ModalExecutor, ModalOptions
from app.executors.modal.images import recipe_for
from app.executors.modal.loopback import LoopbackModal
from app.executors.modal.publish import publish
from app.languages import all_languages

PYTHON = all_languages()["PYTHON"]
LANGUAGES = {PYTHON.id: PYTHON}
CREATE_LATENCY = 2.5  # s
RATES = (1.0, 2.0, 4.0)  # runs a second
console = Console(stderr=True)


class Nobody:
    """An installation of one server."""

    async def keep_replica(self, name: str, *, until: datetime) -> None:
        """Know that already."""

    async def dead_replicas(self, *, after: datetime, before: datetime) -> frozenset[str]:
        """Name nobody."""
        del after, before
        return frozenset()

    async def placements(self) -> tuple[Placement, ...]:
        """Say that nothing runs."""
        return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """What was measured. Milliseconds, shares, calls."""

    warm_p50: float
    warm_p95: float
    cold_p50: float
    cold_p95: float
    hit_rates: dict[str, float]
    """By runs a second."""
    calls_before_start: float
    calls_per_warm_run: dict[str, float]
    """Those of the refill included."""


def main(
    runs: Annotated[int, typer.Option(min=2, help="Runs, warm and cold each.")] = 20,
    seconds: Annotated[float, typer.Option(min=1, help="How long each rate is kept up.")] = 30.0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,  # noqa: FBT002
) -> None:
    """Measure."""
    os.environ["MODAL_SANDBOX_V2"] = "1"
    figures = anyio.run(_measure, runs, seconds)
    if as_json:
        print(json.dumps(asdict(figures), indent=2))
    else:
        _show(figures)


async def _measure(runs: int, seconds: float) -> Figures:
    tools = {each.image.executable: each.find(None)[0] for each in LANGUAGES.values()}
    async with LoopbackModal(tools) as server:
        token = Token(id=SecretStr(server.token_id), secret=SecretStr(server.token_secret))
        await publish(token, server=server.url, recipe=recipe_for(LANGUAGES.values()))
        server.create_latency = CREATE_LATENCY
        warm, calls = await _warm(server, token, runs)
        cold = await _cold(server, token, runs)
        hits = {f"{rate:g}": await _hit_rate(server, token, rate, seconds) for rate in RATES}
    return Figures(
        warm_p50=_rank(warm, 50),
        warm_p95=_rank(warm, 95),
        cold_p50=_rank(cold, 50),
        cold_p95=_rank(cold, 95),
        hit_rates=hits,
        calls_before_start=calls["TaskExecStdinWrite"],
        calls_per_warm_run=calls,
    )


async def _warm(
    server: LoopbackModal, token: Token, runs: int
) -> tuple[list[float], dict[str, float]]:
    taken = []
    async with _executor(server, token, floor=2, ceiling=2) as executor:
        await _until_ready(executor, 2)
        server.state.rpcs.clear()
        for number in range(runs):
            console.print(f"warm run {number + 1} of {runs} ...", end="\r")
            taken.append(await _hello(executor))
            await _until_ready(executor, 2)
        calls = {name: count / runs for name, count in server.state.rpcs.most_common()}
    return taken, calls


async def _cold(server: LoopbackModal, token: Token, runs: int) -> list[float]:
    taken = []
    async with _executor(server, token, floor=0, ceiling=0) as executor:
        await _until_ready(executor, 0)
        for number in range(runs):
            console.print(f"cold run {number + 1} of {runs} ...", end="\r")
            taken.append(await _hello(executor))
    return taken


async def _hit_rate(server: LoopbackModal, token: Token, rate: float, seconds: float) -> float:
    """Return the share of runs that found a sandbox ready, once the pool has learnt the rate."""
    warm = 0
    count = round(rate * seconds)
    async with _executor(server, token, floor=1, ceiling=20) as executor:
        await _until_ready(executor, 1)
        async with anyio.create_task_group() as tasks:
            for number in range(2 * count):
                console.print(f"{rate:g} runs/s: {number + 1} of {2 * count} ...", end="\r")
                pool = executor.state().pool
                if number >= count and pool is not None:
                    warm += pool.ready > 0
                tasks.start_soon(_hello, executor)
                await anyio.sleep(1 / rate)
    return warm / count


@asynccontextmanager
async def _executor(
    server: LoopbackModal, token: Token, *, floor: int, ceiling: int
) -> AsyncIterator[ModalExecutor]:
    options = ModalOptions(
        offered=frozenset(LANGUAGES),
        server=server.url,
        cpu=1.0,
        warm_floor=floor,
        warm_ceiling=ceiling,
        box_age=600.0,
        create_rate=8.0,
        create_burst=8,
        budget=30.0,
        longest_run=60.0,
    )
    async with ModalExecutor(LANGUAGES, token, options, DEFAULT_LIMITS, Nobody()) as executor:
        yield executor


async def _until_ready(executor: ModalExecutor, boxes: int) -> None:
    """Wait until the versions are known and nothing but so many boxes is there."""
    while not _is_ready(executor, boxes):  # noqa: ASYNC110 - nobody rings for this
        await anyio.sleep(0.01)


def _is_ready(executor: ModalExecutor, boxes: int) -> bool:
    pool = executor.state().pool
    known = all(executor.supports(each).version for each in LANGUAGES.values())
    return known and pool is not None and pool.ready >= boxes and pool.starting == 0


async def _hello(executor: ModalExecutor) -> float:
    said = bytearray()

    async def listen(output: Output) -> None:
        said.extend(output.data)

    began = time.perf_counter()
    async with executor.sandbox(PYTHON, DEFAULT_LIMITS) as sandbox:
        await sandbox.write({PYTHON.source_name: PYTHON.example.encode()})
        program = Program(language=PYTHON.id, source=PYTHON.example)
        sources = layout(PYTHON, program).sources
        arguments = PYTHON.run(sources, DEFAULT_LIMITS)
        environment = PYTHON.environment(DEFAULT_LIMITS)
        await sandbox.run(Command(arguments=tuple(arguments), environment=environment), listen)
    if said != b"Hello, world!\n":
        message = f"not the expected output: {bytes(said)!r}"
        raise RuntimeError(message)
    return time.perf_counter() - began


def _rank(seconds: Sequence[float], percent: int) -> float:
    cuts = statistics.quantiles(seconds, n=100, method="inclusive")
    return round(cuts[percent - 1] * 1000, 1)


def _show(figures: Figures) -> None:
    table = Table(title=f"hello world, sandboxes that take {CREATE_LATENCY:g} s to create")
    for name in ("", "p50", "p95"):
        table.add_column(name, justify="right")
    table.add_row("warm", f"{figures.warm_p50:.0f} ms", f"{figures.warm_p95:.0f} ms")
    table.add_row("cold", f"{figures.cold_p50:.0f} ms", f"{figures.cold_p95:.0f} ms")
    out = Console()
    out.print(table)
    for rate, share in figures.hit_rates.items():
        out.print(f"{rate} runs/s: {share:.0%} found a sandbox ready")
    out.print(f"calls before a warm program starts: {figures.calls_before_start:g}")
    for name, count in figures.calls_per_warm_run.items():
        out.print(f"  {name}: {count:g} a run")


if __name__ == "__main__":
    typer.run(main)
