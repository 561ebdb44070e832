"""A program's way through its compiler, in a sandbox of its own, or past it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeAlias

import anyio
import anyio.to_thread

from app.domain.errors import ExecutorError
from app.domain.execution import Compilation, File, Outcome, Output, Status, Stream
from app.domain.language import BUILD, Language, Sources
from app.domain.limits import COMPILE_LIMITS, KIB, MIB, Limits
from app.domain.ports import Collect, Command, Executor, Sandbox
from app.domain.verdict import judge_compiler
from app.executions.products import Kept, Products, key_of
from app.storage.feed import ERASED, Feed

_MOST_SAID = 64 * KIB  # of each stream of a compiler; the first errors and the last lines matter
_PRODUCT = Collect(folder=BUILD, files=500, size=64 * MIB, is_made=True)


Scope: TypeAlias = tuple[str, str | None]
"""An owner and perhaps a session: whose products are one another's."""


class Said:
    """What a compiler says on one stream: its beginning and its end."""

    def __init__(self, most: int = _MOST_SAID) -> None:
        self._half = most // 2
        self._head, self._tail = bytearray(), bytearray()
        self._left_out = 0

    def add(self, data: bytes) -> None:
        """Take a piece."""
        room = self._half - len(self._head)
        self._head += data[:room]
        self._tail += data[room:] if room < len(data) else b""
        if (excess := len(self._tail) - self._half) > 0:
            self._left_out += excess
            del self._tail[:excess]

    def __bytes__(self) -> bytes:
        between = b"\n... %d bytes left out ...\n" % self._left_out if self._left_out else b""
        return bytes(self._head) + between + bytes(self._tail)


@dataclass(frozen=True, slots=True, kw_only=True)
class Workshop:
    """Where programs are compiled: the limits of compilers, and what they have made so far."""

    products: Products
    limits: Limits = COMPILE_LIMITS
    _turn: anyio.Lock = field(default_factory=anyio.Lock)

    async def compile(  # noqa: PLR0913 - all that a product depends on
        self,
        executor: Executor,
        language: Language,
        sources: Sources,
        files: Mapping[str, bytes],
        *,
        scope: Scope,
        version: str | None,
    ) -> tuple[Compilation, tuple[File, ...]]:
        """Compile, unless an equal program was compiled before within the scope.

        Raises:
            ExecutorError: the sandbox gave no valid result.
        """
        assert language.compile is not None  # noqa: S101 - who calls has asked
        arguments = language.compile(sources, self.limits)
        key = key_of(
            scope, executor.name, language.id, version, arguments, tuple(sorted(files.items()))
        )
        if kept := await self._kept(key):
            product, stdout, stderr = kept
            return Compilation(outcome=_HIT, stdout=stdout, stderr=stderr, is_cached=True), product
        command = Command(
            arguments=arguments, environment=language.environment(self.limits), collect=_PRODUCT
        )
        # Not to be found again after a crash: nobody waits for the end of a compiler alone.
        async with executor.sandbox(language, self.limits, version=version) as sandbox:
            await sandbox.write(files)
            compilation, product = await _compile(sandbox, language, command)
        if compilation.outcome.status is Status.SUCCEEDED:
            await self._keep(key, (product, compilation.stdout, compilation.stderr))
        return compilation, product

    async def forget_erased(self, feed: Feed) -> None:
        """Let all products go whenever something was erased: they hold its text, too."""
        with feed.bell(ERASED) as bell:
            while True:
                await bell.wait()
                async with self._turn:
                    await anyio.to_thread.run_sync(self.products.clear)

    async def _kept(self, key: str) -> Kept | None:
        async with self._turn:
            return await anyio.to_thread.run_sync(self.products.get, key)

    async def _keep(self, key: str, kept: Kept) -> None:
        async with self._turn:
            await anyio.to_thread.run_sync(self.products.put, key, kept)


async def _compile(
    sandbox: Sandbox, language: Language, command: Command
) -> tuple[Compilation, tuple[File, ...]]:
    said = {stream: Said() for stream in Stream}

    async def listen(output: Output) -> None:
        said[output.stream].add(output.data)

    end = await sandbox.run(command, listen)
    program = f"{BUILD}/main" if language.runs_product else None
    outcome = judge_compiler(end, program=program)
    if outcome.status is Status.INFRASTRUCTURE_ERROR:
        raise ExecutorError(outcome.message)
    stdout, stderr = (bytes(said[stream]) for stream in Stream)
    return Compilation(outcome=outcome, stdout=stdout, stderr=stderr), end.product or ()


_HIT = Outcome(status=Status.SUCCEEDED, exit_code=0)
