"""Finds what a host's packages have installed."""

import re
from collections.abc import Iterator
from pathlib import Path

from app.domain.language import Mount, NotFound, Toolchain

_SYSTEM = Path("/usr")
_FOLDER = _SYSTEM / "bin"
_HIDDEN = _SYSTEM / "local"


def on_host(executable: Path | None, *patterns: str, remedy: str) -> tuple[Toolchain, ...]:
    """Find executables in /usr/bin, or take the operator's.

    Args:
        executable: what the operator has named.
        patterns: glob patterns of names, the usual one's first; of several that fit the same, the
            highest version comes first.
        remedy: how it is installed.

    Raises:
        NotFound: there is none, or what was named is no file.
    """
    if executable is not None:
        return (chosen(executable),)
    found = dict.fromkeys(_matches(patterns))
    if not found:
        message = f"it is not installed; {remedy}"
        raise NotFound(message)
    return tuple(Toolchain(executable=path) for path in found)


def chosen(executable: Path) -> Toolchain:
    """Take what the operator has named, with the folder around its `bin` where no cell sees it.

    Raises:
        NotFound: it is no file.
    """
    if not executable.is_file():
        message = f"{executable} is not a file; name an executable or unset the setting"
        raise NotFound(message)
    path = executable.resolve()
    if path.is_relative_to(_SYSTEM) and not path.is_relative_to(_HIDDEN):
        return Toolchain(executable=path)
    seen = path.parent.parent if path.parent.name == "bin" else path
    return Toolchain(executable=path, mounts=(Mount(source=seen, target=seen),))


def _matches(patterns: tuple[str, ...]) -> Iterator[Path]:
    for pattern in patterns:
        yield from sorted(
            (path.resolve() for path in _FOLDER.glob(pattern) if path.is_file()),
            key=version_in,
            reverse=True,
        )


def version_in(path: Path) -> list[int]:
    """Return the numbers of a path, to sort by: 3.9 comes before 3.11."""
    return [int(number) for number in re.findall(r"\d+", str(path))]
