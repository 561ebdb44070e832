"""One program through one sandbox: written once for all executors."""

from collections.abc import AsyncIterator

from app.domain.execution import Exit, Program
from app.domain.language import Language
from app.domain.limits import Limits
from app.domain.ports import Command, Emit, Executor, Placed


async def run_program(  # noqa: PLR0913 - all that a run is
    executor: Executor,
    language: Language,
    program: Program,
    limits: Limits,
    emit: Emit,
    placed: Placed,
    typed: AsyncIterator[bytes] | None = None,
) -> Exit:
    """Run a program in a fresh sandbox and return the facts of its end.

    Raises:
        ExecutorError: the sandbox gave no valid result; it may come in an `ExceptionGroup`.
    """
    async with executor.sandbox(language, limits, placed) as sandbox:
        await sandbox.write({language.source_name: program.source.encode()})
        command = Command(
            arguments=(*language.run(language.sources(), limits), *program.args),
            environment=language.environment(limits),
            stdin=program.stdin,
            typed=typed,
        )
        return await sandbox.run(command, emit)
