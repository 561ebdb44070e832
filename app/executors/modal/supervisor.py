"""The supervisor of a box: it waits for one job, runs it as another user, and reports frames.

It is sent into the box as text and runs there alone (`python3 -c`), as the box's root, so it
imports the standard library only and nothing of Greenroom. `frames.py` is the other end.

    stdin    one line of JSON (the job), then the bytes that it announces: files and input
    stdout   frames: a kind (one byte), a length (four bytes, big-endian), that many bytes
             R ready · S started · O stdout · E stderr · X ended (JSON) · F failed (JSON)

The program gets pipes of its own and another uid, and the supervisor is not dumpable: the program
can neither signal it nor open its descriptors, so it can neither read nor forge a frame. It is
killed by its uid, all its processes in one call, as often as it takes until none is left.
"""

import ctypes
import json
import os
import resource
import select
import signal
import struct
import sys
import time
from typing import Any

UID = 1000
HOST_NAME = b"greenroom"
TICK = 0.01  # s between two looks at the program's processes
CHUNK = 64 * 1024
MOST_PENDING = 256 * 1024  # bytes of frames; beyond it the program has to wait for its reader
DRAIN = 0.5  # s after the end for what is left in the pipes
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 4, 38, 36
MS_NOSUID, MS_NODEV, MS_BIND = 2, 4, 4096
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

libc = ctypes.CDLL(None, use_errno=True)


class Reader:
    """Reads the job from standard input."""

    def __init__(self) -> None:
        self.rest = b""

    def line(self) -> bytes:
        while b"\n" not in self.rest:
            self.more()
        line, self.rest = self.rest.split(b"\n", 1)
        return line

    def exactly(self, size: int) -> bytes:
        while len(self.rest) < size:
            self.more()
        data, self.rest = self.rest[:size], self.rest[size:]
        return data

    def more(self) -> None:
        data = os.read(0, 1 << 20)
        if not data:
            sys.exit(0)  # the server is done with this box before it had a job
        self.rest += data


class Frames:
    """What is on its way to the server; never blocks."""

    def __init__(self) -> None:
        self.pending = bytearray()
        os.set_blocking(1, False)

    def add(self, kind: bytes, data: bytes = b"") -> None:
        self.pending += struct.pack(">cI", kind, len(data)) + data

    def write(self) -> None:
        try:
            del self.pending[: os.write(1, memoryview(self.pending)[:CHUNK].tobytes())]
        except BlockingIOError:
            pass

    def flush(self, until: float) -> None:
        while self.pending and time.monotonic() < until:
            select.select([], [1], [], 0.1)
            self.write()


class Census:
    """The program's processes, by their uid: nobody else in the box has it."""

    def __init__(self) -> None:
        self.peak = self.resident = 0
        self.cpu = 0.0

    def look(self) -> int:
        """Sum up memory and CPU time; the ended ones count once they were waited for."""
        memory, ticks = 0, 0
        for pid in processes():
            try:
                with open(f"/proc/{pid}/stat") as file:
                    fields = file.read().rpartition(")")[2].split()
            except OSError:
                continue
            ticks += sum(map(int, fields[11:15]))
            memory += int(fields[21]) * PAGE
        waited = resource.getrusage(resource.RUSAGE_CHILDREN)
        self.resident = memory
        self.cpu = max(self.cpu, ticks / TICKS + waited.ru_utime + waited.ru_stime)
        self.peak = max(self.peak, memory)
        return memory

    def exact_memory(self) -> int:
        """Sum up again without counting twice what forks share; dear, so only at the limit."""
        shares = [own_memory(pid) for pid in processes()]
        if any(share is None for share in shares):
            return self.resident
        return sum(share or 0 for share in shares)


def own_memory(pid: int) -> "int | None":
    """Read a process's share of memory, in which what it shares with others counts in part."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as file:
            for line in file:
                if line.startswith("Pss:"):
                    return int(line.split()[1]) * 1024
    except OSError:
        return None
    return None


def processes() -> "list[int]":
    """List the pids of the program's uid."""
    found = []
    for name in os.listdir("/proc"):
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == UID:
                found.append(int(name))
        except OSError:
            continue
    return found


