"""The system call filter of a cell: a BPF program made from the tables in `syscalls.py`.

Theory of operation
-------------------
The kernel runs the filter on every system call of the program and of all its descendants, with
a `struct seccomp_data` to look at: the call's number, the architecture it was made for, and the
six arguments. What the filter returns decides: do it, answer with an error, or kill. A filter
cannot be removed; more can be added, and the strictest answer counts.

    load architecture ─ not ours? ─► kill       (int 0x80 has other numbers: nothing would hold)
    load number ─ binary search over ranges of equal fate
        ├─► allow
        ├─► answer with an error
        └─► load argument ─ test ─► allow, or answer with an error

* Classic BPF jumps only forwards and only 255 instructions far. So there are no labels here: a
  *fragment* is a tuple of instructions that ends by returning on every path, and fragments are
  put one behind another (`branch`, `among`). Where one is too long to jump over, a JA helps.
* Numbers are joined into ranges by their fate, and everything in between or above is ENOSYS.
  That takes care of x32 too: its numbers have bit 30 set, and so lie above every list.
* Arguments are 64 bits wide, but for each one tested here the kernel takes an `int`, or flags
  that are all in the low half. So the low half is what is tested: to compare all 64 bits would
  let a program through that sets a high bit which the kernel then ignores (CVE-2019-10063).
* Since Linux 5.11 the kernel tries the filter once for each number when it is installed, and no
  longer asks it about calls that are allowed whatever their arguments.

The bytes are an array of `struct sock_filter`: put its address and its length divided by eight
into a `struct sock_fprog`. Install it last, after no-new-privs: it forbids mounting as well.

Sources: `linux/filter.h`, `linux/seccomp.h`, `linux/audit.h`, seccomp(2), and for each tested
argument the header named beside its numbers. All of them are the same on both architectures.
"""

import errno
import os
import struct
from collections.abc import Mapping, Sequence
from functools import cache
from itertools import groupby
from typing import Final, NamedTuple, TypeAlias

from app.executors.local.syscalls import ARCHITECTURES, REFUSED, Architecture

MACHINE: Final = os.uname().machine


class UnsupportedArchitecture(Exception):
    """There is no list of system calls for this machine, so no program is run on it."""

    def __init__(self, machine: str) -> None:
        known = " and ".join(ARCHITECTURES)
        super().__init__(
            f"no system call list for {machine}: the local sandbox runs on {known} only; set "
            f"GREENROOM_EXECUTOR=modal, or add {machine} to app/executors/local/syscalls.py"
        )
        self.machine = machine


class Instruction(NamedTuple):
    """One `struct sock_filter`; `yes` and `no` say how many instructions a test skips."""

    code: int
    yes: int
    no: int
    k: int


Fragment: TypeAlias = tuple[Instruction, ...]

# Instruction codes, linux/bpf_common.h.
LOAD: Final = 0x20  # BPF_LD | BPF_W | BPF_ABS: accumulator = word at k of seccomp_data
AND: Final = 0x54  # BPF_ALU | BPF_AND | BPF_K
JUMP: Final = 0x05  # BPF_JMP | BPF_JA
EQUAL: Final = 0x15  # BPF_JMP | BPF_JEQ | BPF_K
AT_LEAST: Final = 0x35  # BPF_JMP | BPF_JGE | BPF_K
ANY_BIT: Final = 0x45  # BPF_JMP | BPF_JSET | BPF_K
RETURN: Final = 0x06  # BPF_RET | BPF_K
LONGEST_SKIP: Final = 255  # a test's distances are bytes

# Where `struct seccomp_data` has the number, the architecture, and each argument's low half.
NUMBER: Final = 0
ARCHITECTURE: Final = 4
ARGUMENT: Final = (16, 24, 32, 40, 48, 56)

# What a filter returns, linux/seccomp.h; the low half of ERRNO is the error.
RET_ALLOW: Final = 0x7FFF0000
RET_ERRNO: Final = 0x00050000
RET_KILL_PROCESS: Final = 0x80000000

