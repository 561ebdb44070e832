"""C and C++: the host's own GCC, or else Zig's Clang from the PyPI package `ziglang`.

Zig compiles what it links with, libc++ among it, when it is first asked; that takes a minute of a
processor. So it is done once, by `python -m app.languages._cc` when Greenroom is installed, and a
cell copies the index of what has been made and links to the rest.
"""

import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path

from app.domain.language import Mount, NotFound, Toolchain
from app.languages._host import chosen, on_host

FLAGS = ("-O2", "-g0")
VERSION = r"(gcc|g\+\+|clang)\S*(?: version| \([^)]*\)) (\d[\d.]*)"
_ZIG = Path("/opt/zig")
_READY = _ZIG / "cache"
_SHELL = Path("/bin/sh")
# The cache is read-only for a cell, and Zig writes to its index and beside what it finds.
_WITH_CACHE = f"""
export ZIG_GLOBAL_CACHE_DIR=/tmp/.zig ZIG_LOCAL_CACHE_DIR=/tmp/.zig
mkdir -p /tmp/.zig/o && cp -R {_READY}/h /tmp/.zig/ && ln -s {_READY}/o/* /tmp/.zig/o/
exec {_ZIG}/zig "$@"
"""
_HELLO = {
    "cc": '#include <stdio.h>\nint main(void) { puts(""); }\n',
    "c++": "#include <iostream>\nint main() { std::cout << std::endl; }\n",
}
_SUFFIX = {"cc": "c", "c++": "cpp"}


def find(executable: Path | None, *, gnu: str, zig: str) -> Toolchain:
    """Find GCC on the host, or else Zig.

    Args:
        executable: what the operator has named.
        gnu: what GCC's compiler for the language is called.
        zig: what Zig calls its own.
    """
    if executable is not None:
        return chosen(executable)
    try:
        return on_host(None, gnu, f"{gnu}-[0-9]*", remedy="")
    except NotFound:
        return bundled(zig)


def bundled(command: str) -> Toolchain:
    """Find Zig in our own environment, with its cache."""
    package = find_spec("ziglang")
    if package is None or package.origin is None:
        message = f"there is no compiler; `apt install {_DEBIAN[command]}` or `pip install ziglang`"
        raise NotFound(message)
    if not (_cache() / "ready").exists():
        message = "Zig's libraries are not compiled yet; `make install` does that"
        raise NotFound(message)
    return Toolchain(
        executable=_SHELL,
        arguments=("-c", _WITH_CACHE, "zig", command, "-target", _target()),
        mounts=(
            Mount(source=Path(package.origin).parent, target=_ZIG),
            Mount(source=_cache(), target=_READY),
        ),
    )


def prepare() -> None:
    """Let Zig compile its libraries, unless they are there or the host has a compiler."""
    package = find_spec("ziglang")
    if (_cache() / "ready").exists() or package is None or package.origin is None:
        return
    environment = os.environ | {
        "ZIG_GLOBAL_CACHE_DIR": str(_cache()),
        "ZIG_LOCAL_CACHE_DIR": str(_cache()),
    }
    zig = Path(package.origin).with_name("zig")
    with tempfile.TemporaryDirectory() as folder:
        for command, text in _HELLO.items():
            source = Path(folder, f"main.{_SUFFIX[command]}")
            source.write_text(text)
            options = ("-target", _target(), *FLAGS, "-o", f"{folder}/main")
            subprocess.run([zig, command, *options, source], env=environment, check=True)
    (_cache() / "ready").touch()


_DEBIAN = {"cc": "gcc libc6-dev", "c++": "g++"}


def _cache() -> Path:
    return Path(sys.prefix, "share", "greenroom", f"zig-{version('ziglang')}-{_target()}")


def _target() -> str:
    """Return what Zig compiles for: the oldest glibc that anybody has, or else no libc at all."""
    libc = "gnu.2.28" if platform.libc_ver()[0] == "glibc" else "musl"
    return f"{platform.machine()}-linux-{libc}"


if __name__ == "__main__":
    prepare()
