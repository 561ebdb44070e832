"""Install Greenroom into `.venv`: what it needs from the locks, itself, and GraphiQL.

Runs on any Python from 3.11 with nothing but the standard library. What is up to date is left
alone, so a second call costs a tenth of a second.

    python3 scripts/install.py run           what `make run` needs
    python3 scripts/install.py dev           and what the tests and checks need
    python3 scripts/install.py run --again   and GraphiQL, though it could not be built before

Annotations are quoted: an older Python must come as far as being told that it is too old.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
VENV = ROOT / ".venv"
BIN = VENV / "bin"
PAGE_SOURCE = ROOT / "web" / "graphiql"
PAGE = ROOT / "app" / "api" / "graphiql"
LOCKS = {"run": "requirements.txt", "dev": "requirements-dev.txt"}
OLDEST_PYTHON = (3, 11)
CLANG_LOCK = "requirements-clang.txt"
# What GCC needs to compile C and C++; without the headers it compiles nothing.
GCC = ("/usr/bin/gcc", "/usr/bin/g++", "/usr/include/stdio.h")
NOT_SOURCE = {"node_modules", "dist"}

_NO_PIP = "`apt install python3-venv`, or set PYTHON to another one: `make run PYTHON=python3.12`"
_NO_REGISTRY = "check the network, or point PIP_INDEX_URL at a registry that can be reached"
_NO_NPM = "check the network, or point npm_config_registry at a registry that can be reached"
_NO_TRUST = (
    "the registry's certificate is not trusted here: if your network reads along, add its "
    "authority to the system's, and name the file in PIP_CERT"
)
_FORGED = "the registry gave another file than the lock names: do not use it"

# By what a tool or the system says, in small letters; the first that is found counts.
REMEDIES = {
    "no space left on device": "the disk is full: free some space and try again",
    "read-only file system": "nothing can be written here: use a folder on another file system",
    "permission denied": "this user may not write here: check who owns this folder and `.venv`",
    "no module named venv": f"this Python has no venv module: {_NO_PIP}",
    "no module named ensurepip": f"this Python cannot make environments: {_NO_PIP}",
    "do not match the hashes": _FORGED,
    "npm error code eintegrity": _FORGED,
    "certificate verify failed": _NO_TRUST,
    "certificate in certificate chain": _NO_TRUST,
    "unable to get local issuer certificate": _NO_TRUST,
    "could not find a version": f"the registry is out of reach or lacks a package: {_NO_REGISTRY}",
    "max retries exceeded": f"the package registry is out of reach: {_NO_REGISTRY}",
    "read timed out": f"the package registry is too slow: {_NO_REGISTRY}",
    "npm error 404": f"the npm registry is incomplete: {_NO_NPM}",
    "failed, reason:": f"the npm registry is out of reach: {_NO_NPM}",
}
RETRY = "`make install` tries again"


class InstallError(Exception):
    """A step failed; the message says what to do."""


def main(kind: str, *, again: bool) -> None:
    """Bring everything up to date; `again` also what failed the last time and can be lived without.

    Raises:
        InstallError: it could not be done.
    """
    if sys.version_info < OLDEST_PYTHON:
        message = f"Greenroom needs Python 3.11 or newer; {sys.executable} is older."
        raise InstallError(message)
    make_environment()
    install_packages(kind)
    build_page(again=again)
    if not all(map(os.path.isfile, GCC)):
        install_clang(again=again)
    write_env()


def make_environment() -> None:
    """Make `.venv`, or make it anew when its Python is gone."""
    if (BIN / "python").exists() and (BIN / "pip").exists():
        return
    say("making .venv ...")
    shutil.rmtree(VENV, ignore_errors=True)
    # In two steps: in one, venv keeps to itself why the second failed.
    run([sys.executable, "-m", "venv", "--without-pip", str(VENV)])
    run([str(BIN / "python"), "-Im", "ensurepip", "--upgrade", "--default-pip"])


def install_packages(kind: str) -> None:
    """Install from the lock with its hashes; ourselves in a second step, which has none."""
    lock = ROOT / LOCKS[kind]
    wanted = digest([lock, ROOT / "pyproject.toml"])
    # What the tests need contains what a server needs.
    stamps = [VENV / f".installed-{each}" for each in ("dev", kind)]
    if any(is_stamped(stamp, wanted_for(stamp)) for stamp in stamps):
        return
    say(f"installing packages from {lock.name}; the first time takes a minute ...")
    pip("--require-hashes", "--prefer-binary", "--requirement", str(lock))
    pip("--no-build-isolation", "--editable", str(ROOT))
    (VENV / f".installed-{kind}").write_text(wanted)


def wanted_for(stamp: Path) -> str:
    """Return what a stamp must say to be up to date."""
    kind = stamp.name.rpartition("-")[2]
    return digest([ROOT / LOCKS[kind], ROOT / "pyproject.toml"])


def build_page(*, again: bool) -> None:
    """Build GraphiQL with the npm that came with the packages; the server runs without it too.

    What failed is not tried again with every start: behind some walls it takes minutes.
    """
    sources = [
        path
        for path in sorted(PAGE_SOURCE.rglob("*"))
        if path.is_file() and NOT_SOURCE.isdisjoint(path.relative_to(PAGE_SOURCE).parts)
    ]
    wanted, stamp, failed = digest(sources), PAGE / ".built", VENV / ".page-failed"
    if is_stamped(stamp, wanted):
        return
    if is_stamped(failed, wanted) and not again:
        say(f"GraphiQL is not built; {RETRY}")
        return
    say("building GraphiQL ...")
    try:
        npm("ci", "--no-progress")
        npm("run", "build")
    except InstallError as error:
        say(f"GraphiQL was not built, and browsers get a page that says so: {error}. {RETRY}")
        failed.write_text(wanted)
        return
    stamp.write_text(wanted)


def install_clang(*, again: bool) -> None:
    """Install a compiler for C and C++, which compiles its libraries once; not vital either."""
    wanted = digest([ROOT / CLANG_LOCK])
    stamp, failed = VENV / ".clang-installed", VENV / ".clang-failed"
    if is_stamped(stamp, wanted) or (is_stamped(failed, wanted) and not again):
        return
    say("there is no GCC for C and C++: installing Clang (100 MB), which takes some minutes ...")
    try:
        pip("--require-hashes", "--prefer-binary", "--requirement", str(ROOT / CLANG_LOCK))
        prepare = "from app.languages import _zig; _zig.prepare()"
        run([str(BIN / "python"), "-c", prepare])
    except InstallError as error:
        say(f"C and C++ are not there: {error}. {RETRY}")
        failed.write_text(wanted)
        return
    stamp.write_text(wanted)


def pip(*arguments: str) -> None:
    """Install exactly what is named.

    The locks are whole, so nothing is to be resolved; pip's resolver also trips over a dependency
    with an extra (`coverage[toml]`) once a newer release than the locked one is out.
    """
    quietly = ("--quiet", "--disable-pip-version-check", "--no-deps")
    run([str(BIN / "python"), "-m", "pip", "install", *quietly, *arguments])


def npm(*arguments: str) -> None:
    """Run npm where the page is made."""
    run([str(BIN / "npm"), *arguments], PAGE_SOURCE, npm_environment())


def npm_environment() -> "dict[str, str]":
    """Return an environment in which npm finds its Node, and trusts whom the system trusts.

    By itself, Node trusts its own list alone, and not the proxy of a network that reads along.
    """
    own_path = f"{BIN}:{os.environ.get('PATH', '')}"
    return {"NODE_USE_SYSTEM_CA": "1"} | os.environ | {"PATH": own_path}


def write_env() -> None:
    """Copy `.env.example`, for this user alone: it is where secrets go."""
    target = ROOT / ".env"
    if target.exists():
        return
    # Under another name until it is whole.
    part = ROOT / ".env.part"
    part.unlink(missing_ok=True)
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write((ROOT / ".env.example").read_text())
    part.rename(target)


def run(
    command: "list[str]", folder: Path = ROOT, environment: "dict[str, str] | None" = None
) -> None:
    """Run a step; its output is shown only when it fails.

    Raises:
        InstallError: it failed.
    """
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, check=False
        )
    except OSError as error:
        raise InstallError(f"{command[0]} does not run: {error.strerror}") from error
    if done.returncode != 0:
        said = f"{done.stdout}\n{done.stderr}".strip()
        print(said, file=sys.stderr)
        unknown = f"`{' '.join(command)}` failed; its output is above"
        raise InstallError(remedy_for(said) or unknown)


def remedy_for(said: str) -> "str | None":
    """Find what to do about what a tool said."""
    return next((text for sign, text in REMEDIES.items() if sign in said.lower()), None)


def digest(paths: "Iterable[Path]") -> str:
    """Return a hash of the contents of files, and of the Python that uses them."""
    total = hashlib.sha256(f"{sys.version_info[:2]}{ROOT}".encode())
    for path in paths:
        total.update(f"{path.relative_to(ROOT)}\0".encode() + path.read_bytes())
    return total.hexdigest()


def is_stamped(stamp: Path, wanted: str) -> bool:
    """Whether a step has been done for these very files."""
    return stamp.is_file() and stamp.read_text() == wanted


def say(text: str) -> None:
    """Tell what takes long."""
    print(f"greenroom: {text}", flush=True)


if __name__ == "__main__":
    try:
        main(sys.argv[1], again="--again" in sys.argv)
    except InstallError as failure:
        sys.exit(f"greenroom: {failure}")
    except OSError as failure:
        remedy = remedy_for(str(failure))
        sys.exit(f"greenroom: {failure}{f': {remedy}' if remedy else ''}")
