"""Where a program's text and its files come to lie, and what can be wrong with that."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import PurePosixPath

from app.domain.errors import InvalidInput, Problem
from app.domain.execution import Program
from app.domain.language import FOLDER, Language, Sources


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """All files of a program by their paths in its folder, and what its language needs to know."""

    files: dict[str, bytes]
    sources: Sources


def layout(language: Language, program: Program) -> Layout:
    """Lay a program out whose paths are in order."""
    files = {each.path: each.data for each in program.files}
    place = source_place(language, program)
    if place is not None:
        files[place] = program.source.encode()
    entry = program.entry_point or place
    assert entry is not None  # noqa: S101 - without an entry point the source has a place
    others = sorted(path for path in files if _is_source(path, language) and path != entry)
    sources = Sources(
        entry=f"{FOLDER}/{entry}",
        paths=tuple(f"{FOLDER}/{path}" for path in (entry, *others)),
        text=files[entry].decode(errors="replace"),
    )
    return Layout(files=files, sources=sources)


def source_place(language: Language, program: Program) -> str | None:
    """Return where the source lies; None when another file is started and the source is empty."""
    if program.entry_point is None:
        return language.names(program.source) or language.source_name
    if all(each.path != program.entry_point for each in program.files):
        return program.entry_point
    return language.source_name if program.source else None


def file_problems(language: Language, program: Program) -> Iterator[Problem]:
    """Name what is wrong with the paths of a program's files, which are normalised, together."""
    place = source_place(language, program)
    taken: dict[str, str] = {} if place is None else {place: "the source"}
    for position, file in enumerate(program.files):
        where = ("files", str(position), "path")
        if file.path in taken:
            message = f"`{file.path}` is the path of {taken[file.path]} already."
            yield InvalidInput(path=where, message=message)
        taken.setdefault(file.path, "another file")
    for position, file in enumerate(program.files):
        if folder := next((above for above in _above(file.path) if above in taken), None):
            message = f"`{folder}` is a file, so `{file.path}` cannot lie in it."
            yield InvalidInput(path=("files", str(position), "path"), message=message)
    if place is not None and any(above in taken for above in _above(place)):
        message = f"`{place}` cannot lie in a file."
        yield InvalidInput(path=("entry_point",), message=message)


def _above(path: str) -> list[str]:
    return [str(each) for each in PurePosixPath(path).parents][:-1]


def _is_source(path: str, language: Language) -> bool:
    return PurePosixPath(path).suffix == language.file_extension
