"""One program through its phases: files in, compile, run. Written once for all executors."""

from collections.abc import AsyncIterator
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


async def run_program(  # noqa: PLR0913 - all that a run is
    place: Workplace,
    language: Language,
    program: Program,
    limits: Limits,
    emit: Emit,
    placed: Placed,
    typed: AsyncIterator[bytes] | None = None,
    *,
    collect: Collect = ARTIFACTS,
) -> Exit:
    """Compile a program if its language asks for that, run it and return the facts of its end.

    Raises:
        ExecutorError: a sandbox gave no valid result; it may come in an `ExceptionGroup`.
    """
    laid_out = layout(language, program)
    sources, files = laid_out.sources, laid_out.files
    compilation, product = await _compile(place, language, sources, files)
    if compilation and compilation.outcome.status is not Status.SUCCEEDED:
        return Exit(compilation=compilation)
    unbuffered = {} if typed is None else language.unbuffered
    command = Command(
        arguments=(*language.run(sources, limits), *program.args),
        environment={**language.environment(limits), **unbuffered},
        executable=PRODUCT if language.runs_product else None,
        stdin=program.stdin,
        typed=typed,
        collect=collect,
    )
    version = place.version
    async with place.executor.sandbox(language, limits, placed, version=version) as sandbox:
        await sandbox.write(files | {each.path: each.data for each in product})
        return replace(await sandbox.run(command, emit), compilation=compilation)


async def _compile(
    place: Workplace, language: Language, sources: Sources, files: dict[str, bytes]
) -> tuple[Compilation | None, tuple[File, ...]]:
    if not language.is_compiled:
        return None, ()
    return await place.workshop.compile(
        place.executor, language, sources, files, scope=place.scope, version=place.version
    )
