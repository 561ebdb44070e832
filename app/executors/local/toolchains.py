"""Which toolchains this host has, and which version each of them is."""

import os
import re
from collections.abc import Awaitable, Callable, Iterator, Mapping, Sequence
from itertools import chain, product
from pathlib import Path

import anyio

from app.domain.errors import ExecutorError
from app.domain.language import Language, NotFound, Toolchain
from app.domain.ports import EnvironmentState, Support

_VERSION_LENGTH = 100


class Toolchains:
    """Those that were found; the version of each is asked in a cell, as soon as there are cells.

    Args:
        executables: by language id, those that the operator has chosen.
        environments: the folder in which environments are built.
    """

    def __init__(
        self,
        languages: Mapping[str, Language],
        executables: Mapping[str, Path],
        environments: Path,
    ) -> None:
        self._languages = languages
        self._support: dict[str, Support] = {}
        self._found: dict[str, tuple[Toolchain, ...]] = {}
        self._equipped: dict[tuple[Toolchain, str], Toolchain] = {}
        self._versions: dict[str, dict[str, Toolchain]] = {}
        for language in languages.values():
            try:
                self._found[language.id] = language.find(executables.get(language.id))
            except NotFound as missing:
                self._support[language.id] = Support(reason=str(missing))
            else:
                self._equip(language, environments)

    def _equip(self, language: Language, environments: Path) -> None:
        for toolchain, each in product(self._found[language.id], language.environments):
            if equipped := toolchain.equipped(each, environments):
                self._equipped[toolchain, each.id] = equipped

    def __iter__(self) -> Iterator[Toolchain]:
        return chain(*self._found.values(), self._equipped.values())

    @property
    def support(self) -> Mapping[str, Support]:
        """Whether each language can be run, and by which versions."""
        return self._support

    def usual(self) -> Iterator[tuple[Language, Toolchain]]:
        """Yield the first toolchain of each language that can be run."""
        for id, versions in self._versions.items():
            for toolchain in list(versions.values())[:1]:
                yield self._languages[id], toolchain

    def choose(
        self, language: Language, version: str | None, environment: str | None = None
    ) -> Toolchain:
        """Return the toolchain of a version, or the usual one; with an environment if asked for.

        Raises:
            ExecutorError: there is none.
        """
        version = version or self._support[language.id].version
        toolchain = self._versions.get(language.id, {}).get(version or "")
        if toolchain is None:
            raise ExecutorError(f"{language.name} {version or ''} is not here")
        if environment is None:
            return toolchain
        if (toolchain, environment) not in self._equipped:
            raise ExecutorError(f"{language.name} {version} has no environment {environment} here")
        return self._equipped[toolchain, environment]

    async def ask(self, say: Callable[[Language, Toolchain], Awaitable[str]]) -> None:
        """Learn the version of each from what it says."""
        turns = anyio.CapacityLimiter(len(os.sched_getaffinity(0)))
        async with anyio.create_task_group() as tasks:
            for id, found in self._found.items():
                tasks.start_soon(self._ask, self._languages[id], found, say, turns)

    async def _ask(
        self,
        language: Language,
        found: Sequence[Toolchain],
        say: Callable[[Language, Toolchain], Awaitable[str]],
        turns: anyio.CapacityLimiter,
    ) -> None:
        versions: dict[str, Toolchain] = {}
        reasons: list[str] = []
        for toolchain in found:
            try:
                async with turns:
                    said = await say(language, toolchain)
                versions.setdefault(_version(language, said), toolchain)
            except ExecutorError as error:
                reasons.append(str(error))  # of this one; whether any cell works is proven later
        self._versions[language.id] = versions
        states = {each.id: self._state(each.id, versions) for each in language.environments}
        self._support[language.id] = (
            Support(versions=tuple(versions), environments=states)
            if versions
            else Support(reason=reasons[0])
        )

    def _state(self, environment: str, versions: Mapping[str, Toolchain]) -> EnvironmentState:
        having = tuple(
            version
            for version, toolchain in versions.items()
            if (toolchain, environment) in self._equipped
        )
        missing = f"it is not built here; run `greenroom env build {environment}`"
        return EnvironmentState(versions=having, reason=None if having else missing)


def _version(language: Language, said: str) -> str:
    found = re.search(language.version_pattern, said)
    if found is None:
        raise ExecutorError(f"it does not tell its version, but {said[:200]!r}")
    return " ".join(found.groups())[:_VERSION_LENGTH]
