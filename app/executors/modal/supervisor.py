"""The supervisor of a box: it waits for one job, runs it as another user, and reports frames.

It is sent into the box as text and runs there alone (`python3 -c`), as the box's root, so it
imports the standard library only and nothing of Greenroom. `frames.py` is the other end.

    stdin    one line of JSON (the job), then the bytes that it announces: files and input; for
             a program that is typed to, pieces of input follow: a length (four bytes,
             big-endian) and that many bytes, where a length of 0 closes the program's input
    stdout   frames: a kind (one byte), a length (four bytes, big-endian), that many bytes
             R ready · S started · O stdout · E stderr · I typed input taken (four bytes: how much)
             P one file of the product (JSON) · D a piece of what is in it
             X ended (JSON) · F failed (JSON)

The program gets pipes of its own and another uid, and the supervisor is not dumpable: the program
can neither signal it nor open its descriptors, so it can neither read nor forge a frame. It is
killed by its uid, all its processes in one call, as often as it takes until none is left. (A box
of an ordinary user on a developer's machine has one uid only: there it is known by its descent.)
"""

import ctypes
import errno
import fcntl
import json
import os
import resource
import select
import signal
import stat
import struct
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

UID = 1000
HOST_NAME = b"greenroom"
TICK = 0.01  # s between two looks at the program's processes
CHUNK = 64 * 1024
PIPE = 1024 * 1024  # bytes; a program that writes without ever waiting is soon stuck in less
MOST_PENDING = 256 * 1024  # bytes of frames; beyond it the program has to wait for its reader
PATIENCE = 1.0  # s for a child of ours among many programs that want the processor
DRAIN = 0.5  # s after the end for what is left in the pipes
SCRATCH = {"box": 0o755, "tmp": 0o1777, "var/tmp": 0o1777, "dev/shm": 0o1777}
WALK = 0.1  # s between two looks at the files; a thousand of them cost a millisecond
PR_SET_DUMPABLE, PR_SET_NO_NEW_PRIVS, PR_SET_CHILD_SUBREAPER = 4, 38, 36
PR_CAPBSET_DROP, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 24, 47, 4
CAPABILITY_VERSION_3 = 0x20080522
MS_NOSUID, MS_NODEV, MS_BIND, MNT_DETACH = 2, 4, 4096, 2
SIZE = struct.Struct(">I")
BUILD = ".build/"
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
LONGEST_PATH, DEEPEST = 200, 16
TICKS = os.sysconf("SC_CLK_TCK")
PAGE = os.sysconf("SC_PAGE_SIZE")

libc = ctypes.CDLL(None, use_errno=True)


HAS_UID = os.getuid() == 0  # whether the program can be another user than we are


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
        if not self.read():
            sys.exit(0)  # the server is done with this box before it had a job

    def read(self) -> bytes:
        data = os.read(0, 1 << 20)
        self.rest += data
        return data

    def piece(self) -> "bytes | None":
        """Take a piece of typed input, if a whole one is there."""
        if len(self.rest) < SIZE.size:
            return None
        end = SIZE.size + int(SIZE.unpack_from(self.rest)[0])
        if len(self.rest) < end:
            return None
        data, self.rest = self.rest[SIZE.size : end], self.rest[end:]
        return data


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
                with open(f"/proc/{pid}/stat", "rb") as file:
                    fields = file.read().rpartition(b")")[2].split()
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
        exact = asked_as_program(shared_memory)
        return self.resident if exact is None else exact


def shared_memory() -> "int | None":
    """Sum up each process's share of memory, in which what several have counts in part."""
    total = 0
    for pid in processes():
        try:
            with open(f"/proc/{pid}/smaps_rollup") as file:
                shares = [int(line.split()[1]) for line in file if line.startswith("Pss:")]
        except ProcessLookupError:
            continue
        except OSError:
            return None
        total += sum(shares) * 1024
    return total


def asked_as_program(ask: "Callable[[], int | None]") -> "int | None":
    """Ask in a child that has the program's uid: root of a box may not look at others' memory.

    The program may kill or stop that child, or keep it for ever; then there is no answer.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            become_user()
            answer = ask()
            os.write(writer, b"" if answer is None else SIZE.pack(min(answer, 0xFFFFFFFF)))
        except OSError:
            pass
        os._exit(0)
    os.close(writer)
    until = time.monotonic() + PATIENCE
    while not (is_there := bool(select.select([reader], [], [], TICK)[0])):
        if is_stopped(child) or time.monotonic() > until:
            break
    said = os.read(reader, SIZE.size) if is_there else b""
    os.close(reader)
    return int(SIZE.unpack(said)[0]) if len(said) == SIZE.size else None


def is_stopped(pid: int) -> bool:
    with open(f"/proc/{pid}/stat", "rb") as file:
        state = file.read().rpartition(b")")[2].split()[0]
    return state in (b"T", b"t")  # by a signal, or by a tracer


def names_in_proc() -> "list[str]":
    """Read /proc; at the limit of the box's memory the kernel has none for that, for a moment."""
    for _ in range(100):
        try:
            return os.listdir("/proc")
        except MemoryError:
            pass
        except OSError as error:
            if error.errno != errno.ENOMEM:
                raise
        time.sleep(0.01)
    return os.listdir("/proc")


