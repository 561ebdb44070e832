"""C and C++, by the host's GCC; Clang as well, where it was installed because there is no GCC."""

from contextlib import suppress
from pathlib import Path

from app.domain.language import NotFound, Toolchain
from app.languages._host import on_host
from app.languages._zig import clang

FLAGS = ("-O2", "-g0")
VERSION = r"(gcc|g\+\+|clang)\S*(?: version| \([^)]*\)) (\d[\d.]*)"
_HEADERS = Path("/usr/include/stdio.h")  # without the library's headers, GCC compiles nothing


def find(executable: Path | None, *, gnu: str, zig: str) -> tuple[Toolchain, ...]:
    """Find every GCC on the host, and Clang.

    Args:
        executable: what the operator has named.
        gnu: what GCC's compiler for the language is called; it may have its version in its name.
        zig: what Zig calls its Clang for the language.
    """
    if executable is not None:
        return on_host(executable, remedy="")
    found: tuple[Toolchain, ...] = ()
    with suppress(NotFound):
        if _HEADERS.is_file():
            found = on_host(None, gnu, f"{gnu}-[0-9]*", remedy="")
    if not found:
        return (clang(zig),)
    with suppress(NotFound):
        found = (*found, clang(zig))
    return found
