"""Python: the interpreter beneath Greenroom's own environment, without anything installed.

Other versions are those that the host has in /usr/bin.
"""

import json
import marshal
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from app.domain.language import (
    Harness,
    Harnessed,
    ImageNeeds,
    Language,
    Mount,
    NotFound,
    Runtime,
    Toolchain,
)
from app.environments import environments_of
from app.languages._host import version_in

_PROBE = """
import json, sys, sysconfig
versioned = f"python{sys.version_info.major}.{sys.version_info.minor}"
print(json.dumps({
    "prefix": sys.base_prefix,
    "executable": sys.base_prefix + "/bin/" + versioned,
    "abi": sysconfig.get_config_var("SOABI") or "",
    "packages": [
        sysconfig.get_path("purelib", vars={"base": sys.base_prefix}),
        sysconfig.get_path("platlib", vars={"platbase": sys.base_prefix}),
        "/usr/lib/python3/dist-packages",
        "/usr/local/lib/" + versioned + "/dist-packages",
    ],
}))
"""
_NAME = re.compile(r"python3\.\d+")  # and not its `-config`
_PROBE_TIMEOUT = 20  # s; a cold disk needs a few


def find(executable: Path | None) -> tuple[Toolchain, ...]:
    """Find the base interpreter of this process, and others; or ask the given one where it lives.

    Never the environment's own `python`: its site-packages hold Greenroom and its clients.
    """
    usual = _toolchain(executable or Path(sys.executable))
    return (usual,) if executable else tuple(dict.fromkeys((usual, *_others())))


def _others() -> Iterator[Toolchain]:
    names = (path for path in Path("/usr/bin").glob("python3.*") if _NAME.fullmatch(path.name))
    for path in sorted(names, key=version_in, reverse=True):
        with suppress(NotFound):
            yield _toolchain(path)


def _toolchain(python: Path) -> Toolchain:
    facts = _ask(python)
    prefix = Path(facts["prefix"])
    # What lies in /usr is in every cell already, but /usr/local is not.
    is_system = prefix == Path("/usr")
    return Toolchain(
        executable=Path(facts["executable"]),
        mounts=() if is_system else (Mount(source=prefix, target=prefix),),
        hidden=tuple(path for path in map(Path, facts["packages"]) if path.is_dir()),
        abi=facts["abi"],
    )


def _ask(executable: Path) -> dict[str, str]:
    try:
        answer = subprocess.run(
            [executable, "-I", "-S", "-c", _PROBE],
            capture_output=True,
            check=True,
            env={},  # the server's own may hold secrets
            timeout=_PROBE_TIMEOUT,
        )
    except (OSError, subprocess.SubprocessError) as error:
        message = f"{executable} does not run as a Python interpreter: {error}"
        raise NotFound(message) from error
    facts: dict[str, str] = json.loads(answer.stdout)
    return facts


def _encode(call: Harnessed) -> bytes:
    """Write what needs no `json` to be read; version 2 is understood by every Python 3."""
    return marshal.dumps((call.entry, call.source, call.name, call.given, call.place), 2)


LANGUAGE = Language(
    id="PYTHON",
    name="Python",
    source_name="main.py",
    editor_mode="python",
    # -s: no user site-packages; they would be the program's own folder.
    run=lambda sources, _: ("-s", sources.entry),
    version_arguments=("--version",),
    version_pattern=r"Python (\S+)",
    example='print("Hello, world!")\n',
    find=find,
    runtime=Runtime.CPYTHON,
    image=ImageNeeds(executable="python3"),
    unbuffered={"PYTHONUNBUFFERED": "1"},
    environments=environments_of("PYTHON"),
    harness=Harness(
        text=Path(__file__).with_name("_calling.py").read_text(),
        encode=_encode,
        is_name=str.isidentifier,
    ),
)
