"""Clang for hosts that have no GCC, from the PyPI package `ziglang`.

Zig compiles what it links with, libc++ among it, when it is first asked; that takes a minute of a
processor. So it is done once, by `python -m app.languages._zig` when Greenroom is installed, and a
cell copies the index of what has been made and links to the rest.
"""

import os
import platform
import subprocess
import sys
import tempfile
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from app.domain.language import Mount, NotFound, Toolchain

_ZIG = Path("/opt/zig")
_READY = Path("/opt/zig-cache")
_SHELL = Path("/bin/sh")
# The cache is read-only for a cell, and Zig writes to its index and beside what it finds.
_WITH_CACHE = f"""
export ZIG_GLOBAL_CACHE_DIR=/tmp/.zig ZIG_LOCAL_CACHE_DIR=/tmp/.zig
mkdir /tmp/.zig && cp -Rs {_READY}/b {_READY}/o /tmp/.zig/ && cp -R {_READY}/h /tmp/.zig/
exec {_ZIG}/zig "$@"
"""
_HELLO = {
    "cc": ("main.c", '#include <stdio.h>\nint main(void) { puts(""); }\n'),
    "c++": ("main.cpp", "#include <iostream>\nint main() { std::cout << std::endl; }\n"),
}


def clang(command: str) -> Toolchain:
    """Return Zig's `cc` or `c++`.

    Raises:
        NotFound: it is not in our own environment, or not made ready.
    """
    zig = _bundled()
    if zig is None or not _is_ready():
        message = "there is no compiler; `make install` brings one"
        raise NotFound(message)
    return Toolchain(
        executable=_SHELL,
        arguments=("-c", _WITH_CACHE, "zig", command, "-target", _target()),
        mounts=(
            Mount(source=zig.parent, target=_ZIG),
            Mount(source=_cache(), target=_READY),
        ),
    )


def prepare() -> None:
    """Let Zig compile its libraries, unless they are there."""
    zig = _bundled()
    if zig is None or _is_ready():
        return
    cache = str(_cache())
    environment = os.environ | {"ZIG_GLOBAL_CACHE_DIR": cache, "ZIG_LOCAL_CACHE_DIR": cache}
    for command, (name, text) in _HELLO.items():
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, name).write_text(text)
            options = ("-target", _target(), "-O2", "-g0", "-o", "main")
            subprocess.run([zig, command, *options, name], cwd=folder, env=environment, check=True)
    (_cache() / "ready").touch()


def _is_ready() -> bool:
    try:
        return (_cache() / "ready").exists()
    except PackageNotFoundError:  # it is just being installed
        return False


def _bundled() -> Path | None:
    package = find_spec("ziglang")
    return Path(package.origin).with_name("zig") if package and package.origin else None


def _cache() -> Path:
    return Path(sys.prefix, "share", "greenroom", f"zig-{version('ziglang')}-{_target()}")


def _target() -> str:
    """Return what Zig compiles for: the oldest glibc that anybody has, or else no libc at all."""
    libc = "gnu.2.28" if platform.libc_ver()[0] == "glibc" else "musl"
    return f"{platform.machine()}-linux-{libc}"


if __name__ == "__main__":
    prepare()
