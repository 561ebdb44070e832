"""The one seam of the house: places where programs run."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from app.domain.execution import Exit, Output, Stream
from app.domain.language import Language, beginnings
from app.domain.limits import Limits

Emit: TypeAlias = Callable[[Output], Awaitable[None]]
"""Takes a piece of output; awaiting it is the back-pressure on the program."""

Placement: TypeAlias = Mapping[str, str]
"""Where a program runs, in its executor's own words: enough to find it again after a crash."""

Placed: TypeAlias = Callable[[Placement], Awaitable[None]]
"""Takes note of where a program is about to run; it starts when that is known.

It raises when the run is another process's meanwhile; a place that outlives us is then left alone.
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Collect:
    """Which files are brought back when a program has ended: the regular ones below a folder.

    No link is followed, and nothing is brought whose path could mislead a reader: one with signs
    that cannot be printed, of more than 200 bytes or below more than 16 folders. Nor is what the
    program itself may not read.
    """

    folder: str
    """Its path in the program's folder."""
    files: int
    """At most so many."""
    size: int
    """Bytes of all together."""
    keeps_first: bool = False
    """Whether, when there are more, the first that fit are brought in order of name; or none."""
    is_made: bool = False
    """Whether the folder is there when the program starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Command:
    """What to start; where the language's executable is, is the executor's matter."""

    arguments: tuple[str, ...] = ()
    """All that follows the executable."""
    executable: str | None = None
    """A file in the sandbox; None is the language's own."""
    collect: Collect | None = None
    """What is brought back, as `Exit.product`."""
    environment: Mapping[str, str] = field(default_factory=dict)
    """Beside what every program has."""
    stdin: bytes = b""
    typed: AsyncIterator[bytes] | None = None
    """Pieces of input that come while the program runs, after `stdin`; its end closes the
    program's input."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EnvironmentState:
    """Whether an executor can run a language's programs in one of its environments."""

    versions: tuple[str, ...] = ()
    """Those of the language that it is there for, the usual one first."""
    reason: str | None = None

    @property
    def is_available(self) -> bool:
        """Whether a program can have it."""
        return self.reason is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Support:
    """Whether an executor can run a language: its versions, or the reason why not."""

    versions: tuple[str, ...] | None = None
    """Those that can be chosen, the usual one first; None where they are not known: then a program
    that asks for one waits for somebody who has it."""
    reason: str | None = None
    environments: Mapping[str, EnvironmentState] = field(default_factory=dict)
    """By their ids; one that is missing is not known: who asks for it waits for who has it."""

    @property
    def version(self) -> str | None:
        """The one that runs a program that asks for none."""
        return self.versions[0] if self.versions else None

    def versions_with(self, environment: str | None) -> tuple[str, ...]:
        """Return the versions that are known to have an environment, or all for None."""
        if environment is None:
            return self.versions or ()
        state = self.environments.get(environment)
        return state.versions if state else ()

    def choose(self, wanted: str | None, environment: str | None = None) -> str | None:
        """Return the version that is asked for, exactly or by its beginning, if it is here."""
        versions = self.versions_with(environment)
        return next(
            (each for each in versions if wanted is None or wanted in beginnings(each)), None
        )

    @property
    def is_available(self) -> bool:
        """Whether programs of the language can be run."""
        return self.reason is None


NOT_OFFERED = Support(reason="its operator does not offer it; see `GREENROOM_LANGUAGES`")


@dataclass(frozen=True, slots=True, kw_only=True)
class PoolFigures:
    """What an executor keeps ready. Times in seconds; None where nothing was measured yet."""

    ready: int
    starting: int
    target: int
    create_p50: float | None
    create_p95: float | None
    warm_hit_rate: float | None
    """The share of runs that found a sandbox ready."""
    is_broken: bool
    """Whether making sandboxes has failed so often that no run is accepted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ExecutorState:
    """How an executor is."""

    counts_exactly: bool
    """Whether memory and CPU time come from the kernel's own counters."""
    problem: str | None = None
    """Why programs cannot be run now, or None when they can."""
    retry_after: float | None = None
    """In how many seconds to try again, when no more programs can be taken."""
    pool: PoolFigures | None = None


class Sandbox(Protocol):
    """A fresh place for one program; leaving its block ends every process in it."""

    async def write(self, files: Mapping[str, bytes]) -> None:
        """Put files into the program's working directory, before it runs."""

    async def run(self, command: Command, emit: Emit) -> Exit:
        """Run the program to its end and report the facts; cancelling kills it.

        Raises:
            ExecutorError: the sandbox failed, not the program.
        """


class Executor(Protocol):
    """A kind of place where programs run."""

    name: str

    def state(self) -> ExecutorState:
        """Tell how it is, from what is known already."""

    async def check(self) -> None:
        """Try whether programs can be run now.

        Raises:
            ExecutorError: they cannot; it may come in an `ExceptionGroup`.
        """

    def supports(self, language: Language) -> Support:
        """Tell whether programs of `language` can be run here, and by which versions."""

    def sandbox(
        self,
        language: Language,
        limits: Limits,
        placed: Placed | None = None,
        *,
        version: str | None = None,
        environment: str | None = None,
    ) -> AbstractAsyncContextManager[Sandbox]:
        """Open a sandbox for one program, by a version that `supports` has told or the usual one.

        With the id of an environment, its packages are there as well.
        `placed` is called where the program can outlive this process, before it starts.

        Raises:
            ExecutorError: no sandbox could be made.
        """

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
        """Follow a program that another process started to its end, and report the facts.

        `skip` says how many bytes of each stream are known already, and are not emitted again;
        `placed` is as for `sandbox`, and `collect` is that of the program's command.
        None when nothing is left to be found, and nothing was emitted.

        Raises:
            ExecutorError: that cannot be told now, or the program was lost after it had spoken.
        """
