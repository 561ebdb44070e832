"""Go, from the host's packages."""

from collections.abc import Mapping
from pathlib import Path

from app.domain.language import PRODUCT, ImageNeeds, Language, Sources, Toolchain
from app.domain.limits import Limits
from app.languages._host import on_host

_HEAP = 0.9  # of the memory limit; the rest is for stacks, code and the run-time itself
_THREADS = 4  # whatever the machine has: each weighs on the limit of processes


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find go; its tools lie around the real one, not around the link in /usr/bin."""
    remedy = "`apt install golang-go` brings it"
    return on_host(executable, "go", "../lib/go-[0-9]*/bin/go", remedy=remedy)


def environment(limits: Limits) -> Mapping[str, str]:
    """Let it collect garbage before the limit, and find all it needs without a network."""
    return {
        "GOMEMLIMIT": str(round(limits.memory * _HEAP)),
        "GOMAXPROCS": str(_THREADS),
        "GOCACHE": "/tmp/.go",  # noqa: S108 - the cell's own
        "GOPROXY": "off",
        "GOTOOLCHAIN": "local",
        "GO111MODULE": "off",
    }


def _package(sources: Sources) -> tuple[str, ...]:
    """Return the files of one package: the folder of the file that is started."""
    folder = Path(sources.entry).parent
    return tuple(
        path
        for path in sources.paths
        if Path(path).parent == folder and not path.endswith("_test.go")
    )


LANGUAGE = Language(
    id="GO",
    name="Go",
    source_name="main.go",
    editor_mode="go",
    compile=lambda sources, _: ("build", "-o", PRODUCT, *_package(sources)),
    runs_product=True,
    run=lambda _sources, _limits: (),
    version_arguments=("version",),
    version_pattern=r"go version go(\S+)",
    example='package main\n\nimport "fmt"\n\nfunc main() {\n\tfmt.Println("Hello, world!")\n}\n',
    find=find,
    environment=environment,
    image=ImageNeeds(executable="go", apt=("golang-go",)),
)
