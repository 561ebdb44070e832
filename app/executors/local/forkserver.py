"""The fork server of a warm cell: process 2 in a cell of its own. It is copied in, and never ends.

It runs in one of two ways. As `sitecustomize`, which an interpreter imports at the end of its own
start, it is what the interpreter of the programs is busy with: in the process that is to be a
program the import *returns*, and CPython itself goes on to run the program, with nothing of ours
on its stack. As a script it serves every other language: the process that is to be a program then
starts the program's interpreter.

    server ──socket──► fork server ──clone, all namespaces new──► init, process 1 of a run's cell
                                                                   │ fork       ▲
                       server ──the run's own socket───────────────┼────────────┘
                                                                   ▼
                                            the program, process 2: enclosed, waiting for a byte

An init does here what `init.py` does in a cold cell, by the same functions and with the same
records, but in two parts: what is the same for every program comes first ("prepare"), and READY is
said after it. The second part is the job. A namespace that is made here belongs to the user
namespace of the one run, so a run owns no more than in a cold cell.

Nothing in here may stay in the process that becomes a program: see `vanish`.
"""

import sys

_BEFORE = frozenset(sys.modules)
import gc  # noqa: E402 - as all that follow

gc.collect()
gc.freeze()  # a collection then looks at what is ours alone
_FOLDER = __file__.rpartition("/")[0]
sys.path.insert(0, _FOLDER)
import greenroom_init as init  # noqa: E402 - `init.py`, copied beside this file under this name

sys.path.remove(_FOLDER)

import _ctypes  # noqa: E402 - what everybody's modules are made of, as in init.py
import _signal  # noqa: E402
import _socket  # noqa: E402
import _struct as struct  # noqa: E402
import marshal  # noqa: E402
import posix as os  # noqa: E402
import resource  # noqa: E402
import select  # noqa: E402
import time  # noqa: E402
from posix import _exit  # noqa: E402

# Source: linux/sched.h. The cgroup namespace comes later: its root is where its maker is.
NEWNS, NEWUTS, NEWIPC, NEWUSER = 0x00020000, 0x04000000, 0x08000000, 0x10000000
NEWPID, NEWNET = 0x20000000, 0x40000000
NAMESPACES = NEWNS | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET
CLONE = {"x86_64": 56, "aarch64": 220}  # the number of the call
SIOCSIFFLAGS, IFF_UP = 0x8914, 1  # linux/sockios.h, linux/if.h
SETPCAP, SYS_ADMIN, SYS_RESOURCE = 8, 21, 24  # linux/capability.h
KEPT_CAPABILITIES = 1 << SETPCAP | 1 << SYS_ADMIN | 1 << SYS_RESOURCE
SOCKET, KIND = 0o140000, 0o170000  # S_IFSOCK, S_IFMT
POPULATE_WRITE = 23  # asm-generic/mman-common.h, since Linux 5.14
PRESENT = 1 << 63  # kernel documentation, "Examining Process Page Tables"
LINK = 1000  # the program's end of the socket to its init: so high that it moves no other number


