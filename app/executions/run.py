"""One program through its phases: files in, compile, run. Written once for all executors."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, replace

from app.domain.execution import Compilation, Exit, File, Program, Status
from app.domain.language import PRODUCT, Language, Sources
from app.domain.limits import MIB, Limits
from app.domain.ports import Collect, Command, Emit, Executor, Placed
from app.executions.compiling import Scope, Workshop
from app.executions.files import layout

ARTIFACTS = Collect(folder="out", files=20, size=8 * MIB, keeps_first=True)
"""What a program may leave beside its output. It makes the folder itself: many have a file or a
folder of this name of their own, and would stumble over one that is there."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Workplace:
    """Where a program runs, and for whom."""

    executor: Executor
    workshop: Workshop
    scope: Scope
    version: str | None = None
    """Of the language, exactly; None is the usual one."""
    environment: str | None = None
    """The id of the one whose packages the program has beside the language."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A program that can be started, or the outcome of its compiler."""

    language: Language
    sources: Sources
    files: Mapping[str, bytes]
    compilation: Compilation | None

    @property
    def is_ready(self) -> bool:
        """Whether there is something to start."""
        return not self.compilation or self.compilation.outcome.status is Status.SUCCEEDED


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """What a program is given when it is started."""

    stdin: bytes = b""
    args: tuple[str, ...] = ()
    files: tuple[File, ...] = ()
    """Beside its own."""
    typed: AsyncIterator[bytes] | None = None
    collect: Collect | None = None
    """What of all that it leaves is brought back."""


async def prepare(place: Workplace, language: Language, program: Program) -> Prepared:
    """Lay a program out, and compile it if its language asks for that.

    Raises:
        ExecutorError: a sandbox gave no valid result.
    """
    laid_out = layout(language, program)
    compilation, product = await _compile(place, language, laid_out.sources, laid_out.files)
    return Prepared(
        language=language,
        sources=laid_out.sources,
        files=laid_out.files | {each.path: each.data for each in product},
        compilation=compilation,
    )


async def run_prepared(  # noqa: PLR0913 - all that a run is
    place: Workplace,
    prepared: Prepared,
    given: Input,
    limits: Limits,
    emit: Emit,
    placed: Placed | None = None,
) -> Exit:
    """Run a program in a sandbox of its own and return the facts of its end.

    What could not be compiled is not run: its compiler's end is all there is to tell.

    Raises:
        ExecutorError: the sandbox gave no valid result; it may come in an `ExceptionGroup`.
    """
    if not prepared.is_ready:
        return Exit(compilation=prepared.compilation)
    language, sources = prepared.language, prepared.sources
    unbuffered = {} if given.typed is None else language.unbuffered
    command = Command(
        arguments=(*language.run(sources, limits), *given.args),
        environment={**language.environment(limits), **unbuffered},
        executable=PRODUCT if language.runs_product else None,
        stdin=given.stdin,
        typed=given.typed,
        collect=given.collect,
    )
    async with place.executor.sandbox(
        language, limits, placed, version=place.version, environment=place.environment
    ) as sandbox:
        await sandbox.write({**prepared.files, **{each.path: each.data for each in given.files}})
        return replace(await sandbox.run(command, emit), compilation=prepared.compilation)


async def _compile(
    place: Workplace, language: Language, sources: Sources, files: dict[str, bytes]
) -> tuple[Compilation | None, tuple[File, ...]]:
    if not language.is_compiled:
        return None, ()
    return await place.workshop.compile(
        place.executor, language, sources, files, scope=place.scope, version=place.version
    )
