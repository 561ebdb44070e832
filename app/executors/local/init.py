"""The init of a cell: process 1 in its own pid namespace. It is copied in and run by bubblewrap.

It starts with three capabilities over its own namespaces and nothing else. It reports that it
is ready, reads one job from its control socket, builds the program's scratch space, starts
the program without any capability, waits for it, reports what the kernel said, and leaves.
When process 1 leaves, the kernel ends every other process of the namespace.

The program can neither read nor forge the report: the control socket is closed on exec, and
process 1 is not dumpable, so `/proc/1/fd` and `/proc/1/mem` are out of reach. Signals sent to
process 1 from inside its namespace are dropped by the kernel as long as it handles none.

This file runs alone (`python -I -S`) and is compiled beforehand, for it is a part of every
start. So it imports nothing of Greenroom, and what `os`, `ctypes`, `struct`, `signal` and
`socket` are made of instead of these: that is 4 ms less. `control.py` is the other end of the
socket.
"""

import _ctypes
import _signal
import _socket
import _struct as struct
import marshal
import posix as os
import resource
import sys
import time
from posix import _exit

MAX_DESCRIPTORS = 16
RECORD = struct.Struct("<1siddq200s")  # kind, wait status or errno, wall s, CPU s, peak RSS, text

CLONE_NEWNS, CLONE_NEWCGROUP = 0x00020000, 0x02000000
MS_RDONLY, MS_NOSUID, MS_NODEV, MS_NOEXEC = 1, 2, 4, 8
MS_REMOUNT, MS_BIND = 32, 4096
MNT_DETACH = 2
O_PATH = 0o10000000  # asm-generic/fcntl.h; `posix` has no name for it before Python 3.13
PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_CAPBSET_DROP = 4, 22, 24
PR_SET_NO_NEW_PRIVS, PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL = 38, 47, 4
SECCOMP_MODE_FILTER = 2
LAST_CAPABILITY = 63
CAPABILITY_VERSION_3 = 0x20080522
# The last two are below a machine's usual 128 and 8192 or more for one user.
BUILD = ".build/"
SAFELY = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC
S_IFMT, S_IFREG, S_IFDIR = 0o170000, 0o100000, 0o040000
LONGEST_PATH, DEEPEST = 200, 16
PIECE = 1 << 18  # bytes
USER_LIMITS = (("user_namespaces", 0), ("inotify_instances", 16), ("inotify_watches", 1024))


class Char(_ctypes._SimpleCData):  # noqa: SLF001 - what ctypes.c_char is
    """A byte."""

    _type_ = "c"


class Int(_ctypes._SimpleCData):  # noqa: SLF001 - what ctypes.c_int is
    """What most functions of the C library return."""

    _type_ = "i"


class Long(_ctypes._SimpleCData):  # noqa: SLF001 - what ctypes.c_ulong is
    """An argument of full width: on some machines ints are not widened."""

    _type_ = "L"