class Locked(_ctypes.CFuncPtr):
    """A function that is called without letting go of the interpreter."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = init.Int


class Hook(_ctypes.CFuncPtr):
    """One that returns nothing."""

    _flags_ = _ctypes.FUNCFLAG_CDECL | _ctypes.FUNCFLAG_PYTHONAPI
    _restype_ = None


def _find(kind, name):
    return kind(_ctypes.dlsym(_ctypes.dlopen(None, 0), name))


before_fork = _find(Hook, "PyOS_BeforeFork")
after_fork_in_parent = _find(Hook, "PyOS_AfterFork_Parent")
after_fork_in_child = _find(Hook, "PyOS_AfterFork_Child")
system_call, libc_ioctl = _find(Locked, "syscall"), init.function("ioctl")
libc_madvise = init.function("madvise")


def find_control():
    """Return the one socket among our descriptors: no argument may say which it is."""
    for name in os.listdir("/proc/self/fd"):
        try:
            if os.fstat(int(name)).st_mode & KIND == SOCKET:
                return _socket.socket(fileno=int(name))
        except OSError:
            pass  # the one through which the folder was read
    raise init.StepError("find the socket", 0)


def own_memory():
    """Return where our own memory lies, as runs of pages that are there and can be written."""
    size, runs = resource.getpagesize(), []
    with open("/proc/self/maps", "rb") as maps, open("/proc/self/pagemap", "rb", 0) as pages:
        for line in maps:
            place, rights = line.split()[:2]
            if rights != b"rw-p":
                continue
            first, end = (int(each, 16) for each in place.split(b"-"))
            pages.seek(first // size * 8)
            entries = pages.read((end - first) // size * 8)
            for at, (entry,) in enumerate(struct.iter_unpack("Q", entries)):
                page = first + at * size
                if not entry & PRESENT:
                    continue
                if runs and sum(runs[-1]) == page:
                    runs[-1][1] += size
                else:
                    runs.append([page, size])
    return runs


def take_memory(runs):
    """Copy now what a fork has left shared: an interpreter writes to nearly all of it.

    It would be copied while the program runs, page by page, each with a fault of its own. A kernel
    that cannot do that refuses, and then it is so.
    """
    for first, length in runs:
        libc_madvise(init.Long(first), init.Long(length), POPULATE_WRITE)


def clone(number):
    """Fork into new namespaces, which `os.fork` cannot."""
    before_fork()
    arguments = (number, NAMESPACES | _signal.SIGCHLD, 0, 0, 0, 0)
    pid = system_call(*map(init.Long, arguments))
    if pid == 0:
        after_fork_in_child()
    else:
        after_fork_in_parent()
    return pid


def serve(control, number):
    """Make an init for each socket that comes; return that socket in the init alone."""
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)  # the kernel reaps them
    while True:
        head, ancillary, _, _ = control.recvmsg(1, _socket.CMSG_SPACE(4), _socket.MSG_CMSG_CLOEXEC)
        if not head:
            _exit(0)
        (descriptor,) = struct.unpack("i", ancillary[0][2][:4])
        if clone(number) == 0:
            control.close()
            return _socket.socket(fileno=descriptor)
        os.close(descriptor)  # if there is no init, whoever asked sees its end closed


def own_namespaces(covered):
    """Take possession of the new namespaces, and keep three capabilities over them."""
    for name, text in (
        ("setgroups", "deny"),
        ("uid_map", "1000 1000 1"),
        ("gid_map", "1000 1000 1"),
    ):
        with open(f"/proc/self/{name}", "w") as file:
            file.write(text)
    init.prctl("set not dumpable", init.PR_SET_DUMPABLE, 0)
    flags = init.MS_NOSUID | init.MS_NOEXEC
    init.mount(b"proc", b"/proc", b"proc", flags | init.MS_NODEV)
    # The terminals of one run are none of another's.
    init.mount(b"devpts", b"/dev/pts", b"devpts", flags, b"newinstance,ptmxmode=0666,mode=620")
    for folder in covered:
        init.mount(b"/greenroom/empty", folder.encode(), None, init.MS_BIND)
    start_loopback()
    header = struct.pack("<Ii", init.CAPABILITY_VERSION_3, 0)
    sets = struct.pack("<6I", KEPT_CAPABILITIES, KEPT_CAPABILITIES, 0, 0, 0, 0)
    init.check("keep three capabilities", init.libc_capset(header, sets))


def start_loopback():
    """Start the one interface of the new network, which takes its addresses by itself."""
    any_socket = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM)
    request = init.in_memory(struct.pack("16sh22x", b"lo", IFF_UP))
    init.check("start lo", libc_ioctl(any_socket.fileno(), init.Long(SIOCSIFFLAGS), request))
    any_socket.close()


def build(part, cgroups):
    """Do all that is the same for every program; return a descriptor of its scratch space."""
    own_namespaces(part["covered"])
    init.join_cgroups(cgroups)
    init.check("unshare cgroups", init.libc_unshare(init.CLONE_NEWCGROUP))
    init.limit_namespace()
    return init.make_scratch(part["disk"], part["inodes"])


def fork_program(part, stdio, memory):
    """Fork what will be the program; return its pid and our end of the link, in it 0 and its end.

    Whoever is not init leaves by becoming the program, or with a word about what failed.
    """
    ours, theirs = _socket.socketpair()
    child = os.fork()
    if child:
        theirs.close()
        for descriptor in stdio:
            os.close(descriptor)
        return child, ours
    try:
        if part["kind"] == "return":
            take_memory(memory)
        os.dup2(theirs.fileno(), LINK, inheritable=part["kind"] == "preload")
        if part["kind"] != "return":
            init.reset_signals()
        init.enclose(stdio, LINK, part["seccomp"])
        ours.detach(), theirs.detach()  # closed already, and their numbers may be others' now
        if part["kind"] == "preload":
            os.execve(part["argv"][0], part["argv"], part["environment"])
    except BaseException as error:  # noqa: BLE001 - a bug of ours must not become a program
        give_up(error)
    return 0, None


def give_up(error):
    """Tell init what failed, instead of becoming a program."""
    step, number = error.args if isinstance(error, init.StepError) else (f"start: {error}", 0)
    os.write(LINK, struct.pack("<i", number or getattr(error, "errno", 0) or 0) + step.encode())
    _exit(127)


def wait_for_program(link):
    """Wait for the one byte by which the program's process says that it waits."""
    said = link.recv(256)
    if said != b"r":
        raise failure(said)


def failure(said):
    """Return the error that the other side told."""
    if len(said) < 4:  # noqa: PLR2004 - an errno's size
        return init.StepError("prepare the program", 0)
    return init.StepError(said[4:].decode(), *struct.unpack("<i", said[:4]))


