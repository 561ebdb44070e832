"""PHP, from the host's packages."""

from pathlib import Path

from app.domain.language import ImageNeeds, Language, Toolchain
from app.languages._host import on_host

# Its configuration in /etc is not in a cell. PHP's own limit would end a program by an error of
# PHP's, and errors belong on stderr.
_SETTINGS = ("-d", "memory_limit=-1", "-d", "display_errors=stderr")


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find php."""
    return on_host(executable, "php", "php[0-9]*", remedy="`apt install php-cli` brings it")


LANGUAGE = Language(
    id="PHP",
    name="PHP",
    source_name="main.php",
    editor_mode="php",
    run=lambda sources, _: (
        *_SETTINGS,
        sources.entry,
    ),
    version_arguments=("--version",),
    version_pattern=r"PHP (\d[\d.]*)",
    example='<?php\necho "Hello, world!\\n";\n',
    find=find,
    image=ImageNeeds(executable="php", apt=("php-cli",)),
)
