"""Perl, from the host's packages."""

from pathlib import Path

from app.domain.language import ImageNeeds, Language, Toolchain
from app.languages._host import on_host


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find perl."""
    return on_host(executable, "perl", remedy="`apt install perl` brings it")


LANGUAGE = Language(
    id="PERL",
    name="Perl",
    source_name="main.pl",
    editor_mode="perl",
    run=lambda sources, _: (sources.entry,),
    version_arguments=("-v",),
    version_pattern=r"\(v(\d[\d.]*)\)",
    example='print "Hello, world!\\n";\n',
    find=find,
    image=ImageNeeds(executable="perl", apt=("perl",)),
)