# linux/sched.h: NEWNS, NEWCGROUP, NEWUTS, NEWIPC, NEWUSER, NEWPID, NEWNET. NEWTIME is 0x80, which
# clone takes for a part of the exit signal.
CLONE_NEW: Final = 0x7E020000
AF_UNIX, AF_INET, AF_INET6, AF_NETLINK = 1, 2, 10, 16  # linux/socket.h
SOCKET_TYPE: Final = 0xF  # linux/net.h: SOCK_TYPE_MASK, without SOCK_CLOEXEC and SOCK_NONBLOCK
STREAM_DATAGRAM_RAW: Final = (1, 2, 3)  # linux/net.h; raw needs a capability that no program has
ANY_ICMP_TCP_UDP_ICMPV6: Final = (0, 1, 6, 17, 58)  # linux/in.h, linux/in6.h
NETLINK_ROUTE: Final = 0  # linux/netlink.h
SOL_TCP, TCP_ULP = 6, 31  # linux/tcp.h
TIOCSTI, TIOCLINUX, TIOCSETD = 0x5412, 0x541C, 0x5423  # asm-generic/ioctls.h
PR_SET_MM, PR_SCHED_CORE, PR_SET_MEMORY_MERGE = 35, 62, 67  # linux/prctl.h
PERSONALITY: Final = (0, 0xFFFFFFFF)  # linux/personality.h: PER_LINUX; ask without changing
MAP_HUGETLB: Final = 0x40000  # asm-generic/mman.h
MFD_HUGETLB: Final = 0x4  # linux/memfd.h
F_SETLEASE, F_NOTIFY = 1024, 1026  # linux/fcntl.h
MADV_MERGEABLE: Final = 12  # asm-generic/mman-common.h
# linux/inotify.h: IN_ACCESS, IN_CLOSE_NOWRITE, IN_OPEN
WATCHES_READERS: Final = 0x1 | 0x10 | 0x20
INIT: Final = 1  # the pid of our init inside every cell


def load(offset: int) -> Fragment:
    """Load a word; put before a fragment that tests it."""
    return (Instruction(LOAD, 0, 0, offset),)


def answer(error: int) -> Fragment:
    """Do not make the call, and let it return this error (0: success)."""
    return (Instruction(RETURN, 0, 0, RET_ERRNO | error),)


def branch(test: int, k: int, yes: Fragment, no: Fragment) -> Fragment:
    """Go on with `yes` if the loaded word passes the test against k, otherwise with `no`."""
    if len(yes) <= LONGEST_SKIP:
        return (Instruction(test, 0, len(yes), k), *yes, *no)
    return (Instruction(test, 1, 0, k), Instruction(JUMP, 0, 0, len(yes)), *yes, *no)


def among(values: Sequence[int], yes: Fragment, no: Fragment) -> Fragment:
    """Go on with `yes` if the loaded word is one of the values, otherwise with `no`."""
    tests = (Instruction(EQUAL, len(values) - at, 0, k) for at, k in enumerate(values))
    return (*tests, Instruction(JUMP, 0, 0, len(yes)), *yes, *no)


ALLOW: Final[Fragment] = (Instruction(RETURN, 0, 0, RET_ALLOW),)
KILL: Final[Fragment] = (Instruction(RETURN, 0, 0, RET_KILL_PROCESS),)
UNKNOWN: Final = answer(errno.ENOSYS)
REFUSE: Final = answer(errno.EPERM)


def _socket() -> Fragment:
    """Test family, then type, then protocol."""
    no_protocol, no_type = answer(errno.EPROTONOSUPPORT), answer(errno.ESOCKTNOSUPPORT)
    protocol = load(ARGUMENT[2]) + among(ANY_ICMP_TCP_UDP_ICMPV6, ALLOW, no_protocol)
    kind = among(STREAM_DATAGRAM_RAW, protocol, no_type)
    internet = (*load(ARGUMENT[1]), Instruction(AND, 0, 0, SOCKET_TYPE), *kind)
    netlink = load(ARGUMENT[2]) + among((NETLINK_ROUTE,), ALLOW, no_protocol)
    other = among((AF_NETLINK,), netlink, answer(errno.EAFNOSUPPORT))
    known = among((AF_INET, AF_INET6), internet, other)
    return load(ARGUMENT[0]) + among((AF_UNIX,), ALLOW, known)


