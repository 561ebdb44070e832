"""Attacks on what there is a limited amount of."""

from tests.hostile.attack import CRASH, FAIL, MEMORY, OK, OUTPUT, TIME, Attack, bare

SHORT = {"wall_time": 0.7}
MIB = 1 << 20

ATTACKS = {
    # --- Processes and threads -------------------------------------------------------------------
    "a fork bomb": Attack(
        source="import os\nwhile True:\n    try: os.fork()\n    except OSError: pass\n",
        ends=(TIME,),
        limits=SHORT,
    ),
    "a bomb of threads": Attack(
        source="""
import threading, time
count = 0
try:
    for count in range(10000): threading.Thread(target=time.sleep, args=(99,), daemon=True).start()
except RuntimeError: pass
print("threads:", count)
""",
        says=r"threads: [1-9]\d?$",
    ),
    "a bomb of shells": Attack(
        source="import os; os.execv('/bin/sh', ['sh', '-c', 'b() { b | b & }; b; sleep 60'])",
        ends=(TIME, OK, FAIL),
        limits=SHORT,
    ),
    "zombies that nobody buries": Attack(
        source="""
import os
count = 0
try:
    while True:
        if os.fork() == 0: os._exit(0)
        count += 1
except OSError as error: print("zombies:", count, error.errno)
""",
        says=r"zombies: \d\d 11",
    ),
    "orphans for the init to bury, without end": Attack(
        source="""
import os
while True:
    if (child := os.fork()) == 0:
        try: os.fork()
        except OSError: pass
        os._exit(0)
    os.waitpid(child, 0)
""",
        ends=(TIME,),
        limits=SHORT,
    ),
    "a chain of exec": Attack(
        source="import os, sys; os.execv(sys.executable, [sys.executable, __file__])",
        ends=(TIME,),
        limits=SHORT,
    ),
    "workers of workers": Attack(
        language="JAVASCRIPT",
        source="""
const { Worker } = require("worker_threads");
new Worker(__filename).on("error", () => {}); new Worker(__filename).on("error", () => {});
setTimeout(() => {}, 60000);
""",
        ends=(TIME, MEMORY, CRASH, FAIL),
        limits=SHORT,
    ),
    # --- CPU time --------------------------------------------------------------------------------
    "a loop": Attack(source="while True: pass", ends=(TIME,), limits={"cpu_time": 0.5}),
    "sixty-four loops": Attack(
        source="import os\nfor _ in range(6): os.fork()\nwhile True: pass",
        ends=(TIME,),
        limits={"cpu_time": 1.0, "wall_time": 2.0},
    ),
    "a loop in short-lived children that nobody waits for": Attack(
        source="""
import os, signal, time
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
while True:
    try:
        if os.fork() == 0:
            while time.process_time() < 0.1: pass
            os._exit(0)
    except OSError: time.sleep(0.01)
""",
        ends=(TIME,),
        limits={"cpu_time": 0.5, "wall_time": 3.0},
        within=2.5,
    ),
    "a number too big to print": Attack(
        source="import sys; sys.set_int_max_str_digits(0); print(len(str(7 ** (10 ** 7))))",
        ends=(TIME,),
        limits={"cpu_time": 0.5},
    ),
    "a loop inside the C library": Attack(
        source="import re; re.match(r'(a*)*b', 'a' * 64)", ends=(TIME,), limits={"cpu_time": 0.5}
    ),
    "a regular expression without end": Attack(
        language="JAVASCRIPT",
        source="/^(a+)+$/.test('a'.repeat(64) + 'b')",
        ends=(TIME,),
        limits={"cpu_time": 0.5},
    ),
    "ears closed to every signal": Attack(
        source="""
import signal
for number in range(1, 65):
    try: signal.signal(number, signal.SIG_IGN)
    except (OSError, ValueError): pass
signal.pthread_sigmask(signal.SIG_BLOCK, range(1, 65))
while True: signal.pause()
""",
        ends=(TIME,),
        limits=SHORT,
    ),
    "ears closed to SIGXCPU": Attack(
        source="import signal; signal.signal(signal.SIGXCPU, signal.SIG_IGN)\nwhile True: pass",
        ends=(TIME,),
        limits={"cpu_time": 0.5},
    ),
    "timers without end": Attack(
        language="JAVASCRIPT",
        source="""
setInterval(() => { for (let n = 0; n < 1e5; n++) setTimeout(() => {}, 1e6) }, 0);
""",
        ends=(TIME, MEMORY, CRASH),
        limits=SHORT,
    ),
    "a wait on an atom": Attack(
        language="JAVASCRIPT",
        source="Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0)",
        ends=(TIME,),
        limits=SHORT,
    ),
    "an exit that hangs": Attack(
        source="import atexit, time; atexit.register(time.sleep, 99); print('leaving')",
        ends=(TIME,),
        says="leaving",
        limits=SHORT,
    ),
    "a main thread that leaves the others alone": Attack(
        source=bare("""
import threading, time
threading.Thread(target=time.sleep, args=(99,)).start()
print("leaving", flush=True)
call("exit", 0)
"""),
        ends=(TIME,),
        says="leaving",
        limits=SHORT,
    ),
    "a stop that nobody continues": Attack(
        source="import os, signal; print('stopping', flush=True); os.kill(0, signal.SIGSTOP)",
        ends=(TIME,),
        says="stopping",
        limits=SHORT,
    ),
    "the priority of a king": Attack(
        source=bare("""
import sched
attempt("nice", os.nice, -1)
attempt("SCHED_FIFO", os.sched_setscheduler, 0, os.SCHED_FIFO, os.sched_param(1))
attempt("SCHED_RR", os.sched_setscheduler, 0, os.SCHED_RR, os.sched_param(1))
deadline = (ctypes.c_uint64 * 6)(48 | (6 << 32), 0, 0, 10**7, 10**8, 10**8)
attempt("SCHED_DEADLINE", call, "sched_setattr", 0, ctypes.byref(deadline), 0)
attempt("real-time I/O", call, "ioprio_set", 1, 0, (1 << 13) | 4)
"""),
        says="refused SCHED_DEADLINE",
    ),
    # --- Memory ----------------------------------------------------------------------------------
    "memory in lists": Attack(
        source="all = []\nwhile True: all.append(' ' * (1 << 20))", ends=(MEMORY,)
    ),
    "memory in buffers": Attack(
        language="JAVASCRIPT",
        source="const all = []; while (true) all.push(Buffer.alloc(1 << 20, 'x'))",
        ends=(MEMORY, CRASH),
    ),
    "memory in objects": Attack(
        language="JAVASCRIPT",
        source="let all = []; for (;;) all = { all, more: new Array(1000).fill(all) }",
        ends=(MEMORY, CRASH),
    ),
    "memory in WebAssembly": Attack(
        language="JAVASCRIPT",
        source="""
const memory = new WebAssembly.Memory({ initial: 1, maximum: 65536 });
for (;;) { const at = memory.buffer.byteLength; memory.grow(256);
  new Uint8Array(memory.buffer, at).fill(1) }
""",
        ends=(MEMORY, CRASH, FAIL),
    ),
    "memory that processes share": Attack(
        source="""
import mmap
shared = mmap.mmap(-1, 1 << 30)
for at in range(0, 1 << 30, 4096): shared[at] = 1
print("BREACH")
""",
        ends=(MEMORY,),
    ),
    "memory in files without a name": Attack(
        source="""
import os
files, block = [], b"x" * (1 << 20)
while True:
    files.append(os.memfd_create("m"))
    for _ in range(32): os.write(files[-1], block)
""",
        ends=(MEMORY,),
        needs_counters="no process has these pages in its tables",
    ),
    "memory in detached System V segments": Attack(
        source=bare("""
while True:
    segment = call("shmget", 0, 32 << 20, 0o1600)
    at = call("shmat", segment, None, 0)
    ctypes.memset(at, 1, 32 << 20)
    call("shmdt", ctypes.c_void_p(at))
"""),
        ends=(MEMORY,),
        needs_counters="no process has these pages in its tables",
    ),
    "memory in sockets": Attack(
        source="""
import os, resource, socket
pairs, block = [], b"x" * 65536
try:
    while True:
        pairs.append(socket.socketpair())
        for end in pairs[-1]:
            end.setblocking(False)
            try:
                while True: end.send(block)
            except BlockingIOError: pass
except OSError as error: print("pairs:", len(pairs), error.errno)
""",
        ends=(OK, MEMORY),
    ),
    "memory in pipes": Attack(
        source="""
import os
count = 0
try:
    while True:
        reader, writer = os.pipe()
        os.set_blocking(writer, False)
        count += 1
        try:
            while True: os.write(writer, b"x" * 65536)
        except BlockingIOError: pass
except OSError as error: print("pipes:", count, error.errno)
""",
        says=r"pipes: \d{2,3} 24",
    ),
    "memory in page tables": Attack(
        source="""
import mmap
maps = []
while True:
    maps.append(mmap.mmap(-1, 1 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000))
    for at in range(0, 1 << 30, 2 << 20): maps[-1][at]
""",
        ends=(MEMORY, FAIL, TIME),
        limits=SHORT,
    ),
    "memory that is locked": Attack(
        source=bare("""
held = ctypes.create_string_buffer(32 << 20)
attempt("mlock", call, "mlock", ctypes.addressof(held), 32 << 20)
attempt("mlockall", call, "mlockall", 3)
attempt("more", lambda: __import__("resource").setrlimit(8, (-1, -1)))
"""),
        says="refused mlock ENOMEM",
    ),
    "memory that is promised at once": Attack(
        source="import mmap; mmap.mmap(-1, 4 << 30, flags=mmap.MAP_PRIVATE | 0x20 | 0x8000)",
        ends=(MEMORY, FAIL),
    ),
    "a terabyte that nobody touches": Attack(
        source="import mmap; mmap.mmap(-1, 1 << 40, flags=mmap.MAP_PRIVATE | 0x20 | 0x4000)",
        ends=(OK, FAIL),
    ),
    "a MemoryError of its own making": Attack(
        source="print('MemoryError: Killed', flush=True); bytearray(1 << 46)", ends=(FAIL,), code=1
    ),
    "a stack without a floor": Attack(
        source="import sys; sys.setrecursionlimit(10 ** 9)\ndef f(): f()\nf()",
        ends=(FAIL, CRASH, MEMORY, TIME),
        limits=SHORT,
    ),
    "a stack without a limit": Attack(
        source="""
import resource, threading
resource.setrlimit(resource.RLIMIT_STACK, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
import os, sys
os.execv(sys.executable, [sys.executable, "-c", "f = lambda: f(*[0] * 250)\\n"
    "import sys; sys.setrecursionlimit(10 ** 9)\\ndef g(): [*map(lambda _: g(), [0])]\\ng()"])
""",
        ends=(FAIL, CRASH, MEMORY, TIME),
        limits=SHORT,
    ),
    "a hiding place from the killer of processes": Attack(
        source="""
try:
    with open("/proc/self/oom_score_adj", "w") as file: file.write("-1000")
    print("BREACH")
except OSError as error: print("refused", error.errno, flush=True)
all = []
while True: all.append(bytearray(1 << 20))
""",
        ends=(MEMORY,),
        says="refused 30",
    ),
    # --- Descriptors and other objects of the kernel ---------------------------------------------
    "descriptors of every kind": Attack(
        source=bare("""
import resource, select, socket
kinds = {
    "eventfd": lambda: os.eventfd(0), "epoll": select.epoll, "socket": socket.socket,
    "timerfd": lambda: call("timerfd_create", 1, 0), "memfd": lambda: os.memfd_create("x"),
    "inotify": lambda: call("inotify_init1", 0), "pidfd": lambda: os.pidfd_open(os.getpid()),
    "signalfd": lambda: call("signalfd4", -1, ctypes.byref(ctypes.c_uint64(0)), 8, 0),
    "terminal": lambda: os.openpty(), "file": lambda: os.open("/dev/null", 0),
}
for name, make in kinds.items():
    kept = []
    try:
        while True: kept.append(make())
    except OSError as error: print(name, len(kept), error.errno)
    del kept
    os.closerange(3, 2048)
"""),
        says=r"file \d{2,4} 24",
        hides=r"\d{5}",
    ),
    "more descriptors than are allowed": Attack(
        source=bare("""
import resource
attempt("NOFILE", resource.setrlimit, resource.RLIMIT_NOFILE, (1 << 20, 1 << 20))
attempt("dup2", os.dup2, 1, 5000)
attempt("F_DUPFD", __import__("fcntl").fcntl, 1, 0, 5000)
"""),
        says="refused F_DUPFD",
    ),
    "descriptors in flight, in circles": Attack(
        source="""
import array, os, socket
count = 0
try:
    for _ in range(400):
        one, two = socket.socketpair()
        for a, b in ((one, two), (two, one)):
            a.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS,
                                array.array("i", [a.fileno(), b.fileno()]))])
        one.close(); two.close()
        count += 1
except OSError as error: print("stopped", error.errno)
print("in flight:", count)
""",
        says=r"in flight: \d+",
    ),
    "watches on everything": Attack(
        source=bare("""
watcher, count = call("inotify_init1", 0), 0
try:
    for folder, _, _ in os.walk("/usr"):
        call("inotify_add_watch", watcher, ctypes.c_char_p(folder.encode()), 0xFCE)
        count += 1
        if count == 2000: break
except OSError as error: print("stopped", error.errno)
print("watches:", count)
"""),
        says=r"watches: \d+",
    ),
    "signals that wait in a queue": Attack(
        source=bare("""
import signal
signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGRTMIN})
info, count = (ctypes.c_int * 32)(int(signal.SIGRTMIN), 0, -1), 0
try:
    while count < 10 ** 6:
        call("rt_sigqueueinfo", os.getpid(), int(signal.SIGRTMIN), ctypes.byref(info))
        count += 1
except OSError as error: print("queued:", count, error.errno)
"""),
        ends=(OK, MEMORY, TIME),
        limits={"wall_time": 3.0},
    ),
    "timers of the kernel": Attack(
        source=bare("""
count, timer = 0, ctypes.c_int()
try:
    while count < 10 ** 6:
        call("timer_create", 0, None, ctypes.byref(timer))
        count += 1
except OSError as error: print("timers:", count, error.errno)
"""),
        ends=(OK, MEMORY, TIME),
        limits={"wall_time": 3.0},
    ),
    "locks on what everybody reads": Attack(
        source=bare("""
import fcntl
file = os.open("/usr/bin/env", os.O_RDONLY)
attempt("a lease", fcntl.fcntl, file, fcntl.F_SETLEASE, fcntl.F_WRLCK)
attempt("a lock on a region", fcntl.lockf, file, fcntl.LOCK_EX | fcntl.LOCK_NB)
"""),
        says="refused a lease",
    ),
    "names of files that are not there": Attack(
        source="""
import os, time
count, end = 0, time.monotonic() + 0.8
while time.monotonic() < end:
    for _ in range(100): os.path.exists(f"/box/{count}-{'x' * 200}"); count += 1
print("asked:", count)
""",
        ends=(OK, MEMORY, TIME),
    ),
    "a look at /proc again and again": Attack(
        source="""
import os, time
end = time.monotonic() + 0.5
while time.monotonic() < end:
    for name in os.listdir("/proc"): os.path.exists(f"/proc/{name}/stat")
print("seen enough")
""",
        says="seen enough",
    ),
    # --- Scratch space ---------------------------------------------------------------------------
    "a file without end": Attack(
        source="""
size = 0
try:
    with open("/tmp/big", "wb", buffering=0) as file:
        while True: size += file.write(b"x" * (1 << 20))
except OSError as error: print("stopped at", size, error.errno)
""",
        says=r"stopped at 6\d{7} (27|28)$",
    ),
    "a hole as big as a disk": Attack(
        source=bare("""
file = os.open("/tmp/hole", os.O_CREAT | os.O_RDWR)
attempt("ftruncate", os.ftruncate, file, 1 << 45)
attempt("fallocate", os.posix_fallocate, file, 0, 1 << 40)
attempt("pwrite", os.pwrite, file, b"x", 1 << 44)
"""),
        says="refused pwrite EFBIG",
    ),
    "files that are deleted but open": Attack(
        source="""
import os, tempfile
held, size = [], 0
try:
    while True:
        held.append(tempfile.TemporaryFile(dir="/box", buffering=0))
        size += sum(held[-1].write(b"x" * 65536) for _ in range(16))
except OSError as error: print("stopped at", size >> 20, error.errno)
""",
        says=r"stopped at 6\d 28",
    ),
    "files in shared memory beside files in /tmp": Attack(
        source="""
import os
size = 0
for name in ("/dev/shm/a", "/tmp/b", "/box/c"):
    try:
        with open(name, "wb", buffering=0) as file:
            for _ in range(32 if "shm" in name else 99): size += file.write(b"x" * (1 << 20))
    except OSError as error: print("stopped at", size >> 20, error.errno)
print("in all", size >> 20)
""",
        says=r"in all 6[0-4]$",
    ),
    "folders in folders in folders": Attack(
        source="""
import os
depth = 0
try:
    while True: os.mkdir("d"); os.chdir("d"); depth += 1
except OSError as error: print("depth:", depth, error.errno)
""",
        says=r"depth: 40\d\d 28",
    ),
    "links to one file": Attack(
        source="""
import os
count = 0
try:
    while count < 10 ** 5: os.link("/box/main.py", f"/box/{count}"); count += 1
except OSError as error: print("links:", count, error.errno)
""",
        says=r"links: 40\d\d 28",
    ),
    "attributes on files": Attack(
        source="""
import os
size = 0
try:
    for count in range(4000):
        name = f"/box/{count}"
        open(name, "w").close()
        os.setxattr(name, "user.big", b"x" * 60000); size += 60000
except OSError as error: print("stopped at", size, error.errno)
print("attributes:", size)
""",
        ends=(OK, MEMORY),
    ),
    "a bomb of zeros": Attack(
        source="""
import zlib
squeezed = zlib.compress(bytes(200 << 20), 9)
try:
    with open("/tmp/zeros", "wb") as file:
        unpack = zlib.decompressobj()
        while data := unpack.decompress(squeezed or unpack.unconsumed_tail, 1 << 20):
            squeezed = b""
            file.write(data)
            squeezed = unpack.unconsumed_tail
except OSError as error: print("stopped", error.errno)
""",
        ends=(OK, MEMORY, FAIL),
        says="stopped (27|28)|^$",
    ),
    # --- Output ----------------------------------------------------------------------------------
    "a flood on stdout": Attack(
        source="while True: print('x' * 9999)", ends=(OUTPUT,), limits={"output": MIB}
    ),
    "a flood on stderr": Attack(
        language="JAVASCRIPT",
        source="while (true) process.stderr.write('y'.repeat(60000))",
        # Node keeps what a full pipe does not take; both limits are near.
        ends=(OUTPUT, MEMORY, CRASH),
    ),
    "a flood of single bytes": Attack(
        source="import os\nwhile True: os.write(1, b'x')", ends=(OUTPUT,), limits={"output": 20000}
    ),
    "a flood on both sides from many processes": Attack(
        source="""
import os
for _ in range(4): os.fork()
while True: os.write(1, b"x" * 5000); os.write(2, b"y" * 5000)
""",
        ends=(OUTPUT,),
    ),
    "a flood without a copy": Attack(
        source="""
import os
reader, writer = os.pipe()
if os.fork() == 0:
    while True: os.write(writer, b"x" * 65536)
while True: os.splice(reader, 1, 65536)
""",
        ends=(OUTPUT,),
    ),
    "a flood after the end": Attack(
        source="""
import os
for _ in range(8):
    if os.fork() == 0:
        os.setsid()
        while True: os.write(1, b"x" * 100)
os._exit(0)
""",
        ends=(OK, OUTPUT),
    ),
    "a pipe of its own size and manners": Attack(
        source="""
import fcntl, os
for size in (4096, 1 << 20, 1 << 30):
    try: fcntl.fcntl(1, 1031, size)
    except OSError: pass
os.set_blocking(1, False)
fcntl.fcntl(1, fcntl.F_SETOWN, 1)
try: fcntl.fcntl(1, fcntl.F_SETSIG, 9); fcntl.fcntl(1, fcntl.F_SETFL, os.O_ASYNC)
except OSError: pass
while True:
    try: os.write(1, b"x" * 5000)
    except BlockingIOError: pass
""",
        ends=(OUTPUT,),
    ),
}
