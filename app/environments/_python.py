"""What an environment of Python is: packages from wheels, in a folder on PYTHONPATH."""

import base64
import re
import shlex
from pathlib import Path

from app.domain.environment import Environment, Package, target_of

# A cell has a processor's worth of time: more threads take turns, and each wants its stack.
ONE_THREAD = {"OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
FIGURES = "greenroom_figures.py"
WITHOUT_A_SCREEN = {
    "MPLBACKEND": "module://greenroom_figures",
    "MPLCONFIGDIR": "/tmp/matplotlib",  # noqa: S108 - the cell's own
    # Its own fonts are enough; with a host's, pictures would differ from host to host.
    "MPL_IGNORE_SYSTEM_FONTS": "1",
}
NO_CODE_OF_OTHERS = ("--no-deps", "--only-binary", ":all:")
"""Nothing but what is named, and only wheels: to install one runs nothing of it."""
BYTE_CODE = ("-m", "compileall", "-q", "-j0", "--invalidation-mode=unchecked-hash", "-x", "/tests/")
"""Compiles for a folder that is read-only by then, and tells the interpreter not to look again."""
_HERE = Path(__file__).parent
_PIN = re.compile(r"^([\w.-]+)==(\S+) \\$", re.MULTILINE)


def python_environment(id: str, *, files: tuple[str, ...] = (), **variables: str) -> Environment:
    """Describe an environment whose lock, and whose files of our own, lie beside this module."""
    lock = (_HERE / f"requirements-{id}.txt").read_text()
    packages = tuple(Package(name=name, version=version) for name, version in _PIN.findall(lock))
    texts = {name: (_HERE / name).read_text() for name in files}
    return Environment(
        id=id,
        packages=packages,
        lock=lock,
        files=texts,
        variables={"PYTHONPATH": str(target_of(id)), **variables},
        commands=_commands(target_of(id), packages, texts),
    )


def _commands(
    target: Path, packages: tuple[Package, ...], files: dict[str, str]
) -> tuple[str, ...]:
    pins = [f"{each.name}=={each.version}" for each in packages]
    options = ("--no-cache-dir", "--no-compile", *NO_CODE_OF_OTHERS, "--target", str(target))
    return (
        shlex.join(("python3", "-m", "pip", "install", *options, *pins)),
        *(_writing(target / name, text) for name, text in files.items()),
        shlex.join(("python3", *BYTE_CODE, str(target))),
    )


def _writing(path: Path, text: str) -> str:
    # Images are built without local files: so the text travels within the command.
    encoded = base64.b64encode(text.encode()).decode()
    return f"echo {encoded} | base64 -d > {shlex.quote(str(path))}"