def kill_all() -> None:
    """Kill every process of the program's uid at one stroke: a fork bomb cannot outrun that."""
    if os.getuid() != 0:
        for pid in descendants(os.getpid()):
            os.kill(pid, signal.SIGKILL)
        return
    child = os.fork()
    if child == 0:
        try:
            os.setuid(UID)
            os.kill(-1, signal.SIGKILL)
        except OSError:
            pass
        os._exit(0)


def descendants(root: int) -> "set[int]":
    """List what came from `root`, where there is no uid to know it by."""
    parents = {}
    for name in os.listdir("/proc"):
        try:
            with open(f"/proc/{name}/stat") as file:
                parents[int(name)] = int(file.read().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def make_scratch(disk: int, inodes: int) -> None:
    """Give the program bounded room in memory, where this box allows us to mount."""
    base = b"/mnt"
    options = f"size={disk},nr_inodes={inodes},mode=0755".encode()
    is_bounded = libc.mount(b"scratch", base, b"tmpfs", MS_NOSUID | MS_NODEV, options) == 0
    for name, mode in (("box", 0o755), ("tmp", 0o1777)):
        os.makedirs(f"/{name}", exist_ok=True)
        if is_bounded:
            os.mkdir(f"/mnt/{name}")
            libc.mount(f"/mnt/{name}".encode(), f"/{name}".encode(), None, MS_BIND, None)
        os.chmod(f"/{name}", mode)
    own("/box")


def own(path: str) -> None:
    """Give a path to the program, where there is another uid to give it to."""
    if os.getuid() == 0:
        os.chown(path, UID, UID)


def write_files(reader: Reader, files: "list[dict[str, Any]]") -> None:
    """Write the program's files; no program runs yet, so no link can lead elsewhere."""
    for file in files:
        path = os.path.join("/box", file["path"])
        with open(path, "wb") as target:
            target.write(reader.exactly(file["size"]))
        own(path)


def become_program(job: "dict[str, Any]", stdio: "list[int]", failed: int) -> None:
    """Turn the forked child into the program; returns only by raising."""
    os.setsid()
    for target, descriptor in enumerate(stdio):
        os.dup2(descriptor, target, inheritable=True)
    os.closerange(3, failed)
    os.closerange(failed + 1, 1 << 16)
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD):
        signal.signal(number, signal.SIG_DFL)
    os.umask(0o022)
    os.chdir("/box")
    for name, value in job["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    if os.getuid() == 0:
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.execvpe(job["argv"][0], job["argv"], job["environment"])


def start(job: "dict[str, Any]") -> "tuple[int, list[int]]":
    """Fork the program; return its pid and our ends of its pipes."""
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
    if os.getuid() == 0:
        for descriptor in theirs:
            os.fchown(descriptor, UID, UID)  # it may open them again by name: /dev/stdin
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become_program(job, theirs, writer)
        except OSError as error:
            os.write(writer, f"start {job['argv'][0]}: {error.strerror}".encode())
        os._exit(127)
    for descriptor in (*theirs, writer):
        os.close(descriptor)
    failure = os.read(reader, 500)
    os.close(reader)
    if failure:
        raise RuntimeError(failure.decode())
    for descriptor in ours:
        os.set_blocking(descriptor, False)
    return child, ours


class Run:
    """The program from its start to its end."""

    def __init__(self, job: "dict[str, Any]", stdin: bytes, frames: Frames) -> None:
        self.job, self.frames = job, frames
        self.stdin = memoryview(stdin)
        self.census = Census()
        self.reason: str | None = None
        self.status: int | None = None
        self.child, (stdin_end, out, err) = start(job)
        self.input: int | None = stdin_end
        self.began = time.monotonic()
        self.ended = self.began
        self.outputs = {out: b"O", err: b"E"}
        self.left = {b"O": job["output"], b"E": job["output"]}
        self.truncated: list[str] = []

    def kill(self, reason: str) -> None:
        """Write the reason down, then kill; the first reason stands."""
        self.reason = self.reason or reason
        kill_all()

    def look(self) -> None:
        """Enforce what is measured."""
        memory = self.census.look()
        if not self.is_running():
            return
        if memory > self.job["memory"] and self.census.exact_memory() > self.job["memory"]:
            self.kill("MEMORY")
        elif self.census.cpu >= self.job["cpu_time"]:
            self.kill("CPU_TIME")
        elif time.monotonic() - self.began >= self.job["wall_time"]:
            self.kill("WALL_TIME")

    def pump(self) -> None:
        """Move what can be moved, for one tick at the most."""
        room = len(self.frames.pending) < MOST_PENDING
        readers = list(self.outputs) if room else []
        writers = [1] if self.frames.pending else []
        if self.input is not None:
            writers.append(self.input)
        ready_in, ready_out, _ = select.select(readers, writers, [], TICK)
        if 1 in ready_out:
            self.frames.write()
        if self.input in ready_out:
            self.feed()
        for descriptor in ready_in:
            self.take(descriptor)

    def feed(self) -> None:
        """Give the program what its input takes."""
        assert self.input is not None
        try:
            self.stdin = self.stdin[os.write(self.input, self.stdin[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self.stdin = memoryview(b"")  # the program does not want it
        if not self.stdin:
            os.close(self.input)
            self.input = None

    def take(self, descriptor: int) -> None:
        kind = self.outputs[descriptor]
        try:
            data = os.read(descriptor, CHUNK)
        except BlockingIOError:
            return
        kept = data[: self.left[kind]]
        self.left[kind] -= len(data)
        if self.left[kind] < 0:
            # Kill before anything else: a flood must not fill our memory.
            self.truncated.append(kind.decode())
            self.kill("OUTPUT")
        if kept:
            self.frames.add(kind, kept)
        if not data or self.left[kind] < 0:
            os.close(descriptor)
            del self.outputs[descriptor]

    def reap(self) -> None:
        """Wait for whatever has ended: orphans come to us."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.child:
                self.status, self.ended = status, time.monotonic()

    def is_running(self) -> bool:
        return self.status is None

    def go(self) -> None:
        """Run until the program has ended and no process of it is left."""
        looked = 0.0
        while self.is_running():
            self.pump()
            self.reap()
            if time.monotonic() - looked >= TICK:
                looked = time.monotonic()
                self.look()
        self.census.look()
        until = time.monotonic() + DRAIN
        while processes_left() and time.monotonic() < until:
            kill_all()
            self.reap()
            time.sleep(0.001)
        while self.outputs and time.monotonic() < until:
            self.pump()

    def report(self) -> "dict[str, Any]":
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "status": self.status,
            "kill_reason": self.reason,
            "truncated": self.truncated,
            "wall_time": self.ended - self.began,
            "cpu_time": max(self.census.cpu, used.ru_utime + used.ru_stime),
            "peak_memory": max(self.census.peak, used.ru_maxrss * 1024),
        }


def processes_left() -> bool:
    """Whether something of the program is there, be it only to be waited for."""
    return bool(processes() if os.getuid() == 0 else descendants(os.getpid()))


def main() -> None:
    libc.prctl(PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
    libc.sethostname(HOST_NAME, len(HOST_NAME))  # where the box allows it
    frames = Frames()
    frames.add(b"R")
    frames.flush(time.monotonic() + 60)
    reader = Reader()
    try:
        job = json.loads(reader.line())
        make_scratch(job["disk"], job["inodes"])
        write_files(reader, job["files"])
        run = Run(job, reader.exactly(job["stdin"]), frames)
        frames.add(b"S")
        run.go()
        frames.add(b"X", json.dumps(run.report()).encode())
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        frames.add(b"F", json.dumps({"message": str(error)}).encode())
    frames.flush(time.monotonic() + 60)


if __name__ == "__main__":
    main()