def _setsockopt() -> Fragment:
    """Refuse one option of one level."""
    option = load(ARGUMENT[2]) + among((TCP_ULP,), answer(errno.ENOENT), ALLOW)
    return load(ARGUMENT[1]) + among((SOL_TCP,), option, ALLOW)


def _prctl() -> Fragment:
    """Refuse a few options, the last two as a kernel that was built without them."""
    rest = among((PR_SCHED_CORE, PR_SET_MEMORY_MERGE), answer(errno.EINVAL), ALLOW)
    return load(ARGUMENT[0]) + among((PR_SET_MM,), REFUSE, rest)


# Calls that are allowed with some arguments only; `REFUSED` has the reasons.
CHECKS: Final[Mapping[str, Fragment]] = {
    "clone": load(ARGUMENT[0]) + branch(ANY_BIT, CLONE_NEW, REFUSE, ALLOW),
    "fcntl": load(ARGUMENT[1]) + among((F_SETLEASE, F_NOTIFY), answer(errno.EINVAL), ALLOW),
    "inotify_add_watch": load(ARGUMENT[2])
    + branch(ANY_BIT, WATCHES_READERS, answer(errno.EINVAL), ALLOW),
    "ioctl": load(ARGUMENT[1]) + among((TIOCSTI, TIOCLINUX, TIOCSETD), REFUSE, ALLOW),
    "madvise": load(ARGUMENT[2]) + among((MADV_MERGEABLE,), answer(errno.EINVAL), ALLOW),
    "memfd_create": load(ARGUMENT[1]) + branch(ANY_BIT, MFD_HUGETLB, UNKNOWN, ALLOW),
    "mmap": load(ARGUMENT[3]) + branch(ANY_BIT, MAP_HUGETLB, answer(errno.ENOMEM), ALLOW),
    "personality": load(ARGUMENT[0]) + among(PERSONALITY, ALLOW, REFUSE),
    "prctl": _prctl(),
    "prlimit64": load(ARGUMENT[0]) + among((INIT,), REFUSE, ALLOW),
    "setsockopt": _setsockopt(),
    "socket": _socket(),
    "socketpair": load(ARGUMENT[0]) + among((AF_UNIX,), ALLOW, answer(errno.EOPNOTSUPP)),
}


@cache
def seccomp_filter(machine: str = MACHINE, also: frozenset[str] = frozenset()) -> bytes:
    """Return the filter for a machine, named as by `uname -m`, as packed `sock_filter`s.

    Calls in `also` are let through to the kernel, which has a say as well.

    Raises:
        UnsupportedArchitecture: there is no list for the machine.
    """
    architecture = ARCHITECTURES.get(machine)
    if architecture is None:
        raise UnsupportedArchitecture(machine)
    native = load(NUMBER) + _search(_ranges(_fates(architecture, also)))
    program = load(ARCHITECTURE) + among((architecture.audit,), native, KILL)
    return b"".join(struct.pack("<HBBI", *instruction) for instruction in program)


def _fates(architecture: Architecture, also: frozenset[str]) -> dict[int, Fragment]:
    """Say what becomes of each number that the tables name; a conditional refusal is a check."""
    refused = {
        name: answer(refusal.errno)
        for refusal in REFUSED
        for name in refusal.calls
        if name in architecture.numbers
    }
    allowed = {name: CHECKS.get(name, ALLOW) for name in architecture.allowed}
    fates = refused | allowed | dict.fromkeys(also, ALLOW)
    return {architecture.numbers[name]: fate for name, fate in fates.items()}


def _ranges(fates: Mapping[int, Fragment]) -> list[tuple[int, Fragment]]:
    """Join neighbours of one fate; each range goes up to the next one's first number."""
    numbers = range(max(fates) + 2)  # one past the last: from there on all is unknown
    runs = groupby(numbers, key=lambda number: fates.get(number, UNKNOWN))
    return [(next(run), fate) for fate, run in runs]


def _search(ranges: Sequence[tuple[int, Fragment]]) -> Fragment:
    """Find the range of the loaded number by halving."""
    if len(ranges) == 1:
        return ranges[0][1]
    middle = len(ranges) // 2
    first, _ = ranges[middle]
    return branch(AT_LEAST, first, _search(ranges[middle:]), _search(ranges[:middle]))
