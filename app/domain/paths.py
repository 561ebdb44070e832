"""Paths of a program's files: what they mean is decided here, once, and by their text alone."""

from app.domain.language import BUILD, FOLDER

_LONGEST_NAME = 255  # bytes; what file systems allow
_LONGEST_PATH = 1024  # bytes
LONGEST_COLLECTED = 200  # bytes; of a path that comes out of a sandbox


class BadPath(ValueError):
    """A path that names no place in the program's folder; the message says why and quotes it."""


def normalized(path: str) -> str:
    """Return the one way to write a path relative to the program's folder.

    Raises:
        BadPath: it leads out of the folder, names no file, or no file can have it.
    """
    try:
        is_too_long = len(path.encode()) > _LONGEST_PATH
    except UnicodeEncodeError:
        raise BadPath("The path must be Unicode text without lone surrogates.") from None
    if is_too_long:
        raise BadPath(f"The path may have at most {_LONGEST_PATH} bytes.")
    if "\0" in path:
        raise BadPath(f"`{path.replace(chr(0), '␀')}` contains NUL, which no path can.")
    if path.startswith("/"):
        raise BadPath(f"`{path}` is absolute; give it relative to {FOLDER}.")
    parts = _walk(path)
    if not parts or path.endswith(("/", "/.", "/..")):
        raise BadPath(f"`{path}` names a folder, not a file.")
    if any(len(part.encode()) > _LONGEST_NAME for part in parts):
        raise BadPath(f"A name in a path may have at most {_LONGEST_NAME} bytes.")
    if parts[0] == BUILD:
        raise BadPath(f"`{path}` lies in `{BUILD}`, which is for compilers.")
    return "/".join(parts)


def is_tame(path: str, folder: str) -> bool:
    """Tell whether a path that came out of a sandbox names a file below `folder`, and only that.

    Then it is written in the one way, and shows all that is in it.
    """
    return (
        path.startswith(f"{folder}/")
        and path.isprintable()  # so there are no lone surrogates either
        and len(path.encode()) <= LONGEST_COLLECTED
        and not {"", ".", ".."}.intersection(path.split("/"))
    )


def _walk(path: str) -> list[str]:
    """Follow a path from the folder on; nowhere may it be above."""
    parts: list[str] = []
    for part in path.split("/"):
        if part == "..":
            if not parts:
                raise BadPath(f"`{path}` leads out of {FOLDER}.")
            parts.pop()
        elif part not in {"", "."}:
            parts.append(part)
    return parts
