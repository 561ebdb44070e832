"""Which system calls a program in the local sandbox may make: the policy, as tables.

`ARCHITECTURES` has, for each machine that we know, the numbers of its calls and its allow-list.
`REFUSED` says for people what a program asks for in vain, what it is told, and why. `seccomp.py`
turns both into a filter. A call that is on no list, because it is younger than the list, is
answered ENOSYS: the program takes us for an older kernel and goes its other way.

How a refusal sounds, unless an entry has a better reason:
- EPERM where Linux itself says so to a process without the right; programs know how to go on.
- ENOSYS where a kernel may come without the call; libraries have a fall-back for that.
- An argument is refused with the very error of a kernel built without that feature.

Sources: the numbers are those of Linux 7.0 (`arch/x86/entry/syscalls/syscall_64.tbl` and
`scripts/syscall.tbl`), and a test compares them with the headers of the machine it runs on. Which
calls a run-time needs was seen by running it, and from Docker's default profile
(`moby/profiles`, `seccomp/default.json`), under which they are all used; what nobody misses also
from gVisor's table (`pkg/sentry/syscalls/linux/linux64.go`), on which our Modal executor runs.
"""

import errno
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True, kw_only=True)
class Architecture:
    """One machine's calls: `audit` is what the kernel calls it (AUDIT_ARCH_*, linux/audit.h)."""

    audit: int
    numbers: Mapping[str, int]
    allowed: frozenset[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Calls that a program makes in vain, and why.

    errno: what it is told; 0 means that it is told "done" and nothing happens.
    when: with which arguments, in words; empty if always.
    """

    calls: tuple[str, ...]
    errno: int
    why: str
    when: str = ""


def _words(text: str) -> tuple[str, ...]:
    """Split a list of names, which is easier to read and to diff without quotes and commas."""
    return tuple(text.split())


def _numbers(*blocks: tuple[int, str]) -> dict[str, int]:
    """Count the names of each block upwards from its first number."""
    return {
        name: number for first, names in blocks for number, name in enumerate(_words(names), first)
    }


# From 424 on, a call has the same number on every architecture.
_SINCE_LINUX_5_1: Final = (
    424,
    """
    pidfd_send_signal io_uring_setup io_uring_enter io_uring_register open_tree move_mount fsopen
    fsconfig fsmount fspick pidfd_open clone3 close_range openat2 pidfd_getfd faccessat2
    process_madvise epoll_pwait2 mount_setattr quotactl_fd landlock_create_ruleset
    landlock_add_rule landlock_restrict_self memfd_secret process_mrelease futex_waitv
    set_mempolicy_home_node cachestat fchmodat2 map_shadow_stack futex_wake futex_wait
    futex_requeue statmount listmount lsm_get_self_attr lsm_set_self_attr lsm_list_modules mseal
    setxattrat getxattrat listxattrat removexattrat open_tree_attr file_getattr file_setattr
    listns rseq_slice_yield
    """,
)

_X86_64: Final = (
    0,
    """
    read write open close stat fstat lstat poll lseek mmap mprotect munmap brk rt_sigaction
    rt_sigprocmask rt_sigreturn ioctl pread64 pwrite64 readv writev access pipe select
    sched_yield mremap msync mincore madvise shmget shmat shmctl dup dup2 pause nanosleep
    getitimer alarm setitimer getpid sendfile socket connect accept sendto recvfrom sendmsg
    recvmsg shutdown bind listen getsockname getpeername socketpair setsockopt getsockopt clone
    fork vfork execve exit wait4 kill uname semget semop semctl shmdt msgget msgsnd msgrcv
    msgctl fcntl flock fsync fdatasync truncate ftruncate getdents getcwd chdir fchdir rename
    mkdir rmdir creat link unlink symlink readlink chmod fchmod chown fchown lchown umask
    gettimeofday getrlimit getrusage sysinfo times ptrace getuid syslog getgid setuid setgid
    geteuid getegid setpgid getppid getpgrp setsid setreuid setregid getgroups setgroups
    setresuid getresuid setresgid getresgid getpgid setfsuid setfsgid getsid capget capset
    rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigsuspend sigaltstack utime mknod uselib
    personality ustat statfs fstatfs sysfs getpriority setpriority sched_setparam sched_getparam
    sched_setscheduler sched_getscheduler sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval mlock munlock mlockall munlockall vhangup modify_ldt pivot_root
    _sysctl prctl arch_prctl adjtimex setrlimit chroot sync acct settimeofday mount umount2
    swapon swapoff reboot sethostname setdomainname iopl ioperm create_module init_module
    delete_module get_kernel_syms query_module quotactl nfsservctl getpmsg putpmsg afs_syscall
    tuxcall security gettid readahead setxattr lsetxattr fsetxattr getxattr lgetxattr fgetxattr
    listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr tkill time futex
    sched_setaffinity sched_getaffinity set_thread_area io_setup io_destroy io_getevents
    io_submit io_cancel get_thread_area lookup_dcookie epoll_create epoll_ctl_old epoll_wait_old
    remap_file_pages getdents64 set_tid_address restart_syscall semtimedop fadvise64
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete clock_settime
    clock_gettime clock_getres clock_nanosleep exit_group epoll_wait epoll_ctl tgkill utimes
    vserver mbind set_mempolicy get_mempolicy mq_open mq_unlink mq_timedsend mq_timedreceive
    mq_notify mq_getsetattr kexec_load waitid add_key request_key keyctl ioprio_set ioprio_get
    inotify_init inotify_add_watch inotify_rm_watch migrate_pages openat mkdirat mknodat
    fchownat futimesat newfstatat unlinkat renameat linkat symlinkat readlinkat fchmodat
    faccessat pselect6 ppoll unshare set_robust_list get_robust_list splice tee sync_file_range
    vmsplice move_pages utimensat epoll_pwait signalfd timerfd_create eventfd fallocate
    timerfd_settime timerfd_gettime accept4 signalfd4 eventfd2 epoll_create1 dup3 pipe2
    inotify_init1 preadv pwritev rt_tgsigqueueinfo perf_event_open recvmmsg fanotify_init
    fanotify_mark prlimit64 name_to_handle_at open_by_handle_at clock_adjtime syncfs sendmmsg
    setns getcpu process_vm_readv process_vm_writev kcmp finit_module sched_setattr
    sched_getattr renameat2 seccomp getrandom memfd_create kexec_file_load bpf execveat
    userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
    pkey_free statx io_pgetevents rseq uretprobe uprobe
    """,
)

_AARCH64: Final = (
    0,
    """
    io_setup io_destroy io_submit io_cancel io_getevents setxattr lsetxattr fsetxattr getxattr
    lgetxattr fgetxattr listxattr llistxattr flistxattr removexattr lremovexattr fremovexattr
    getcwd lookup_dcookie eventfd2 epoll_create1 epoll_ctl epoll_pwait dup dup3 fcntl
    inotify_init1 inotify_add_watch inotify_rm_watch ioctl ioprio_set ioprio_get flock mknodat
    mkdirat unlinkat symlinkat linkat renameat umount2 mount pivot_root nfsservctl statfs
    fstatfs truncate ftruncate fallocate faccessat chdir fchdir chroot fchmod fchmodat fchownat
    fchown openat close vhangup pipe2 quotactl getdents64 lseek read write readv writev pread64
    pwrite64 preadv pwritev sendfile pselect6 ppoll signalfd4 vmsplice splice tee readlinkat
    newfstatat fstat sync fsync fdatasync sync_file_range timerfd_create timerfd_settime
    timerfd_gettime utimensat acct capget capset personality exit exit_group waitid
    set_tid_address unshare futex set_robust_list get_robust_list nanosleep getitimer setitimer
    kexec_load init_module delete_module timer_create timer_gettime timer_getoverrun
    timer_settime timer_delete clock_settime clock_gettime clock_getres clock_nanosleep syslog
    ptrace sched_setparam sched_setscheduler sched_getscheduler sched_getparam sched_setaffinity
    sched_getaffinity sched_yield sched_get_priority_max sched_get_priority_min
    sched_rr_get_interval restart_syscall kill tkill tgkill sigaltstack rt_sigsuspend
    rt_sigaction rt_sigprocmask rt_sigpending rt_sigtimedwait rt_sigqueueinfo rt_sigreturn
    setpriority getpriority reboot setregid setgid setreuid setuid setresuid getresuid setresgid
    getresgid setfsuid setfsgid times setpgid getpgid getsid setsid getgroups setgroups uname
    sethostname setdomainname getrlimit setrlimit getrusage umask prctl getcpu gettimeofday
    settimeofday adjtimex getpid getppid getuid geteuid getgid getegid gettid sysinfo mq_open
    mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr msgget msgctl msgrcv msgsnd
    semget semctl semtimedop semop shmget shmctl shmat shmdt socket socketpair bind listen
    accept connect getsockname getpeername sendto recvfrom setsockopt getsockopt shutdown
    sendmsg recvmsg readahead brk munmap mremap add_key request_key keyctl clone execve mmap
    fadvise64 swapon swapoff mprotect msync mlock munlock mlockall munlockall mincore madvise
    remap_file_pages mbind get_mempolicy set_mempolicy migrate_pages move_pages
    rt_tgsigqueueinfo perf_event_open accept4 recvmmsg
    """,
)
# 244 to 259 are for calls of one architecture; it has none.
_AARCH64_FROM_260: Final = (
    260,
    """
    wait4 prlimit64 fanotify_init fanotify_mark name_to_handle_at open_by_handle_at
    clock_adjtime syncfs setns sendmmsg process_vm_readv process_vm_writev kcmp finit_module
    sched_setattr sched_getattr renameat2 seccomp getrandom memfd_create bpf execveat
    userfaultfd membarrier mlock2 copy_file_range preadv2 pwritev2 pkey_mprotect pkey_alloc
    pkey_free statx io_pgetevents rseq kexec_file_load
    """,
)

# The last line lets a program tighten its own sandbox; it cannot loosen ours.
_ALLOWED_EVERYWHERE: Final = _words(
    """
    openat openat2 close close_range read write readv writev pread64 pwrite64 preadv pwritev
    preadv2 pwritev2 lseek dup dup3 fcntl ioctl flock pipe2 splice tee sendfile copy_file_range
    fallocate truncate ftruncate fadvise64 readahead fsync fdatasync sync_file_range

    fstat newfstatat statx statfs fstatfs faccessat faccessat2 readlinkat getdents64 getcwd chdir
    fchdir umask mkdirat mknodat unlinkat symlinkat linkat renameat renameat2 utimensat
    fchmod fchmodat fchmodat2 fchown fchownat setxattr lsetxattr fsetxattr setxattrat
    getxattr lgetxattr fgetxattr getxattrat listxattr llistxattr flistxattr listxattrat
    removexattr lremovexattr fremovexattr removexattrat

    ppoll pselect6 epoll_create1 epoll_ctl epoll_pwait epoll_pwait2 eventfd2 signalfd4
    timerfd_create timerfd_settime timerfd_gettime inotify_init1 inotify_add_watch inotify_rm_watch

    brk mmap munmap mremap mprotect madvise msync mincore mlock mlock2 mlockall munlock munlockall
    memfd_create mseal pkey_alloc pkey_free pkey_mprotect map_shadow_stack membarrier

    clone execve execveat exit exit_group wait4 waitid set_tid_address getpid getppid gettid
    getpgid setpgid getsid setsid prctl personality capget capset restart_syscall
    kill tkill tgkill pidfd_open pidfd_send_signal rt_sigaction rt_sigprocmask rt_sigpending
    rt_sigsuspend rt_sigtimedwait rt_sigqueueinfo rt_tgsigqueueinfo rt_sigreturn sigaltstack
    getuid geteuid getresuid setuid setreuid setresuid setfsuid getgid getegid getresgid setgid
    setregid setresgid setfsgid getgroups setgroups

    futex futex_wait futex_wake futex_requeue futex_waitv set_robust_list get_robust_list rseq
    rseq_slice_yield getcpu sched_yield sched_getaffinity sched_setaffinity sched_getparam
    sched_setparam sched_getscheduler sched_setscheduler sched_getattr sched_setattr
    sched_get_priority_max sched_get_priority_min sched_rr_get_interval getpriority setpriority
    ioprio_get ioprio_set getrlimit setrlimit prlimit64 getrusage times sysinfo uname getrandom

    gettimeofday clock_gettime clock_getres clock_nanosleep nanosleep getitimer setitimer
    timer_create timer_settime timer_gettime timer_getoverrun timer_delete

    socket socketpair bind listen accept accept4 connect shutdown getsockname getpeername
    getsockopt setsockopt sendto recvfrom sendmsg recvmsg sendmmsg recvmmsg
    shmget shmat shmctl shmdt semget semop semtimedop semctl msgget msgsnd msgrcv msgctl
    mq_open mq_unlink mq_timedsend mq_timedreceive mq_notify mq_getsetattr

    seccomp landlock_create_ruleset landlock_add_rule landlock_restrict_self
    """
)

# Older spellings, which newer architectures were born without, and what only x86 has. Without
# the two probes a program would crash while the host's administrator traces a library it uses.
_ALLOWED_ON_X86_64: Final = _words(
    """
    open creat stat lstat access readlink getdents mkdir rmdir mknod unlink symlink link rename
    chmod chown lchown utime utimes futimesat dup2 pipe poll select epoll_create epoll_wait
    inotify_init signalfd eventfd fork vfork getpgrp pause alarm time arch_prctl uretprobe uprobe
    """
)

ARCHITECTURES: Final[Mapping[str, Architecture]] = {
    "x86_64": Architecture(
        audit=0xC000003E,
        numbers=_numbers(_X86_64, _SINCE_LINUX_5_1),
        allowed=frozenset(_ALLOWED_EVERYWHERE + _ALLOWED_ON_X86_64),
    ),
    "aarch64": Architecture(
        audit=0xC00000B7,
        numbers=_numbers(_AARCH64, _AARCH64_FROM_260, _SINCE_LINUX_5_1),
        allowed=frozenset(_ALLOWED_EVERYWHERE),
    ),
}

REFUSED: Final = (
    Refusal(
        calls=_words(
            "ptrace process_vm_readv process_vm_writev process_madvise process_mrelease "
            "pidfd_getfd kcmp"
        ),
        errno=errno.EPERM,
        why="They read, steer or shrink another process, and process 1 of a cell is ours. "
        "LeakSanitizer needs ptrace: set ASAN_OPTIONS=detect_leaks=0.",
    ),
    Refusal(
        calls=_words("unshare setns"),
        errno=errno.EPERM,
        why="In a user namespace of its own a program holds every capability, and reaches the "
        "parts of the kernel in which most escapes were found.",
    ),
    Refusal(
        calls=_words("clone"),
        when="a CLONE_NEW* flag",
        errno=errno.EPERM,
        why="It makes namespaces too. Threads and processes are made without those flags.",
    ),
    Refusal(
        calls=_words("clone3"),
        errno=errno.ENOSYS,
        why="Its flags are behind a pointer, where no filter can read them; every libc then "
        "takes clone.",
    ),
    Refusal(
        calls=_words(
            "mount umount2 pivot_root chroot open_tree open_tree_attr move_mount fsopen fsconfig "
            "fsmount fspick mount_setattr"
        ),
        errno=errno.EPERM,
        why="What a cell sees of the file system is fixed before the program starts.",
    ),
    Refusal(
        calls=_words("open_by_handle_at name_to_handle_at fanotify_init fanotify_mark"),
        errno=errno.EPERM,
        why="A file handle leads to a whole file system, past the mounts of the cell.",
    ),
    Refusal(
        calls=_words("bpf perf_event_open"),
        errno=errno.EPERM,
        why="They load code into the kernel and measure what others do.",
    ),
    Refusal(
        calls=_words("add_key request_key keyctl"),
        errno=errno.EPERM,
        why="A keyring belongs to a user id, so it would outlive the run and join two runs.",
    ),
    Refusal(
        calls=_words(
            "init_module finit_module delete_module kexec_load kexec_file_load reboot swapon "
            "swapoff acct quotactl quotactl_fd syslog sethostname setdomainname settimeofday "
            "clock_settime adjtimex clock_adjtime vhangup iopl ioperm"
        ),
        errno=errno.EPERM,
        why="They rule the machine. The kernel refuses an unprivileged user too; two locks.",
    ),
    Refusal(
        calls=_words("prlimit64"),
        when="process 1",
        errno=errno.EPERM,
        why="Process 1 has the program's user id, so the kernel would let the program take our "
        "init's memory or CPU time away, and with it the truth about how the run ended.",
    ),
    Refusal(
        calls=_words("personality"),
        when="anything but 0 and 0xffffffff (which asks)",
        errno=errno.EPERM,
        why="It turns off address randomisation and makes all memory executable.",
    ),
    Refusal(
        calls=_words("ioctl"),
        when="TIOCSTI, TIOCLINUX, TIOCSETD",
        errno=errno.EPERM,
        why="They type into a terminal for somebody else, and load rare line disciplines.",
    ),
    Refusal(
        calls=_words("inotify_add_watch"),
        when="IN_ACCESS, IN_OPEN, IN_CLOSE_NOWRITE",
        errno=errno.EINVAL,
        why="Every run reads the same files of the system, so one would see what another "
        "imports, at the moment it does. To wait for changes needs none of them.",
    ),
    Refusal(
        calls=_words("fcntl"),
        when="F_NOTIFY, F_SETLEASE",
        errno=errno.EINVAL,
        why="The older way to the same: a signal when somebody reads a folder, or opens a file.",
    ),
    Refusal(
        calls=_words("prctl"),
        when="PR_SET_MM",
        errno=errno.EPERM,
        why="It rewrites what /proc says about a process; only checkpointing needs that.",
    ),
    Refusal(
        calls=_words("prctl"),
        when="PR_SCHED_CORE, PR_SET_MEMORY_MERGE",
        errno=errno.EINVAL,
        why="The one idles the other thread of a core, which no CPU limit counts; for the other "
        "see madvise.",
    ),
    Refusal(
        calls=_words("madvise"),
        when="MADV_MERGEABLE",
        errno=errno.EINVAL,
        why="Merging equal pages tells by its timing what is in other people's memory.",
    ),
    Refusal(
        calls=_words("mmap"),
        when="MAP_HUGETLB",
        errno=errno.ENOMEM,
        why="Reserved huge pages are not counted by the memory limit. Most machines have none, "
        "and say the same.",
    ),
    Refusal(
        calls=_words("memfd_create"),
        when="MFD_HUGETLB",
        errno=errno.ENOSYS,
        why="As with mmap: what a kernel without huge pages says.",
    ),
    Refusal(
        calls=_words("socket"),
        when="other families than AF_UNIX, AF_INET, AF_INET6, AF_NETLINK",
        errno=errno.EAFNOSUPPORT,
        why="Rare families (AF_ALG, AF_PACKET, AF_VSOCK ...) are where kernel bugs sit, and a "
        "vsock leads to the hypervisor: network namespaces do not hold it.",
    ),
    Refusal(
        calls=_words("socket"),
        when="AF_INET: other types than stream, datagram, raw",
        errno=errno.ESOCKTNOSUPPORT,
        why="They load the modules of SCTP and DCCP.",
    ),
    Refusal(
        calls=_words("socket"),
        when="AF_INET: other protocols than TCP, UDP, ICMP; AF_NETLINK: other than ROUTE",
        errno=errno.EPROTONOSUPPORT,
        why="The same for SCTP, SMC, L2TP, and MPTCP, without which Go takes TCP. getifaddrs "
        "needs ROUTE; the other netlinks speak to netfilter, audit and crypto.",
    ),
    Refusal(
        calls=_words("socketpair"),
        when="other families than AF_UNIX",
        errno=errno.EOPNOTSUPP,
        why="As Linux says for AF_INET; only TIPC has pairs besides.",
    ),
    Refusal(
        calls=_words("setsockopt"),
        when="TCP_ULP",
        errno=errno.ENOENT,
        why="It puts TLS or SMC under a TCP connection inside the kernel (CVE-2023-0461); "
        "OpenSSL does its own TLS.",
    ),
    Refusal(
        calls=_words(
            "io_uring_setup io_uring_enter io_uring_register userfaultfd vmsplice modify_ldt "
            "remap_file_pages"
        ),
        errno=errno.ENOSYS,
        why="Many kernel exploits are built from these, and every run-time does without.",
    ),
    Refusal(
        calls=_words("io_setup io_submit io_cancel io_getevents io_pgetevents io_destroy"),
        errno=errno.ENOSYS,
        why="fs.aio-max-nr is one number for the whole machine: one run could use it up for the "
        "host's database.",
    ),
    Refusal(
        calls=_words(
            "get_mempolicy set_mempolicy mbind set_mempolicy_home_node move_pages migrate_pages"
        ),
        errno=errno.ENOSYS,
        why="On which memory node a run lies is the host's business; libnuma and the JVM read "
        "this as a machine without nodes.",
    ),
    Refusal(
        calls=_words("memfd_secret"),
        errno=errno.ENOSYS,
        why="It takes pages out of the kernel's own map, which slows the whole host down.",
    ),
    Refusal(
        calls=_words("cachestat"),
        errno=errno.ENOSYS,
        why="It tells which of the host's files others have just used.",
    ),
    Refusal(
        calls=_words(
            "statmount listmount listns lsm_get_self_attr lsm_set_self_attr lsm_list_modules "
            "file_getattr file_setattr"
        ),
        errno=errno.ENOSYS,
        why="Young calls about the system itself; programs then read /proc.",
    ),
    Refusal(
        calls=_words("sync syncfs"),
        errno=0,
        why="They would stall the disks of the whole host, and a cell is all in memory.",
    ),
    Refusal(
        calls=_words(
            "_sysctl afs_syscall create_module epoll_ctl_old epoll_wait_old get_kernel_syms "
            "get_thread_area getpmsg lookup_dcookie nfsservctl putpmsg query_module security "
            "set_thread_area sysfs tuxcall uselib ustat vserver"
        ),
        errno=errno.ENOSYS,
        why="Relics, which most kernels no longer have.",
    ),
)