class Function(_ctypes.CFuncPtr):
    """A function of the C library."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_USE_ERRNO
    _restype_ = Int


def function(name):
    """Find a function of the C library, which the interpreter has loaded already."""
    return Function(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))


libc_capset, libc_mount, libc_prctl = function("capset"), function("mount"), function("prctl")
libc_umount2, libc_unshare = function("umount2"), function("unshare")


class StepError(Exception):
    """A step of the set-up failed; carries the step and its errno."""


def check(step, result):
    """Raise what the C library says about a call that returned a negative number."""
    if result < 0:
        raise StepError(step, _ctypes.get_errno())


def prctl(step, option, *arguments):
    """Call prctl, or raise a StepError."""
    padded = (*arguments, 0, 0, 0, 0)[:4]
    check(step, libc_prctl(option, *map(Long, padded)))


def mount(source, target, kind, flags, options=None):
    """Mount, or raise a StepError that names the target."""
    result = libc_mount(source, target, kind, Long(flags), options)
    check(f"mount {target.decode()}", result)


def receive_job(control):
    """Read one job: its length and descriptors first, then its marshalled fields."""
    head, ancillary, _, _ = control.recvmsg(
        4, _socket.CMSG_SPACE(4 * MAX_DESCRIPTORS), _socket.MSG_CMSG_CLOEXEC
    )
    if not head:
        _exit(0)  # the server is done with this cell before it had a job
    descriptors = []
    for _, _, data in ancillary:
        descriptors += [each for (each,) in struct.iter_unpack("i", data[: len(data) & ~3])]
    (left,) = struct.unpack("<I", head)
    pieces = []
    while left:
        piece = control.recv(min(left, 1 << 20))
        if not piece:
            _exit(0)
        pieces.append(piece)
        left -= len(piece)
    return marshal.loads(b"".join(pieces)), descriptors  # noqa: S302 - our own server wrote it


def report(control, kind, number=0, wall=0.0, cpu=0.0, peak=0, text="", descriptor=None):
    """Send one record of fixed size to the server, with a copy of a descriptor if there is one."""
    record = RECORD.pack(kind, number, wall, cpu, peak, text.encode()[:200])
    passed = []
    if descriptor is not None:
        passed = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, struct.pack("i", descriptor))]
    control.sendmsg([record], passed)


def join_cgroups(descriptors):
    """Move this process into the run's cgroups: the descriptors were opened by the server."""
    for descriptor in descriptors:
        os.write(descriptor, b"0")
        os.close(descriptor)


def leave_namespaces():
    """Take a mount namespace to build in, and a cgroup namespace whose root is the run's own.

    The one is made only after joining: /proc/self/cgroup then names nothing of the server.
    """
    check("unshare namespaces", libc_unshare(CLONE_NEWNS | CLONE_NEWCGROUP))


def make_scratch(disk, inodes):
    """Mount one bounded tmpfs and show its folders as /box, /tmp and /dev/shm.

    Returns a descriptor of it, good for nothing but to ask how full it is.
    """
    base = b"/greenroom/scratch"
    options = f"size={disk},nr_inodes={inodes},mode=0755".encode()
    mount(b"scratch", base, b"tmpfs", MS_NOSUID | MS_NODEV, options)
    for name, target, mode in (
        (b"box", b"/box", 0o755),
        (b"tmp", b"/tmp", 0o1777),
        (b"shm", b"/dev/shm", 0o1777),
    ):
        source = base + b"/" + name
        os.mkdir(source)
        os.chmod(source, mode)
        mount(source, target, None, MS_BIND)
    scratch = os.open(base, O_PATH | os.O_CLOEXEC)
    check("hide scratch", libc_umount2(base, MNT_DETACH))
    return scratch


def write_files(files):
    """Write the program's files; no program runs yet, so no link can lead elsewhere."""
    for name, content in files.items():
        make_folders(name)
        with open("/box/" + name, "wb", buffering=0) as file:
            left = memoryview(content)
            while left:
                left = left[file.write(left) :]
        if name.startswith(BUILD):
            os.chmod("/box/" + name, 0o755)


def make_folders(name):
    """Make the folders on the way to a file."""
    place = "/box"
    for part in name.split("/")[:-1]:
        place += "/" + part
        try:
            os.mkdir(place)
        except FileExistsError:
            continue


def limit_namespace():
    """Bound what the kernel counts for a user in all cells together; none makes namespaces."""
    for name, value in USER_LIMITS:
        try:
            with open(f"/proc/sys/user/max_{name}", "w") as file:
                file.write(str(value))
        except FileNotFoundError:
            pass  # a kernel that has no such things counts none
        except OSError as error:
            raise StepError(f"limit {name}", error.errno) from error


def set_rlimits(rlimits):
    """Set hard limits; raising one again needs a capability that the program lacks."""
    for number, value in rlimits:
        _, hard = resource.getrlimit(number)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)  # noqa: PLW2901 - the server itself has no more
        resource.setrlimit(number, (value, value))


