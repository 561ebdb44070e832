"""How tests run a program, and all that came out of it."""

import atexit
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from time import monotonic
from typing import Any

import anyio

from app.domain.execution import Exit, File, Outcome, Output, Program, Status, Stream
from app.domain.language import Language
from app.domain.limits import DEFAULT_LIMITS, MIB, Limits
from app.domain.ports import Executor, Placement
from app.domain.verdict import judge
from app.executions.compiling import Workshop
from app.executions.products import Products
from app.executions.run import ARTIFACTS, Input, Workplace, prepare, run_prepared

# One for all tests: a program in several modes is compiled once.
PRODUCTS = Products(256 * MIB)
WORKSHOP = Workshop(products=PRODUCTS)
atexit.register(PRODUCTS.close)


@dataclass(slots=True)
class Result:
    """What a test can see of a run. Times in seconds of the monotonic clock."""

    outputs: list[Output] = field(default_factory=list)
    begun_at: float = 0.0
    ended_at: float = 0.0
    """When the sandbox had been left."""
    end: Exit = field(default_factory=Exit)

    @property
    def outcome(self) -> Outcome:
        return judge(self.end)

    @property
    def status(self) -> Status:
        return self.outcome.status

    @property
    def stdout(self) -> bytes:
        return self._of(Stream.STDOUT)

    @property
    def stderr(self) -> bytes:
        return self._of(Stream.STDERR)

    @property
    def text(self) -> str:
        return self.stdout.decode()

    @property
    def seconds(self) -> float:
        return self.ended_at - self.begun_at

    def _of(self, stream: Stream) -> bytes:
        return b"".join(output.data for output in self.outputs if output.stream is stream)

    def __str__(self) -> str:
        said = f"stdout {self.stdout[-2000:]!r}, stderr {self.stderr[-2000:]!r}"
        return f"{self.end} after {self.seconds:.3f} s, {said}"


async def run(  # noqa: PLR0913 - all that a program is given
    executor: Executor,
    language: Language,
    source: str,
    *,
    args: Sequence[str] = (),
    stdin: bytes = b"",
    typed: AsyncIterator[bytes] | None = None,
    heard: Callable[[Output], Awaitable[None]] | None = None,
    workshop: Workshop | None = None,
    version: str | None = None,
    environment: str | None = None,
    files: Sequence[File] = (),
    **limits: float,
) -> Result:
    """Run a program in a sandbox of its own, under the default limits or others."""
    result = Result(begun_at=monotonic())

    async def emit(output: Output) -> None:
        result.outputs.append(output)
        if heard is not None:
            await heard(output)

    program = Program(language=language.id, source=source, files=tuple(files))
    given = Input(stdin=stdin, args=tuple(args), typed=typed, collect=ARTIFACTS)
    place = Workplace(
        executor=executor,
        workshop=workshop or WORKSHOP,
        scope=("local", None),
        version=version or executor.supports(language).version,
        environment=environment,
    )
    bounds = limits_with(**limits)
    prepared = await prepare(place, language, program)
    result.end = await run_prepared(place, prepared, given, bounds, emit, _anywhere)
    result.ended_at = monotonic()
    return result


async def _anywhere(placement: Placement) -> None:
    """Take no note of it."""


def limits_with(**changes: Any) -> Limits:
    """Return the default limits but for these."""
    return replace(DEFAULT_LIMITS, **changes)


@dataclass(frozen=True, slots=True)
class Box:
    """Runs programs of one language on one executor."""

    executor: Executor
    language: Language

    async def __call__(self, source: str, **how: Any) -> Result:
        """Run to the end."""
        return await run(self.executor, self.language, source, **how)

    async def until_it_speaks(self, source: str, tasks: "anyio.abc.TaskGroup", **how: Any) -> None:
        """Start a program in a task and return at its first output; end it with its task group."""
        up = anyio.Event()

        async def heard(_: Output) -> None:
            up.set()

        async def go() -> None:
            await self(source, heard=heard, **how)

        tasks.start_soon(go)
        with anyio.fail_after(20):
            await up.wait()