def processes() -> "list[int]":
    """List the pids of the program's uid."""
    if not HAS_UID:
        return sorted(descendants(os.getpid()))
    found = []
    for name in names_in_proc():
        try:
            if name.isdigit() and os.stat(f"/proc/{name}").st_uid == UID:
                found.append(int(name))
        except OSError:
            continue
    return found


def kill_all() -> None:
    """Kill every process of the program's uid at one stroke: a fork bomb cannot outrun that."""
    if not HAS_UID:
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
    for name in names_in_proc():
        try:
            with open(f"/proc/{name}/stat", "rb") as file:
                parents[int(name)] = int(file.read().rpartition(b")")[2].split()[1])
        except (OSError, ValueError):
            continue
    found: set[int] = set()
    new = {root}
    while new:
        new = {pid for pid, parent in parents.items() if parent in new} - found
        found |= new
    return found


def make_scratch(disk: int, inodes: int) -> bool:
    """Give the program bounded room in memory; False where this box does not let us mount."""
    base = b"/mnt"
    options = f"size={disk},nr_inodes={inodes},mode=0755".encode()
    os.makedirs("/box", exist_ok=True)
    is_bounded = not libc.mount(b"scratch", base, b"tmpfs", MS_NOSUID | MS_NODEV, options)
    for name, mode in SCRATCH.items():
        if is_bounded and os.path.isdir(f"/{name}"):
            os.makedirs(f"/mnt/{name}")
            if libc.mount(f"/mnt/{name}".encode(), f"/{name}".encode(), None, MS_BIND, None):
                raise OSError(ctypes.get_errno(), f"cannot mount /{name}")
        if is_bounded or name == "box":
            os.chmod(f"/{name}", mode)
        if is_bounded or name == "box":
            own(f"/{name}")
    if is_bounded:
        libc.umount2(base, MNT_DETACH)  # it lives on where it is bound
    return is_bounded


class Scratch:
    """Looks at the program's files, where nothing else bounds them."""

    def __init__(self, job: "dict[str, Any]") -> None:
        self.disk, self.inodes = job["disk"], job["inodes"]
        self.looked = 0.0

    def is_exceeded(self) -> bool:
        if time.monotonic() - self.looked < WALK:
            return False
        size = count = 0
        folders = [f"/{name}" for name in SCRATCH]
        while folders and size <= self.disk and count <= self.inodes:
            for entry in entries(folders.pop()):
                try:
                    found = entry.stat(follow_symlinks=False)
                except OSError:
                    continue  # it is gone
                count += 1
                size += found.st_blocks * 512
                if entry.is_dir(follow_symlinks=False):
                    folders.append(entry.path)
        self.looked = time.monotonic()
        return bool(size > self.disk or count > self.inodes)


def entries(folder: str) -> "list[os.DirEntry[str]]":
    try:
        with os.scandir(folder) as found:
            return list(found)
    except OSError:
        return []


def own(path: str) -> None:
    """Give a path to the program, where there is another uid to give it to."""
    if HAS_UID:
        os.chown(path, UID, UID)


def write_files(reader: Reader, files: "list[dict[str, Any]]") -> None:
    """Write the program's files; no program runs yet, so no link can lead elsewhere."""
    for file in files:
        path = os.path.join("/box", file["path"])
        make_folders(file["path"])
        with open(path, "wb") as target:
            target.write(reader.exactly(file["size"]))
        own(path)
        if file["path"].startswith(BUILD):
            os.chmod(path, 0o755)  # noqa: S103 - to be run is what it is for


def make_folders(path: str) -> None:
    """Make the folders on the way to a file."""
    place = "/box"
    for part in path.split("/")[:-1]:
        place += "/" + part
        if not os.path.isdir(place):
            os.mkdir(place)
            own(place)


def open_folder(name: str, within: "int | None" = None) -> "int | None":
    """Open a folder, if it is one and its owner may look into it; otherwise return None."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | SAFELY, dir_fd=within)
    except OSError:
        return None
    about = os.fstat(descriptor)
    if about.st_mode & 0o500 == 0o500 and is_programs(about):  # noqa: PLR2004 - list and enter
        return descriptor
    os.close(descriptor)
    return None


def is_programs(about: os.stat_result) -> bool:
    """Whether something is the program's: what it has only linked to keeps its owner."""
    return not HAS_UID or about.st_uid == UID


