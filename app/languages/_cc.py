"""C and C++, by the host's GCC."""

from pathlib import Path

from app.domain.language import Toolchain
from app.languages._host import on_host

FLAGS = ("-O2", "-g0")
VERSION = r"(?:gcc|g\+\+)\S* \([^)]*\) (\d[\d.]*)"


def find(executable: Path | None, *, compiler: str, packages: str) -> tuple[Toolchain, ...]:
    """Find a compiler, which may have its version in its name; `packages` are Debian's."""
    remedy = f"`apt install {packages}` brings it"
    return on_host(executable, compiler, f"{compiler}-[0-9]*", remedy=remedy)