def let_go(job, part, child, link):
    """Give the program's process what is its own, and return once it is the program."""
    if job["disk"] != part["disk"]:
        flags = init.MS_REMOUNT | init.MS_NOSUID | init.MS_NODEV
        options = f"size={job['disk']},nr_inodes={job['inodes']}".encode()
        init.mount(b"scratch", b"/box", b"tmpfs", flags, options)
    init.lay_out(job)
    for number, value in job["rlimits"]:
        _, hard = resource.prlimit(child, number)
        if hard != resource.RLIM_INFINITY:
            value = min(value, hard)  # noqa: PLW2901 - the server itself has no more
        resource.prlimit(child, number, (value, value))
    # The executable and what it was started with are known where the program waits.
    if part["kind"] == "exec":
        message = marshal.dumps((job["argv"], job["environment"]), 2)
    else:
        added = job["argv"][part["known"] :]
        message = b"".join(word.encode() + b"\0" for word in added)
    link.sendall(struct.pack("<I", len(message)) + message)
    said = link.recv(256)
    if said:
        raise failure(said)
    link.close()


def wait_for_job(control, link):
    """Wait for the job; leave if the program's process does, for nobody can use this cell then."""
    poll = select.poll()
    for each in (control, link):
        poll.register(each, select.POLLIN)
    if link.fileno() in [descriptor for descriptor, _ in poll.poll()]:
        _exit(1)


def processor_time(pid):
    """Return the seconds that a process has used; `MAKE_PROCESS_CPUCLOCK` in the kernel's words."""
    return time.clock_gettime(~pid << 3 | 2)


def run(control, part, scratch, child, link):
    """Wait for the job, start the program, and report how it ended."""
    wait_for_program(link)
    init.report(control, b"R", descriptor=os.pidfd_open(1))
    wait_for_job(control, link)
    job, _ = init.receive_job(control)
    unbilled = processor_time(child)
    let_go(job, part, child, link)
    init.see_to_the_end(control, job["collect"], child, scratch, unbilled)


def be_init(control, memory):
    """Serve one run and leave; return only in the process that is to be the program."""
    for number in (_signal.SIGCHLD, _signal.SIGINT):
        _signal.signal(number, _signal.SIG_DFL)
    try:
        part, descriptors = init.receive_job(control)
        scratch = build(part, descriptors[3:])
        child, link = fork_program(part, descriptors[:3], memory)
        if child == 0:
            control.detach()
            return part["kind"]
        run(control, part, scratch, child, link)
    except init.StepError as error:
        step, number = error.args
        init.report(control, b"E", number, text=step)
    except OSError as error:
        init.report(control, b"E", error.errno or 0, text=f"prepare: {error.strerror}")
    _exit(0)


def serve_and_build():
    """Serve; return only in a process that is to be a program, and say how it becomes one."""
    memory = own_memory()
    return be_init(serve(find_control(), CLONE[os.uname().machine]), memory)


def become_another():
    """Wait for what to start, and start it, for good."""
    os.write(LINK, b"r")
    message = b""
    while len(message) < missing(message):
        piece = os.read(LINK, 1 << 16)
        if not piece:
            _exit(0)  # nobody wants us
        message += piece
    argv, environment = marshal.loads(message[4:])  # noqa: S302 - init wrote it
    try:
        os.execve(argv[0], argv, environment)
    except OSError as error:
        give_up(init.StepError(f"start {argv[0]}", error.errno))


def missing(message):
    """Return how long a message is to become, of which this is the beginning."""
    return 4 + int.from_bytes(message[:4], "little")


def vanish():
    """Leave the interpreter as if it had come here by itself, and had found no `sitecustomize`."""
    _signal.signal(_signal.SIGINT, _signal.default_int_handler)
    _ctypes.set_errno(0)
    finder = sys.path_importer_cache[_FOLDER]
    finder._path_mtime, finder._path_cache = -1, set()  # noqa: SLF001 - it saw this folder, not the program's
    collect, unfreeze = gc.collect, gc.unfreeze
    for name in [name for name in sys.modules if name not in _BEFORE]:
        del sys.modules[name]
    kept = {name: globals()[name] for name in ("__name__", "__spec__", "sys", "LINK")}
    init.__dict__.clear()
    globals().clear()
    globals().update(kept)
    collect()  # classes hold themselves
    unfreeze()


try:
    if serve_and_build() == "return":
        vanish()
    else:
        become_another()
except BaseException as error:  # noqa: BLE001 - nobody but a program may leave this file
    import posix

    posix.write(2, f"fork server: {error!r}\n".encode())
    posix._exit(127)  # noqa: SLF001 - its name

# All that is left of us. What comes is the length of the message, and each argument with a zero.
import posix  # noqa: E402

posix.write(LINK, b"r")
message = b""
while len(message) < 4 + int.from_bytes(message[:4], "little"):
    piece = posix.read(LINK, 1 << 16)
    if not piece:
        posix._exit(0)  # noqa: SLF001 - its name; nobody wants us
    message += piece
posix.close(LINK)
for word in message[4:].split(b"\0")[:-1]:
    sys.argv.append(word.decode())
    sys.orig_argv.append(word.decode())
raise ImportError(name="sitecustomize")  # which `site` takes for: there is none
