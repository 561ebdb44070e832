"""Python: the interpreter beneath Greenroom's own environment, without anything installed."""

import json
import subprocess
import sys
from pathlib import Path

from app.domain.language import ImageNeeds, Language, Mount, NotFound, Runtime, Toolchain

_PROBE = """
import json, sys, sysconfig
versioned = f"python{sys.version_info.major}.{sys.version_info.minor}"
print(json.dumps({
    "prefix": sys.base_prefix,
    "executable": sys.base_prefix + "/bin/" + versioned,
    "packages": [
        sysconfig.get_path("purelib", vars={"base": sys.base_prefix}),
        sysconfig.get_path("platlib", vars={"platbase": sys.base_prefix}),
        "/usr/lib/python3/dist-packages",
        "/usr/local/lib/" + versioned + "/dist-packages",
    ],
}))
"""
_PROBE_TIMEOUT = 20  # s; a cold disk needs a few


def find(executable: Path | None) -> Toolchain:
    """Find the base interpreter of this process, or ask the given one where it lives.

    Never the environment's own `python`: its site-packages hold Greenroom and its clients.
    """
    facts = _ask(executable or Path(sys.executable))
    prefix = Path(facts["prefix"])
    # What lies in /usr is in every cell already, but /usr/local is not.
    is_system = prefix == Path("/usr")
    return Toolchain(
        executable=Path(facts["executable"]),
        mounts=() if is_system else (Mount(source=prefix, target=prefix),),
        hidden=tuple(path for path in map(Path, facts["packages"]) if path.is_dir()),
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
)
