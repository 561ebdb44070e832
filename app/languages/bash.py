"""Bash, which nearly every Linux has."""

from pathlib import Path

from app.domain.language import ImageNeeds, Language, Toolchain
from app.languages._host import on_host


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find bash."""
    return on_host(executable, "bash", remedy="`apt install bash` brings it")


LANGUAGE = Language(
    id="BASH",
    name="Bash",
    source_name="main.sh",
    editor_mode="shell",
    run=lambda sources, _: (sources.entry,),
    version_arguments=("--version",),
    version_pattern=r"version (\d[\d.]*)",
    example='echo "Hello, world!"\n',
    find=find,
    image=ImageNeeds(executable="bash", apt=("bash",)),
)
