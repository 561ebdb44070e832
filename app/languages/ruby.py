"""Ruby, from the host's packages."""

from pathlib import Path

from app.domain.language import ImageNeeds, Language, Toolchain
from app.languages._host import on_host


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find ruby."""
    return on_host(executable, "ruby", "ruby[0-9]*", remedy="`apt install ruby` brings it")


LANGUAGE = Language(
    id="RUBY",
    name="Ruby",
    source_name="main.rb",
    editor_mode="ruby",
    run=lambda sources, _: (sources.entry,),
    version_arguments=("--version",),
    version_pattern=r"ruby (\d[\d.]*)",
    example='puts "Hello, world!"\n',
    find=find,
    image=ImageNeeds(executable="ruby", apt=("ruby",)),
)