def send_files(frames: Frames, collect: "dict[str, Any]") -> int:
    """Send the regular files below a folder of /box, as many as are wanted; count the others.

    Nobody else lives: what was looked at does not change before it is read.
    """
    folder = open_folder("/box/" + collect["folder"])
    found = [] if folder is None else list(regular_files(folder, collect["folder"], 0))
    kept = list(fitting(found, collect["files"], collect["size"]))
    if len(kept) < sum(size is not None for _, size in found) and not collect["keeps_first"]:
        kept = []
    for path in kept:
        send_file(frames, path)
    return len(found) - len(kept)


def regular_files(folder: int, prefix: str, depth: int) -> "Iterator[tuple[str, int | None]]":
    """Yield the path and size of each regular file below an open folder, which is then closed.

    None is the size of what is not to be brought; a folder into which nobody looks is one such.
    No link is followed, and whatever else is neither file nor folder is passed over.
    """
    for entry in sorted(os.listdir(folder)):
        path = prefix + "/" + entry
        about = os.lstat(entry, dir_fd=folder)
        is_tame = path.isprintable() and len(path.encode()) <= LONGEST_PATH
        if stat.S_ISREG(about.st_mode):
            may_be_brought = is_tame and about.st_mode & 0o400 and is_programs(about)
            yield path, about.st_size if may_be_brought else None
        elif stat.S_ISDIR(about.st_mode):
            below = open_folder(entry, folder) if is_tame and depth < DEEPEST else None
            if below is None:
                yield path, None
            else:
                yield from regular_files(below, path, depth + 1)
    os.close(folder)


def fitting(found: "list[tuple[str, int | None]]", most_files: int, room: int) -> "Iterator[str]":
    """Yield the first paths that fit."""
    for path, size in found:
        if size is not None and size <= room and most_files:
            most_files -= 1
            room -= size
            yield path


def send_file(frames: Frames, path: str) -> None:
    """Send a file: its head, then what is in it."""
    descriptor = os.open("/box/" + path, os.O_RDONLY | SAFELY)
    about = os.fstat(descriptor)
    head = {"path": path, "size": about.st_size, "executable": bool(about.st_mode & 0o100)}
    frames.add(b"P", json.dumps(head).encode())
    left = about.st_size
    while left:
        piece = os.read(descriptor, min(left, CHUNK)) or bytes(min(left, CHUNK))
        frames.add(b"D", piece)
        frames.flush(time.monotonic() + 60)
        left -= len(piece)
    os.close(descriptor)


def become_program(job: "dict[str, Any]", stdio: "list[int]", failed: int) -> None:
    """Turn the forked child into the program; returns only by raising."""
    os.setsid()
    for target, descriptor in enumerate(stdio):
        os.dup2(descriptor, target, inheritable=True)
    os.closerange(3, failed)
    os.closerange(failed + 1, 1 << 16)
    # Whatever the supervisor itself was started with, a program ignores and blocks none.
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    os.umask(0o022)
    os.chdir("/box")
    for name, value in job["rlimits"].items():
        resource.setrlimit(getattr(resource, name), (value, value))
    drop_capabilities()
    become_user()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    # The image knows where its tools are.
    environment = {"PATH": os.environ["PATH"], **job["environment"]}
    os.execvpe(job["argv"][0], job["argv"], environment)


def become_user() -> None:
    """Become the program's user, where there is one."""
    if HAS_UID:
        os.setgroups([])
        os.setgid(UID)
        os.setuid(UID)


def drop_capabilities() -> None:
    """Give up, as far as we may, what root has: no exec brings it back."""
    for capability in range(64):
        libc.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    libc.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0)
    header = struct.pack("=Ii", CAPABILITY_VERSION_3, 0)
    sets = ctypes.create_string_buffer(24)  # effective, permitted, inheritable; twice 32 bits
    libc.capget(header, sets)
    words = list(struct.unpack("=6I", sets.raw))
    words[2] = words[5] = 0
    libc.capset(header, struct.pack("=6I", *words))
    if not HAS_UID:
        libc.capset(header, bytes(24))  # to become another user takes them away as well


def start(job: "dict[str, Any]") -> "tuple[int, list[int]]":
    """Fork the program; return its pid and our ends of its pipes."""
    pipes = [os.pipe() for _ in range(3)]
    theirs = [pipes[0][0], pipes[1][1], pipes[2][1]]
    ours = [pipes[0][1], pipes[1][0], pipes[2][0]]
    if HAS_UID:
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
    for descriptor in ours[1:]:
        try:
            fcntl.fcntl(descriptor, fcntl.F_SETPIPE_SZ, PIPE)
        except OSError:
            pass  # this host has its reasons
    return child, ours


