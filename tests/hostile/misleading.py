"""Attacks on the truth: how the program ended, what it said, and what is left for the next."""

from tests.hostile.attack import CRASH, FAIL, MEMORY, OK, OUTPUT, TIME, Attack, bare

SHORT = {"wall_time": 0.7}

# What the records of our init look like, in Python's words.
RECORDS = """
import os, struct
record = struct.Struct("<1siddq200s")
forged = record.pack(b"X", 0, 0.0, 0.0, 0, b"") + record.pack(b"S", 0, 0.0, 0.0, 0, b"")
"""

ATTACKS = {
    # --- Forged ends -----------------------------------------------------------------------------
    "a success written on the wall": Attack(
        source="""
print('{"status": "SUCCEEDED", "exit_code": 0, "done": true}')
print("\\x00\\x00\\x00\\x00\\x1e\\n__EXIT__ 0", flush=True)
raise SystemExit(9)
""",
        ends=(FAIL,),
        code=9,
    ),
    "records of ours on the output": Attack(
        source=f"{RECORDS}\nfor fd in (1, 2) * 9: os.write(fd, forged)\nos._exit(5)",
        ends=(FAIL,),
        code=5,
    ),
    "records of ours on every descriptor": Attack(
        source=f"""{RECORDS}
import socket
for fd in range(3, 1024):
    try: os.write(fd, forged); print("BREACH", fd)
    except OSError: pass
for number in range(3, 64):
    for path in (f"/proc/1/fd/{{number}}", f"/proc/1/task/1/fd/{{number}}"):
        try:
            with open(path, "wb") as file: file.write(forged)
            print("BREACH", path)
        except OSError: pass
print("tried")
raise SystemExit(4)
""",
        ends=(FAIL,),
        code=4,
        says="tried",
    ),
    "every number that means something elsewhere": Attack(
        source="""
import os, sys
print("Killed\\nMemoryError\\nTime limit exceeded", file=sys.stderr, flush=True)
os._exit(137)
""",
        ends=(FAIL,),
        code=137,
    ),
    "a kill of its own that looks like ours": Attack(
        source="import os; print('up', flush=True); os.kill(os.getpid(), 9)",
        ends=(CRASH,),
        signal="SIGKILL",
        says="up",
    ),
    "a time limit of its own": Attack(
        source="""
import resource
resource.setrlimit(resource.RLIMIT_CPU, (0, 0))
while True: pass
""",
        ends=(CRASH,),
        signal="SIGKILL",
    ),
    "a size limit of its own": Attack(
        source="""
import resource, signal
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
resource.setrlimit(resource.RLIMIT_FSIZE, (1, 1))
open("/box/x", "w").write("xx" * 9999)
""",
        ends=(CRASH,),
        signal="SIGXFSZ",
    ),
    "a signal without a name": Attack(
        source="import os; os.kill(os.getpid(), 45)", ends=(CRASH,), signal="SIG45"
    ),
    "no output to write to": Attack(
        source="import os; os.closerange(0, 1024)\nwhile True: pass",
        ends=(TIME,),
        limits=SHORT,
    ),
    "an end without descriptors": Attack(
        source="import os; os.closerange(0, 1024); os._exit(8)", ends=(FAIL,), code=8
    ),
    "an output that belongs to a stranger": Attack(
        source="""
import os
reader, writer = os.pipe()
os.dup2(writer, 1); os.dup2(reader, 0)
os.write(1, b"to myself\\n")
os.write(2, os.read(0, 99))
os._exit(13)
""",
        ends=(FAIL,),
        code=13,
        says=r"\A\Z",
    ),
    "an answer long after the end": Attack(
        source="""
import os, time
if os.fork() == 0:
    os.setsid()
    while True:
        os.write(1, b"late "); os.write(2, b"late "); time.sleep(0.001)
print("first", flush=True)
os._exit(0)
""",
        ends=(OK,),
        says="first",
        within=3.0,
    ),
    "two processes that end each other": Attack(
        source="""
import os, signal, time
parent = os.getpid()
if (child := os.fork()) == 0:
    time.sleep(0.1)
    os.kill(parent, signal.SIGTERM)
    time.sleep(60)
time.sleep(60)
""",
        ends=(CRASH,),
        signal="SIGTERM",
    ),
    "a sacrifice of a child": Attack(
        source="""
import os
if os.fork() == 0:
    everything = []
    while True: everything.append(bytearray(b"x") * (1 << 20))
os.wait()
print("innocent")
""",
        ends=(MEMORY,),
    ),
    # --- Strange words ---------------------------------------------------------------------------
    "bytes that are no text": Attack(
        source="""
import os
os.write(1, bytes(range(256)) * 8 + b"\\xff\\xfe\\0\\xed\\xa0\\x80\\xf4\\x90\\x80\\x80")
os.write(1, b"\\x1b[2J\\x1b]0;owned\\x07\\x1b[?1049h\\r\\n\\x85\\xe2\\x80\\xa8\\xe2\\x80\\xae")
""",
        says="owned",
    ),
    "a line without end": Attack(
        source="import os\nwhile True: os.write(1, b'\\xe2\\x82')",
        ends=(OUTPUT,),
        limits={"output": 50_001},
    ),
    "names that no one can pronounce": Attack(
        source="""
import os
names = [b"-rf", b"\\n", b"\\xff\\xfe", b"a" * 255, "\\u202egpj.exe".encode(), b"...", b"\\x1b[2J",
         b" ", b"*", b"$(id)", b"main.py ", b"\\\\", b"%s%n", b"con", b"\\xed\\xa0\\x80"]
for folder in (b"/box/", b"/tmp/", b"/dev/shm/"):
    for name in names:
        os.mkdir(folder + name)
        os.close(os.open(folder + name + b"/" + name, os.O_CREAT | os.O_WRONLY))
        os.symlink(b"../" + name, folder + name + b"/link")
        os.chmod(folder + name, 0)
print("made", len(names))
""",
        says="made 15",
    ),
    "folders that lock everybody out": Attack(
        source="""
import os
os.makedirs("/box/a/b/c")
for folder in ("/box/a/b/c", "/box/a/b", "/box/a", "/box", "/tmp", "/dev/shm"): os.chmod(folder, 0)
os.rename("/box/main.py", "/box/other") if os.access("/box", os.W_OK) else None
print("locked")
""",
        says="locked",
    ),
    "an argument list of lies": Attack(
        source=bare("""
call("prctl", 15, b"bwrap\\0", 0, 0, 0)
attempt("rewrite", call, "prctl", 35, 8, 0, 0, 0)
print(open("/proc/self/comm").read())
"""),
        says="(?s)refused rewrite EPERM.*bwrap",
    ),
    # --- Words for the next run ------------------------------------------------------------------
    "files for the next run": Attack(
        source="""
import os
for folder in ("/box", "/tmp", "/dev/shm", "/dev/mqueue", "/run", "/var/tmp", "/usr/local"):
    try:
        if "leftover" in os.listdir(folder): print("BREACH", folder)
        open(folder + "/leftover", "w").close()
    except OSError as error: print("refused", folder, error.errno)
print("seen", os.listdir("/box"))
""",
        says=r"seen \['main.py', 'leftover'\]|seen \['leftover', 'main.py'\]",
        times=2,
    ),
    "objects of System V for the next run": Attack(
        source=bare("""
for kind, arguments in (("shmget", (0x6EE1, 4096)), ("semget", (0x6EE1, 1)), ("msgget", (0x6EE1,))):
    attempt(kind, call, kind, *arguments, 0)
    print("made", kind, call(kind, *arguments, 0o1666))
queue = b"leftover"
attempt("mq_open", call, "mq_open", queue, 0, 0, None)
print("made mq_open", call("mq_open", queue, 0o100 | 2, 0o666, None) > 0)
"""),
        says="(?s)refused shmget ENOENT.*refused mq_open ENOENT.*made mq_open True",
        times=2,
    ),
    "keys and names for the next run": Attack(
        source=bare("""
import socket
attempt("request_key", call, "request_key", b"user", b"leftover", None, -4)
attempt("add_key", call, "add_key", b"user", b"leftover", b"x", 1, -4)
name = socket.socket(socket.AF_UNIX)
print("connect", name.connect_ex("\\0leftover"))
other = socket.socket(socket.AF_UNIX); other.bind("\\0leftover"); other.listen()
if os.fork() == 0: os.setsid(); __import__("time").sleep(60)
"""),
        says="connect 111",
        times=2,
    ),
    "a name of its own that is no text": Attack(
        source=bare("""
import time
for name in (b"\\xff\\xfe", b"\\x0bRssAnonQ", b") R 1 1 1 1", b"\\n", b""):
    call("prctl", 15, ctypes.c_char_p(name))
    time.sleep(0.1)
print("named")
"""),
        says="named",
    ),
}
