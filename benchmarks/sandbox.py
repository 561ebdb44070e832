"""What the whole path hides: the sandbox alone, and the queue when many come at once.

    python -m benchmarks.sandbox

The sandbox is opened in this process and compared with bare starts, in turns; no more programs run
at one time than there are processors, as in the service. A queue is perfect when everybody waits
for as long as the programs before him need: 32 clients that send without a pause would each wait
for 32 runs, as many as there are in so much time.
"""

import os
import statistics
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

import anyio
from anyio.from_thread import BlockingPortal, start_blocking_portal

from app.domain.execution import Output, Program
from app.domain.language import Language
from app.domain.limits import DEFAULT_LIMITS
from app.domain.ports import Command, Executor
from app.executions.files import layout
from app.executor_factory import local_executor
from app.languages import all_languages
from app.settings import Settings
from benchmarks.subjects import EXPECTED, PAUSE, Sample, Service, Subject, bare, served

AT_ONCE, CROWD = 8, 32
ROUNDS = 5
CPUS = len(os.sched_getaffinity(0))


class Sandboxed:
    """Runs in the sandbox, and nothing around it."""

    def __init__(self, portal: BlockingPortal, executor: Executor, language: Language) -> None:
        self._portal, self._executor, self._language = portal, executor, language

    def measure(self, *, runs: int, at_once: int, pause: float = 0.0) -> Sample:
        """Run in the loop of the executor."""
        return self._portal.call(self._measure, runs, at_once, pause)

    async def _measure(self, runs: int, at_once: int, pause: float) -> Sample:
        each: list[float] = []
        turns = anyio.CapacityLimiter(min(at_once, CPUS))

        async def send(share: int) -> None:
            for _ in range(share):
                began = time.perf_counter()
                async with turns:
                    await self._run()
                each.append(time.perf_counter() - began)
                await anyio.sleep(pause)

        began = time.perf_counter()
        async with anyio.create_task_group() as tasks:
            for client in range(at_once):
                tasks.start_soon(send, len(range(client, runs, at_once)))
        return Sample(each=each, all=time.perf_counter() - began)

    async def _run(self) -> None:
        said = bytearray()

        async def listen(output: Output) -> None:
            said.extend(output.data)

        language = self._language
        laid_out = layout(language, Program(language=language.id, source=language.example))
        command = Command(
            arguments=language.run(laid_out.sources, DEFAULT_LIMITS),
            environment=language.environment(DEFAULT_LIMITS),
        )
        async with self._executor.sandbox(language, DEFAULT_LIMITS) as sandbox:
            await sandbox.write(laid_out.files)
            await sandbox.run(command, listen)
        if said.decode() != EXPECTED:
            message = f"not the expected output: {said!r}"
            raise RuntimeError(message)


@contextmanager
def sandboxed(language: Language) -> Iterator[Sandboxed]:
    """Open the sandbox in a loop of its own."""
    settings = Settings(languages=frozenset({language.id}))
    with start_blocking_portal("asyncio", {"use_uvloop": True}) as portal:
        executor = portal.call(anyio.to_thread.run_sync, local_executor, settings)
        with portal.wrap_async_context_manager(executor):
            yield Sandboxed(portal, executor, language)


def main(runs: int) -> None:
    """Measure and print."""
    for id in ("PYTHON", "JAVASCRIPT"):
        language = all_languages()[id]
        with sandboxed(language) as ours, bare(language) as baseline:
            for name, options in (
                ("one at a time", {"runs": runs, "at_once": 1}),
                ("one now and then", {"runs": runs, "at_once": 1, "pause": PAUSE}),
            ):
                ratio = _ratio(ours, baseline, **options)
                print(f"{language.name}: sandbox / bare start, {name}, p50: {ratio:.2f}")
            together = {"runs": 2 * runs, "at_once": AT_ONCE}
            speed = 1 / _ratio(ours, baseline, **together, is_of_all=True)
            print(f"{language.name}: runs / bare starts a second, {AT_ONCE} at once: {speed:.2f}")
        with served({}) as port:
            crowd = _crowd(Service(port, language), runs)
            print(f"{language.name}: p95 / a perfect queue, {CROWD} at once: {crowd:.2f}")


def _ratio(ours: Subject, theirs: Subject, *, is_of_all: bool = False, **options: float) -> float:
    """Return ours / theirs: of the medians, or of the time for all."""

    def once(subject: Subject) -> float:
        sample = subject.measure(**options)  # type: ignore[arg-type]
        return sample.all if is_of_all else statistics.median(sample.each)

    once(ours), once(theirs)
    return statistics.median(once(ours) / once(theirs) for _ in range(ROUNDS))


def _crowd(service: Service, runs: int) -> float:
    service.measure(runs=CROWD, at_once=CROWD)
    sample = service.measure(runs=max(8, runs // 4) * CROWD, at_once=CROWD)
    *_, p95 = statistics.quantiles(sample.each, n=20, method="inclusive")
    return p95 / (CROWD * sample.all / len(sample.each))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 40)