def drop_capabilities():
    """Leave no capability in any set, and no way to gain one."""
    prctl("clear ambient capabilities", PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL)
    for capability in range(LAST_CAPABILITY + 1):
        libc_prctl(PR_CAPBSET_DROP, *map(Long, (capability, 0, 0, 0)))
    header = struct.pack("<Ii", CAPABILITY_VERSION_3, 0)
    check("drop capabilities", libc_capset(header, bytes(24)))
    prctl("set no-new-privs", PR_SET_NO_NEW_PRIVS, 1)


def enter_filter(program):
    """Install the system call filter for good."""
    instructions = in_memory(program)
    header = in_memory(struct.pack("HxxxxxxP", len(program) // 8, _ctypes.addressof(instructions)))
    prctl("install seccomp filter", PR_SET_SECCOMP, SECCOMP_MODE_FILTER, _ctypes.addressof(header))


def in_memory(data):
    """Return a copy that has an address."""
    return (Char * len(data)).from_buffer_copy(data)


def enclose(stdio, kept, seccomp, rlimits=()):
    """Shut the forked child in for good, with no descriptor but these."""
    os.setsid()
    prctl("set dumpable", PR_SET_DUMPABLE, 1)
    # The first to go when memory runs out, before process 1 and before the host's own.
    with open("/proc/self/oom_score_adj", "w") as file:
        file.write("1000")
    # Read-only from here on: no program lowers its score, and no other knob of /proc is open.
    mount(None, b"/proc", None, MS_REMOUNT | MS_BIND | MS_RDONLY | MS_NOSUID | MS_NODEV | MS_NOEXEC)
    for target, descriptor in enumerate(stdio):
        os.dup2(descriptor, target, inheritable=True)
    os.closerange(3, kept)
    os.closerange(kept + 1, 1 << 20)
    os.umask(0o022)
    os.chdir("/box")
    set_rlimits(rlimits)
    drop_capabilities()
    enter_filter(seccomp)


def reset_signals():
    """Let the program find no signal ignored and none blocked, whatever the server found."""
    for number in _signal.valid_signals() - {_signal.SIGKILL, _signal.SIGSTOP}:
        _signal.signal(number, _signal.SIG_DFL)
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def become_program(job, stdio, failed):
    """Turn the forked child into the program; returns only by raising."""
    reset_signals()
    enclose(stdio, failed, job["seccomp"], job["rlimits"])
    os.execve(job["argv"][0], job["argv"], job["environment"])


def start_program(job, stdio):
    """Fork the program and return its pid once the kernel has taken the new image."""
    reader, writer = os.pipe()  # closed on exec, so that end of file means success
    child = os.fork()
    if child == 0:
        try:
            become_program(job, stdio, writer)
        except StepError as error:
            step, number = error.args
        except OSError as error:
            step, number = f"start {job['argv'][0]}", error.errno or 0
        except BaseException as error:  # noqa: BLE001 - a bug of ours must not become a program
            step, number = f"start: {error}", 0
        os.write(writer, struct.pack("<i", number) + step.encode())
        _exit(127)
    os.close(writer)
    for descriptor in stdio:
        os.close(descriptor)
    failure = os.read(reader, 256)
    os.close(reader)
    if failure:
        raise StepError(failure[4:].decode(), *struct.unpack("<i", failure[:4]))
    return child


def wait_for(child):
    """Reap everything that ends until the program itself does; return its wait status."""
    while True:
        pid, status = os.waitpid(-1, 0)
        if pid == child:
            return status


def end_all():
    """Kill and reap whatever else lives: from then on, nothing changes what was left."""
    try:
        os.kill(-1, _signal.SIGKILL)
    except ProcessLookupError:
        return
    while True:
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def open_folder(name, within=None):
    """Open a folder, if it is one and its owner may look into it; otherwise return None."""
    try:
        descriptor = os.open(name, os.O_RDONLY | os.O_DIRECTORY | SAFELY, dir_fd=within)
    except OSError:
        return None
    if os.fstat(descriptor).st_mode & 0o500 == 0o500:  # noqa: PLR2004 - to list and to enter
        return descriptor
    os.close(descriptor)
    return None


def send_files(control, folder, collect):
    """Send the regular files below an open folder, as many as are wanted, and count the others.

    Nobody else lives: what was looked at does not change before it is read.
    """
    found = list(regular_files(folder, collect["folder"], 0))
    kept = list(fitting(found, collect["files"], collect["size"]))
    if len(kept) < sum(size is not None for _, size in found) and not collect["keeps_first"]:
        kept = []
    for path in kept:
        send_file(control, path)
    report(control, b"N", len(found) - len(kept))


def regular_files(folder, prefix, depth):
    """Yield the path and size of each regular file below an open folder, which is then closed.

    None is the size of what is not to be brought; a folder into which nobody looks is one such.
    No link is followed, and whatever else is neither file nor folder is passed over.
    """
    for entry in sorted(os.listdir(folder)):
        path = prefix + "/" + entry
        about = os.lstat(entry, dir_fd=folder)
        is_tame = path.isprintable() and len(path.encode()) <= LONGEST_PATH
        if about.st_mode & S_IFMT == S_IFREG:
            yield path, about.st_size if is_tame and about.st_mode & 0o400 else None
        elif about.st_mode & S_IFMT == S_IFDIR:
            below = open_folder(entry, folder) if is_tame and depth < DEEPEST else None
            if below is None:
                yield path, None
            else:
                yield from regular_files(below, path, depth + 1)
    os.close(folder)


def fitting(found, most_files, room):
    """Yield the first paths that fit."""
    for path, size in found:
        if size is not None and size <= room and most_files:
            most_files -= 1
            room -= size
            yield path


def send_file(control, path):
    """Send a file: its head, then what is in it."""
    descriptor = os.open("/box/" + path, os.O_RDONLY | SAFELY)
    about = os.fstat(descriptor)
    report(control, b"F", about.st_mode & 0o100, peak=about.st_size, text=path)
    left = about.st_size
    while left:
        piece = os.read(descriptor, min(left, PIECE)) or bytes(min(left, PIECE))
        control.sendall(piece)
        left -= len(piece)
    os.close(descriptor)


def lay_out(job):
    """Put into /box what the program finds there."""
    write_files(job["files"])
    if job["collect"] and job["collect"]["is_made"]:
        make_folders(job["collect"]["folder"] + "/")


def see_to_the_end(control, collect, child, scratch, unbilled=0.0):
    """Report that the program runs, wait for it, report how it ended, and send what it has left."""
    began = time.monotonic()
    report(control, b"S", descriptor=scratch)
    status = wait_for(child)
    wall = time.monotonic() - began
    if collect:
        end_all()
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = max(0.0, used.ru_utime + used.ru_stime - unbilled)
    folder = open_folder("/box/" + collect["folder"]) if collect else None
    text = "" if folder is None else "files"
    report(control, b"X", status, wall, cpu, used.ru_maxrss * 1024, text)
    if folder is not None:
        send_files(control, folder, collect)


def run(control):
    """Serve the one job of this cell."""
    job, descriptors = receive_job(control)
    stdio, cgroups = descriptors[:3], descriptors[3:]
    join_cgroups(cgroups)
    leave_namespaces()
    limit_namespace()
    scratch = make_scratch(job["disk"], job["inodes"])
    lay_out(job)
    child = start_program(job, stdio)
    see_to_the_end(control, job["collect"], child, scratch)


def main():
    """Report ready, serve one job, and turn any failure into a record."""
    # With a handler of its own, process 1 could be interrupted from inside.
    _signal.signal(_signal.SIGINT, _signal.SIG_DFL)
    descriptor = int(sys.argv[1])
    os.set_inheritable(descriptor, False)
    control = _socket.socket(fileno=descriptor)
    prctl("set not dumpable", PR_SET_DUMPABLE, 0)
    try:
        report(control, b"R", descriptor=os.pidfd_open(1))
        run(control)
    except StepError as error:
        step, number = error.args
        report(control, b"E", number, text=step)
    except OSError as error:
        report(control, b"E", error.errno or 0, text=f"prepare: {error.strerror}")
    sys.stderr.flush()
    _exit(0)


if __name__ == "__main__":
    main()
