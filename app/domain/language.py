"""A programming language, and where its programs are found on a host."""

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from pathlib import Path
from typing import Any, Self

from app.domain.environment import Environment
from app.domain.limits import Limits

FOLDER = "/box"
"""Where a program lives: its working directory."""
BUILD = ".build"
"""Where a compiler puts its product, in that folder; all of it is executable."""
PRODUCT = f"{FOLDER}/{BUILD}/main"
"""The product of a language whose product is the program."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mount:
    """A file or folder of the host that a cell may read, at `target` inside the cell."""

    source: Path
    target: Path


@dataclass(frozen=True, slots=True, kw_only=True)
class Toolchain:
    """What a cell needs to see so that a language runs in it."""

    executable: Path
    """Inside the cell."""
    arguments: tuple[str, ...] = ()
    """What comes first, whatever else is asked of the executable."""
    mounts: tuple[Mount, ...] = ()
    hidden: tuple[Path, ...] = ()
    """Folders that appear empty, such as a host's installed packages."""
    abi: str = ""
    """What packages with compiled parts have to be made for, where the language has such."""
    variables: Mapping[str, str] = field(default_factory=dict, hash=False)
    """What a program finds in the environment of its process, beside the usual."""

    def equipped(self, environment: Environment, folder: Path) -> Self | None:
        """Return it with an environment that is built for it in a folder, or None if none is."""
        built = folder.absolute() / environment.name_for(self.abi)
        if not built.is_dir():
            return None
        return replace(
            self,
            mounts=(*self.mounts, Mount(source=built, target=environment.target)),
            variables={**self.variables, **environment.variables},
        )


def beginnings(version: str) -> Iterator[str]:
    """Yield all that a version answers to: 3.11.2 also to 3.11 and to 3."""
    for part in re.finditer(r"[. ]|$", version):
        yield version[: part.start()]


class NotFound(Exception):
    """A language is not installed here; the message says what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageNeeds:
    """What a language needs in a container image, and how its programs are started there."""

    executable: str
    """Found on the image's PATH."""
    apt: tuple[str, ...] = ()
    """Debian packages."""
    pip: tuple[str, ...] = ()
    """Python packages."""
    commands: tuple[str, ...] = ()
    """Shell commands, after the packages."""


class Runtime(Enum):
    """An interpreter that can be started before its program is there."""

    CPYTHON = "CPython"
    NODE = "Node"


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """The text of a program, as its language's commands need to know it."""

    entry: str
    """The path in a cell of the file that is started."""
    paths: tuple[str, ...]
    """The paths of all files of the language, that one first."""
    text: str
    """What is in that file."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harness:
    """A program that stands in for another, calls one function of it, and leaves the answer.

    Its input tells what: the fields of `Harnessed`.
    """

    text: str
    encode: Callable[["Harnessed"], bytes]
    """Write its input."""
    is_name: Callable[[str], bool]
    """Whether a function can have a name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Harnessed:
    """What a harness is told."""

    entry: str
    """The path in the cell of the file that it stands in for."""
    source: bytes
    """What is in that file."""
    name: str
    """The function's."""
    given: tuple[Any, ...]
    """The arguments, JSON values."""
    place: str
    """The path in the cell of the folder that it makes for the answer: `value`, or `problem`."""


Variables = Callable[[Limits], Mapping[str, str]]
Arguments = Callable[[Sources, Limits], tuple[str, ...]]


def _as_usual(text: str) -> None:
    del text


def _nothing(limits: Limits) -> Mapping[str, str]:
    del limits
    return {}


@dataclass(frozen=True, slots=True, kw_only=True)
class Language:
    """How programs of one language are started."""

    id: str
    name: str
    source_name: str
    """The program's file in the working directory; its suffix is the language's."""
    editor_mode: str
    """The language's name in CodeMirror, Monaco and their kind."""
    run: Arguments
    """What follows the executable when a program is run, before the program's own arguments."""
    compile: Arguments | None = None
    """What follows the executable when a program is compiled; its product goes to `BUILD`."""
    runs_product: bool = False
    """Whether `PRODUCT` is the program; otherwise the executable runs what was compiled."""
    version_arguments: tuple[str, ...]
    version_pattern: str
    """Its groups are the version in what the executable prints for `version_arguments`."""
    example: str
    """A program that prints `Hello, world!`; shown in editors and run by the tests."""
    find: Callable[[Path | None], tuple[Toolchain, ...]]
    """Look for its toolchains on this host, or at the given executable if there is one.

    There may be several versions; the first is the usual one.

    Raises:
        NotFound: it is not here.
    """
    image: ImageNeeds
    names: Callable[[str], str | None] = _as_usual
    """The file name that a program's text demands, if it does."""
    runtime: Runtime | None = None
    """What runs its programs, where the executor may start it ahead."""
    memory: int | None = None
    """Bytes that its programs need by default, where that is more than usual."""
    environment: Variables = _nothing
    """What its run-time has to know of the limits, so that it keeps within them by itself."""
    unbuffered: Mapping[str, str] = field(default_factory=dict)
    """More of the environment of an interactive run, so that prompts appear at once."""
    environments: tuple[Environment, ...] = ()
    """Sets of packages that its programs may ask for."""
    harness: Harness | None = None
    """How one function of a program is called, where that can be."""

    @property
    def file_extension(self) -> str:
        """As editors know it, with its dot."""
        return f".{self.source_name.rpartition('.')[2]}"

    @property
    def is_compiled(self) -> bool:
        """Whether a program is compiled before it runs, with an outcome of its own."""
        return self.compile is not None
