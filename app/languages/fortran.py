"""Fortran, by GCC from the host's packages."""

from pathlib import Path

from app.domain.language import PRODUCT, ImageNeeds, Language, Toolchain
from app.languages import _cc
from app.languages._host import on_host


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find gfortran."""
    remedy = "`apt install gfortran` brings it"
    return on_host(executable, "gfortran", "gfortran-[0-9]*", remedy=remedy)


LANGUAGE = Language(
    id="FORTRAN",
    name="Fortran",
    source_name="main.f90",
    editor_mode="fortran",
    # Modules come first, for they are read as compiled.
    compile=lambda sources, _: (
        *(*_cc.FLAGS, "-o", PRODUCT),
        *(*sources.paths[1:], sources.entry),
    ),
    runs_product=True,
    run=lambda _sources, _limits: (),
    version_arguments=("--version",),
    version_pattern=r"GNU Fortran \([^)]*\) (\d[\d.]*)",
    example='program hello\n  print "(A)", "Hello, world!"\nend program\n',
    find=find,
    image=ImageNeeds(executable="gfortran", apt=("gfortran",)),
)
