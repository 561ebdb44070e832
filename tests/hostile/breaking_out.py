"""Attacks on the walls themselves."""

from tests.hostile.attack import CRASH, FAIL, OK, TIME, Attack, bare

SHORT = {"wall_time": 0.7}

ATTACKS = {
    "the capabilities that are left": Attack(
        source="""
import re
facts = dict(re.findall(r"(\\w+):[ \\t]*(.*)", open("/proc/self/status").read()))
print([int(facts[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")],
      facts["NoNewPrivs"], facts["Seccomp"], facts["Groups"])
""",
        says=r"^\[0, 0, 0, 0, 0\] 1 2\s*$",
    ),
    "capabilities and users to be gained": Attack(
        source=bare("""
header, full = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)(*[0xFFFFFFFF] * 6)
attempt("capset", call, "capset", header, full)
attempt("ambient", call, "prctl", 47, 2, 21, 0, 0)
attempt("no no-new-privs", call, "prctl", 38, 0, 0, 0, 0)
attempt("securebits", call, "prctl", 28, 0, 0, 0, 0)
attempt("setuid", os.setuid, 0)
attempt("setresuid", os.setresuid, 0, 0, 0)
attempt("setgid", os.setgid, 0)
attempt("setgroups", os.setgroups, [0])
"""),
        says="refused setgroups EPERM",
    ),
    "programs that run as somebody else": Attack(
        source=bare("""
import glob, shutil, stat, subprocess
for path in glob.glob("/usr/bin/*") + glob.glob("/usr/sbin/*") + glob.glob("/usr/lib/*/*"):
    try:
        if not os.stat(path).st_mode & 0o6000: continue
    except OSError: continue
    try: asked = subprocess.run([path, "-c", "id -u"], stdin=-3, capture_output=True, timeout=2)
    except (OSError, subprocess.TimeoutExpired) as error: print("refused", path, error)
    else: print("BREACH" if asked.stdout.strip() == b"0" else "tried", path)
shutil.copy("/usr/bin/id", "/box/id")
os.chmod("/box/id", 0o6755)
print("own:", subprocess.check_output(["/box/id", "-u"]))
attempt("file capabilities", os.setxattr, "/box/id", "security.capability",
        bytes.fromhex("0100000202000000000000000000000000000000"))
print("uid", os.getuid(), os.geteuid())
"""),
        says=r"own: b'1000\\n'",
    ),
    "namespaces of its own": Attack(
        source=bare("""
import signal, subprocess
flags = {"user": 1 << 28, "mount": 1 << 17, "pid": 1 << 29, "net": 1 << 30, "time": 1 << 7}
for name, flag in flags.items():
    attempt("unshare " + name, call, "unshare", flag)
    # The kernel takes the time flag of clone for a part of the signal.
    if name != "time": attempt("clone " + name, call, "clone", flag | signal.SIGCHLD, 0, 0, 0, 0)
arguments = (ctypes.c_uint64 * 11)(1 << 28, *[0] * 10)
attempt("clone3", call, "clone3", arguments, 88)
for kind in ("user", "mnt", "pid", "net"):
    attempt("open " + kind, os.open, f"/proc/1/ns/{kind}", os.O_RDONLY)
    own = os.open(f"/proc/self/ns/{kind}", os.O_RDONLY)
    attempt("setns " + kind, call, "setns", own, 0)
print("by hand:", subprocess.run(["unshare", "-Ur", "id"], capture_output=True).stdout)
"""),
        says=r"(?s)refused clone3 ENOSYS.*by hand: b''",
    ),
    "a second lock behind the filter": Attack(
        source="""
from pathlib import Path
print("namespaces:", Path("/proc/sys/user/max_user_namespaces").read_text())
for name in ("max_user_namespaces", "max_inotify_instances"):
    try: Path("/proc/sys/user", name).write_text("1000"); print("BREACH")
    except OSError as error: print("refused", name, error.errno)
""",
        says=r"(?s)namespaces: 0\n.*refused max_inotify_instances",
    ),
    "the mounts": Attack(
        source=bare("""
attempt("mount", call, "mount", b"none", b"/tmp", b"tmpfs", 0, None)
attempt("remount", call, "mount", None, b"/usr", None, 32 | 4096, None)
attempt("remount /proc", call, "mount", None, b"/proc", None, 32 | 4096, None)
attempt("bind", call, "mount", b"/", b"/box", None, 4096, None)
attempt("cgroup", call, "mount", b"c", b"/tmp", b"cgroup", 0, b"memory")
attempt("umount", call, "umount2", b"/box", 2)
attempt("pivot_root", call, "pivot_root", b"/box", b"/box")
attempt("chroot", os.chroot, "/box")
attempt("open_tree", call, "open_tree", -100, b"/", 1)
attempt("move_mount", call, "move_mount", -1, b"", -1, b"", 0)
attempt("fsopen", call, "fsopen", b"tmpfs", 0)
attempt("mount_setattr", call, "mount_setattr", -100, b"/", 0, None, 0)
attempt("rmdir", os.rmdir, "/box")
attempt("rename", os.rename, "/box", "/boxes")
"""),
        says="refused mount_setattr EPERM",
    ),
    "what is read-only": Attack(
        source="""
import os, sys
paths = ["/new", "/etc/new", "/usr/new", "/usr/bin/env", "/greenroom/new", "/greenroom/init.pyc",
         "/dev/new", "/proc/new", "/etc/passwd", "/etc/ld.so.cache", sys.executable, os.__file__,
         "/usr/local/new", "/proc/self/exe", "/proc/1/exe", "/lib64/ld-linux-x86-64.so.2"]
for path in paths:
    for flags in (os.O_WRONLY | os.O_CREAT, os.O_RDWR | os.O_TRUNC):
        try: os.open(path, flags); print("BREACH", path)
        except OSError as error: print("refused", path, error.errno)
for folder in ("/", "/etc", "/usr", "/dev", "/greenroom"):
    try: os.chmod(folder, 0o777); print("BREACH", folder)
    except OSError as error: print("refused chmod", folder, error.errno)
""",
        says="refused /proc/self/exe (26|30)",
    ),
    "the knobs of the kernel": Attack(
        source="""
names = ("kernel/core_pattern", "kernel/hostname", "kernel/modprobe", "kernel/ns_last_pid",
         "kernel/yama/ptrace_scope", "kernel/randomize_va_space", "kernel/pty/max",
         "vm/overcommit_memory", "vm/drop_caches", "fs/file-max", "fs/suid_dumpable",
         "fs/binfmt_misc/register", "net/ipv4/ip_forward", "user/max_user_namespaces")
paths = [f"/proc/sys/{name}" for name in names] + ["/proc/sysrq-trigger", "/proc/self/uid_map",
         "/proc/self/setgroups", "/proc/self/oom_score_adj", "/proc/self/loginuid",
         "/proc/self/coredump_filter", "/proc/self/attr/current", "/proc/self/autogroup",
         "/proc/self/timens_offsets", "/proc/1/oom_score_adj", "/sys/kernel/uevent_helper",
         "/sys/fs/cgroup/cgroup.procs", "/sys/fs/cgroup/release_agent", "/proc/mtrr"]
for path in paths:
    try:
        with open(path, "w") as file: file.write("1")
        print("BREACH", path)
    except OSError as error: print("refused", path, error.errno)
""",
        says="refused /proc/sysrq-trigger",
    ),
    "the machine itself": Attack(
        source=bare("""
import time
attempt("reboot", call, "reboot", 0xFEE1DEAD, 672274793, 0x4321FEDC, None)
attempt("hostname", call, "sethostname", b"owned", 5)
attempt("clock", time.clock_settime, time.CLOCK_REALTIME, 0)
attempt("swap", call, "swapon", b"/tmp/x", 0)
attempt("module", call, "init_module", None, 0, b"")
attempt("kexec", call, "kexec_load", 0, 0, None, 0)
attempt("log", call, "syslog", 3, None, 0)
attempt("accounting", call, "acct", None)
attempt("hangup", call, "vhangup")
"""),
        says="refused hangup EPERM",
    ),
    "the rare doors of the kernel": Attack(
        source=bare("""
room = ctypes.create_string_buffer(256)
attempt("io_uring", call, "io_uring_setup", 8, room)
attempt("aio", call, "io_setup", 8, room)
attempt("bpf", call, "bpf", 0, room, 128)
attempt("perf", call, "perf_event_open", room, 0, -1, -1, 0)
attempt("userfaultfd", call, "userfaultfd", 0)
attempt("fanotify", call, "fanotify_init", 0, 0)
attempt("keyring", call, "keyctl", 1, b"own")
attempt("key", call, "add_key", b"user", b"a", b"b", 1, -3)
attempt("vmsplice", call, "vmsplice", 1, room, 1, 0)
attempt("personality", call, "personality", 0x0400000)
attempt("huge pages", call, "mmap", None, 2 << 20, 3, 0x40022, -1, 0)
attempt("merged pages", call, "madvise", None, 4096, 12)
attempt("secret pages", call, "memfd_secret", 0)
attempt("node", call, "mbind", None, 0, 0, None, 0, 0)
"""),
        says="refused userfaultfd ENOSYS",
    ),
    "calls of another architecture": Attack(
        source="""
import ctypes, mmap, platform
if platform.machine() != "x86_64":
    import os; os.kill(os.getpid(), 31)
libc = ctypes.CDLL(None, use_errno=True)
print("x32:", libc.syscall(0x40000000 + 39), ctypes.get_errno(), flush=True)
code = mmap.mmap(-1, 4096, prot=7)
code.write(bytes.fromhex("b814000000" "cd80" "c3"))
address = ctypes.addressof(ctypes.c_char.from_buffer(code))
print("BREACH", ctypes.CFUNCTYPE(ctypes.c_long)(address)())
""",
        ends=(CRASH,),
        signal="SIGSYS",
        says="x32: -1 38|^$",
    ),
    "a filter of its own on top": Attack(
        source=bare("""
print("tighten:", call("prctl", 38, 1, 0, 0, 0))
program = (ctypes.c_uint16 * 4)(6, 0, 0, 0x7FFF)
header = (ctypes.c_uint64 * 2)(1, ctypes.addressof(program))
print("allow all:", call("prctl", 22, 2, ctypes.addressof(header), 0, 0))
attempt("mount", call, "mount", b"none", b"/tmp", b"tmpfs", 0, None)
attempt("ptrace", call, "ptrace", 0, 0, 0, 0)
"""),
        says="(?s)allow all: 0.*refused ptrace EPERM",
    ),
    "another process": Attack(
        source=bare("""
child = os.fork()
if child == 0: __import__("time").sleep(60)
for pid in (1, child):
    attempt(f"ptrace {pid}", call, "ptrace", 16, pid, 0, 0)
    attempt(f"seize {pid}", call, "ptrace", 0x4206, pid, 0, 0)
    room = (ctypes.c_uint64 * 2)(0x400000, 8)
    attempt(f"read {pid}", call, "process_vm_readv", pid, room, 1, room, 1, 0)
    attempt(f"write {pid}", call, "process_vm_writev", pid, room, 1, room, 1, 0)
    attempt(f"compare {pid}", call, "kcmp", pid, os.getpid(), 0, 0, 0)
    pidfd = os.pidfd_open(pid)
    attempt(f"steal {pid}", call, "pidfd_getfd", pidfd, 3, 0)
    attempt(f"advise {pid}", call, "process_madvise", pidfd, room, 1, 4, 0)
attempt("memory of 1", open, "/proc/1/mem", "r+b")
attempt("trace me", call, "ptrace", 0, 0, 0, 0)
"""),
        says="refused steal 1 EPERM",
    ),
    "signals to the init, each one": Attack(
        source=bare("""
import signal
pidfd, sent = os.pidfd_open(1), 0
for number in range(1, 65):
    info = (ctypes.c_int * 32)(number, 0, -1)
    for send in (lambda: os.kill(1, number), lambda: call("tgkill", 1, 1, number),
                 lambda: call("rt_sigqueueinfo", 1, number, ctypes.byref(info)),
                 lambda: signal.pidfd_send_signal(pidfd, number)):
        try: send(); sent += 1
        except OSError: pass
for _ in range(3): os.kill(1, signal.SIGSTOP); os.kill(1, signal.SIGKILL)
print("sent", sent, flush=True)
os._exit(6)
"""),
        ends=(FAIL,),
        code=6,
        says=r"sent \d+",
    ),
    "signals to everybody": Attack(
        source="""
import os, signal
for pid in (-1, os.getppid(), 1):
    try: os.kill(pid, signal.SIGKILL); print("sent", pid)
    except OSError as error: print("refused", pid, error.errno)
print("alive", flush=True)
os.kill(0, signal.SIGKILL)
""",
        ends=(CRASH,),
        signal="SIGKILL",
        says="alive",
    ),
    "signals to every number": Attack(
        source="""
import os
hit = []
for pid in range(2, 70000):
    try:
        if pid != os.getpid(): os.kill(pid, 9); hit.append(pid)
    except ProcessLookupError: pass
    except PermissionError: hit.append(-pid)
print("BREACH" if hit else "nobody", hit)
""",
        says="nobody",
    ),
    "the clock, the place and the rights of the init": Attack(
        source=bare("""
import resource
for name in ("RLIMIT_AS", "RLIMIT_CPU", "RLIMIT_NOFILE", "RLIMIT_FSIZE"):
    attempt(name, resource.prlimit, 1, getattr(resource, name), (0, 0))
for attack in (lambda: os.setpriority(os.PRIO_PROCESS, 1, 19),
               lambda: os.sched_setscheduler(1, os.SCHED_IDLE, os.sched_param(0)),
               lambda: os.sched_setaffinity(1, {0}), lambda: os.setpgid(1, os.getpid()),
               lambda: call("ioprio_set", 1, 1, 3 << 13), lambda: os.kill(1, 0)):
    try: print("harmless", attack())
    except OSError as error: print("refused", error.errno)
os._exit(7)
"""),
        ends=(FAIL,),
        code=7,
    ),
    "limits to be raised": Attack(
        source="""
import resource
for name in ("NOFILE", "FSIZE", "CPU", "CORE", "MEMLOCK", "SIGPENDING", "MSGQUEUE",
             "NICE", "RTPRIO"):
    number = getattr(resource, "RLIMIT_" + name)
    _, hard = resource.getrlimit(number)
    for value in ((resource.RLIM_INFINITY,) * 2, (hard + 1,) * 2):
        try: resource.setrlimit(number, value); print("BREACH", name, hard)
        except (OSError, ValueError): print("refused", name, hard)
""",
        says="(?s)refused NOFILE 1024.*refused SIGPENDING 1024.*refused RTPRIO 0",
    ),
    "letters to a terminal": Attack(
        source=bare("""
import fcntl
master, slave = os.openpty()
for fd in (0, 1, 2, master, slave): attempt(f"TIOCSTI {fd}", fcntl.ioctl, fd, 0x5412, b"x")
attempt("discipline", fcntl.ioctl, slave, 0x5423, (5).to_bytes(4, "little"))
attempt("screen", fcntl.ioctl, slave, 0x541C, b"\\2")
attempt("high bits", call, "ioctl", slave, 0x5412 | 1 << 40, b"x")
attempt("the host's terminal", os.open, "/dev/tty", os.O_RDWR)
"""),
        says="refused the host's terminal ENXIO",
    ),
    "writes to every device": Attack(
        source=bare("""
import fcntl
for name in ("null", "zero", "full", "random", "urandom"):
    fd = os.open("/dev/" + name, os.O_RDWR)
    try: print(name, os.write(fd, b"x" * 4096))
    except OSError as error: print(name, error.errno)
    attempt("entropy " + name, fcntl.ioctl, fd, 0x5206, b"\\0" * 16)
print("done")
"""),
        says="full 28",
    ),
    "a program in memory": Attack(
        source="""
import os
fd = os.memfd_create("x")
os.write(fd, open("/usr/bin/id", "rb").read())
if (child := os.fork()) == 0: os.execve(fd, ["id"], {})
os.waitpid(child, 0)
with open("/dev/shm/id", "wb") as file: file.write(open("/usr/bin/id", "rb").read())
os.chmod("/dev/shm/id", 0o755)
os.execv("/dev/shm/id", ["id"])
""",
        says=r"uid=1000\(sandbox\)",
        hides="uid=0",
    ),
    "a child of the init's": Attack(
        source=bare("""
import signal
CLONE_PARENT = 0x8000
if call("clone", CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0) == 0: os._exit(77)
if call("clone", CLONE_PARENT | signal.SIGCHLD, 0, 0, 0, 0) == 0: os.kill(os.getpid(), 11)
__import__("time").sleep(0.2)
os._exit(9)
"""),
        ends=(FAIL,),
        code=9,
    ),
    "a thread that becomes the program": Attack(
        source="""
import os, threading, time
threading.Thread(target=os.execv, args=("/bin/sh", ["sh", "-c", "exit 10"])).start()
time.sleep(60)
""",
        ends=(FAIL,),
        code=10,
    ),
    "locks that die with their owner": Attack(
        source=bare("""
import threading, time
words = (ctypes.c_uint32 * 1024)()
heads = [(ctypes.c_uint64 * 3)(0, 0, 0) for _ in range(8)]
for head in heads: head[0] = ctypes.addressof(head)  # a list that is a circle
def die(head):
    call("set_robust_list", ctypes.addressof(head), 24)
    words[0] = 0x40000000 | (call("gettid") & 0x3FFFFFFF)
for head in heads: threading.Thread(target=die, args=(head,)).start()
attempt("requeue to itself", call, "futex", words, 12, 1, 1, words, 0)
head = (ctypes.c_uint64 * 3)(0xDEAD0000, 8, 0xDEAD0000)
call("set_robust_list", ctypes.addressof(head), 24)
print("alive", flush=True)
os._exit(11)
"""),
        ends=(FAIL,),
        code=11,
        says="alive",
    ),
    "a core file": Attack(
        source="""
import os, resource, signal
for value in (resource.RLIM_INFINITY, 1 << 30, 2):
    try: resource.setrlimit(resource.RLIMIT_CORE, (value, value)); print("BREACH")
    except (OSError, ValueError): print("refused")
for number in (signal.SIGABRT, signal.SIGSEGV, signal.SIGQUIT, signal.SIGSYS):
    if (child := os.fork()) == 0: os.kill(os.getpid(), number)
    _, status = os.waitpid(child, 0)
    print(os.WTERMSIG(status), os.WCOREDUMP(status))
print(os.listdir("/box"), os.listdir("/tmp"))
""",
        says=r"(?s)6 False.*\['main.py'\] \[\]",
    ),
    "an abort of Node": Attack(
        language="JAVASCRIPT", source="process.abort()", ends=(CRASH,), signal="SIGABRT"
    ),
    "the init of Node": Attack(
        language="JAVASCRIPT",
        source="""
for (const name of ["SIGTERM", "SIGKILL", "SIGSTOP", "SIGINT", "SIGCHLD"]) {
  try { process.kill(1, name); console.log("sent", name) } catch (error) { console.log(error.code) }
}
for (const change of ["setuid", "setgid", "setgroups", "initgroups"]) {
  try { process[change](change === "setgroups" ? [0] : 0, 0); console.log("BREACH", change) }
  catch (error) { console.log("refused", change) }
}
process.exitCode = 12;
""",
        ends=(FAIL,),
        code=12,
        says="refused setuid",
    ),
    "native code by way of Node": Attack(
        language="JAVASCRIPT",
        source="""
const fs = require("fs");
for (const path of ["/usr/lib/x86_64-linux-gnu/libc.so.6", "/lib64/libc.so.6", "/proc/self/exe"]) {
  try { process.dlopen({ exports: {} }, path); console.log("loaded", path) }
  catch (error) { console.log("refused", error.code) }
}
try { fs.writeFileSync("/proc/self/mem", "x"); console.log("BREACH") }
catch (error) { console.log("refused", error.code) }
""",
        ends=(OK, CRASH),
    ),
    "a way out by time": Attack(
        source=bare("""
import signal, time
signal.signal(signal.SIGALRM, lambda *_: None)
signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
while True: time.sleep(60)
"""),
        ends=(TIME,),
        limits=SHORT,
    ),
}
