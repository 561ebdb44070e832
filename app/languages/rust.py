"""Rust, from the host's packages."""

from pathlib import Path

from app.domain.language import PRODUCT, ImageNeeds, Language, Toolchain
from app.languages._host import on_host


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find rustc, which takes the other files of a program by their `mod` lines."""
    return on_host(executable, "rustc", "rustc-[0-9]*", remedy="`apt install rustc` brings it")


LANGUAGE = Language(
    id="RUST",
    name="Rust",
    source_name="main.rs",
    editor_mode="rust",
    compile=lambda sources, _: (
        *("--edition=2021", "--crate-name=main", "-Copt-level=2", "-Cstrip=symbols"),
        *("-o", PRODUCT, sources.entry),
    ),
    runs_product=True,
    run=lambda _sources, _limits: (),
    version_arguments=("--version",),
    version_pattern=r"rustc (\S+)",
    example='fn main() {\n    println!("Hello, world!");\n}\n',
    find=find,
    image=ImageNeeds(executable="rustc", apt=("rustc",)),
)