class Input:
    """What the program reads: what came with the job, then what is typed."""

    def __init__(self, pipe: int, stdin: bytes, reader: "Reader | None", frames: Frames) -> None:
        self.pipe: int | None = pipe
        self.waiting = memoryview(stdin)
        self.reader, self.frames = reader, frames
        self.is_over = reader is None
        self.taken = 0  # bytes of the piece that waits; 0 for what came with the job

    def is_hungry(self) -> bool:
        """Whether more typed input can be taken: piece by piece, so that it stays little."""
        return not self.is_over and not self.waiting

    def read(self) -> None:
        """Take what is typed; the end of our own input ends the program's too."""
        assert self.reader is not None
        self.is_over = not self.reader.read()

    def next(self) -> None:
        """Go over to the next piece, or close the program's input after the last."""
        while not self.waiting:
            piece = self.reader.piece() if self.reader else None
            if piece == b"":
                self.is_over = True
            if not piece:
                if self.is_over:
                    self.close()
                return
            self.waiting, self.taken = memoryview(piece), len(piece)
            if self.pipe is None:
                self.done()  # the program does not want it

    def feed(self) -> None:
        """Give the program what its pipe takes."""
        assert self.pipe is not None
        try:
            self.waiting = self.waiting[os.write(self.pipe, self.waiting[:CHUNK]) :]
        except BlockingIOError:
            return
        except OSError:
            self.close()
        if not self.waiting or self.pipe is None:
            self.done()

    def done(self) -> None:
        self.waiting = memoryview(b"")
        if self.taken:
            self.frames.add(b"I", SIZE.pack(self.taken))
            self.taken = 0

    def close(self) -> None:
        if self.pipe is not None:
            os.close(self.pipe)
            self.pipe = None


class Run:
    """The program from its start to its end."""

    def __init__(
        self,
        job: "dict[str, Any]",
        reader: Reader,
        frames: Frames,
        scratch: "Scratch | None",
    ) -> None:
        stdin = reader.exactly(job["stdin"])
        self.job, self.frames = job, frames
        self.scratch = scratch
        self.census = Census()
        self.reason: str | None = None
        self.status: int | None = None
        self.child, (stdin_end, out, err) = start(job)
        self.input = Input(stdin_end, stdin, reader if job["typed"] else None, frames)
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
        if self.census.cpu >= self.job["cpu_time"]:
            self.kill("CPU_TIME")
        elif time.monotonic() - self.began >= self.job["wall_time"]:
            self.kill("WALL_TIME")
        elif self.scratch is not None and self.scratch.is_exceeded():
            self.kill("DISK")
        elif memory > self.job["memory"] and self.census.exact_memory() > self.job["memory"]:
            self.kill("MEMORY")  # last: to be exact may take a while

    def pump(self) -> None:
        """Move what can be moved, for one tick at the most."""
        self.input.next()
        room = len(self.frames.pending) < MOST_PENDING
        readers = list(self.outputs) if room else []
        writers = [1] if self.frames.pending else []
        if self.input.waiting and self.input.pipe is not None:
            writers.append(self.input.pipe)
        if self.input.is_hungry():
            readers.append(0)
        ready_in, ready_out, _ = select.select(readers, writers, [], TICK)
        if 1 in ready_out:
            self.frames.write()
        if self.input.pipe in ready_out:
            self.input.feed()
        for descriptor in ready_in:
            if descriptor == 0:
                self.input.read()
            else:
                self.take(descriptor)

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
        self.end_all(until)
        while self.outputs and time.monotonic() < until:
            self.pump()

    def end_all(self, until: float) -> bool:
        """Kill what is left of the program, and say whether nothing is.

        Whoever does the killing has the program's uid, and is waited for as well.
        """
        pause = 0.001
        while True:
            self.reap()
            if not processes_left():
                return True
            if time.monotonic() > until:
                return False
            kill_all()
            time.sleep(pause)
            pause = min(2 * pause, 0.05)

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
    return bool(processes())


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
        is_bounded = make_scratch(job["disk"], job["inodes"])
        write_files(reader, job["files"])
        if job["collect"] and job["collect"]["is_made"]:
            make_folders(job["collect"]["folder"] + "/")
        run = Run(job, reader, frames, None if is_bounded else Scratch(job))
        frames.add(b"S")
        run.go()
        # While something of the program lives, a file could change between two looks.
        is_still = job["collect"] and run.end_all(time.monotonic() + PATIENCE)
        left_out = send_files(frames, job["collect"]) if is_still else None
        frames.add(b"X", json.dumps({**run.report(), "left_out": left_out}).encode())
    except (OSError, RuntimeError, ValueError, KeyError) as error:
        frames.add(b"F", json.dumps({"message": str(error)}).encode())
    frames.flush(time.monotonic() + 60)


if __name__ == "__main__":
    main()
