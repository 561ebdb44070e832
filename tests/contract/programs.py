"""The programs that the contract is tested with: each written once per language.

A new language adds its version of each; a test that lacks one says so.
"""

import pytest


class Program(dict[str, str]):
    """Sources by language id."""

    def __init__(self, what: str, **sources: str) -> None:
        super().__init__(sources)
        self._what = what

    def __missing__(self, language: str) -> str:
        pytest.fail(f"tests/contract/programs.py has no program for {language} that {self._what}")


ECHO = Program(
    "copies its input to its output",
    PYTHON="import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())",
    JAVASCRIPT="process.stdin.pipe(process.stdout)",
)
ECHO_BY_NAME = Program(
    "copies /dev/stdin to /dev/stdout and /dev/stderr",
    PYTHON="""
data = open("/dev/stdin", "rb").read()
for name in ("/dev/stdout", "/dev/stderr"): open(name, "wb").write(data)
""",
    JAVASCRIPT="""
const fs = require("fs"), data = fs.readFileSync("/dev/stdin");
for (const name of ["/dev/stdout", "/dev/stderr"]) fs.writeFileSync(name, data);
""",
)
ARGUMENTS = Program(
    "prints its arguments as JSON",
    PYTHON="import json, sys; print(json.dumps(sys.argv[1:]))",
    JAVASCRIPT="console.log(JSON.stringify(process.argv.slice(2)))",
)
EXIT = Program(
    "exits with its first argument",
    PYTHON="import sys; sys.exit(int(sys.argv[1]))",
    JAVASCRIPT="process.exit(Number(process.argv[2]))",
)
THROW = Program(
    "fails by an error that nobody catches, with the text `boom`",
    PYTHON="def fail(): raise ValueError('boom')\nfail()",
    JAVASCRIPT="function fail() { throw new Error('boom') }\nfail()",
)
KILL_SELF = Program(
    "sends itself the signal that its first argument names",
    PYTHON="""
import os, signal, sys, time
os.kill(os.getpid(), getattr(signal, sys.argv[1]))
time.sleep(60)
""",
    JAVASCRIPT="process.kill(process.pid, process.argv[2]); setTimeout(() => {}, 60000)",
)
COUNT = Program(
    "writes the numbers below 2000 to stdout and their negatives to stderr, a line each",
    PYTHON="""
import sys
for n in range(2000):
    print(n, flush=True)
    print(-n, file=sys.stderr, flush=True)
""",
    JAVASCRIPT="for (let n = 0; n < 2000; n++) { console.log(n); console.error(String(-n)) }",
)
ALL_BYTES = Program(
    "writes every byte, a surrogate and a torn character to stdout, and the same twice to stderr",
    PYTHON="""
import os
data = bytes(range(256)) + b"\\xed\\xa0\\x80" + b"\\xe2\\x82"
os.write(1, data)
os.write(2, data * 2)
""",
    JAVASCRIPT="""
const all = Buffer.from([...Array(256).keys(), 0xed, 0xa0, 0x80, 0xe2, 0x82]);
process.stdout.write(all);
process.stderr.write(Buffer.concat([all, all]));
""",
)
FLOOD = Program(
    "writes as many bytes as its second argument says to the descriptor of its first",
    PYTHON="""
import os, sys
fd, left = int(sys.argv[1]), int(sys.argv[2])
while left: left -= os.write(fd, b"x" * min(left, 65536))
""",
    JAVASCRIPT="""
const fs = require("fs"), fd = Number(process.argv[2]), block = Buffer.alloc(65536, "x");
let left = Number(process.argv[3]);
while (left) left -= fs.writeSync(fd, block, 0, Math.min(left, block.length));
""",
)
FLOOD_FOR_EVER = Program(
    "writes to stdout without end, in the language's own way",
    PYTHON="while True: print('x' * 1000)",
    JAVASCRIPT="for (;;) console.log('x'.repeat(1000))",
)
CLOSE_OUTPUT = Program(
    "writes, closes stdout and exits with 3",
    PYTHON="import os; os.write(1, b'before\\n'); os.close(1); os._exit(3)",
    JAVASCRIPT="""
const fs = require("fs");
fs.writeSync(1, "before\\n"); fs.closeSync(1); process.exit(3);
""",
)
NOTHING = Program("does nothing at all", PYTHON="pass", JAVASCRIPT=";")
SLEEP = Program(
    "says `up` and waits for an hour",
    PYTHON="import time; print('up', flush=True); time.sleep(3600)",
    JAVASCRIPT="console.log('up'); setTimeout(() => {}, 3600000)",
)
BURN = Program(
    "says `up` and computes for ever",
    PYTHON="print('up', flush=True)\nwhile True: pass",
    JAVASCRIPT="console.log('up'); for (;;);",
)
BURN_IN_CHILDREN = Program(
    "computes for ever in four processes at once, and waits",
    PYTHON="""
import os, time
for _ in range(4):
    if os.fork() == 0:
        while True: pass
time.sleep(3600)
""",
    JAVASCRIPT="""
const { spawn } = require("child_process");
for (let n = 0; n < 4; n++) spawn(process.execPath, ["-e", "for (;;);"]);
setTimeout(() => {}, 3600000);
""",
)
EAT = Program(
    "takes memory without end",
    PYTHON="eaten = []\nwhile True: eaten.append(bytearray(b'x') * (1 << 20))",
    JAVASCRIPT="const eaten = []; for (;;) eaten.push(Buffer.alloc(1 << 20, 1))",
)
EAT_IN_A_CHILD = Program(
    "lets a child take memory without end, waits for its end and says `going on`",
    PYTHON="""
import os
if os.fork() == 0:
    eaten = []
    while True: eaten.append(bytearray(b"x") * (1 << 20))
os.wait()
print("going on")
""",
    JAVASCRIPT="""
const { spawnSync } = require("child_process");
const eat = "const eaten = []; for (;;) eaten.push(Buffer.alloc(1 << 20, 1))";
spawnSync(process.execPath, ["-e", eat]);
console.log("going on");
""",
)
HOLD = Program(
    "holds as many MiB as its first argument says, for a moment",
    PYTHON="import sys, time; held = bytearray(b'x') * (int(sys.argv[1]) << 20); time.sleep(0.1)",
    JAVASCRIPT="""
const held = Buffer.alloc(Number(process.argv[2]) << 20, 1);
setTimeout(() => held.length, 100);
""",
)
SPAWN = Program(
    "starts as many children as it may and prints how many it could",
    PYTHON="""
import os, time
count = 0
try:
    while count < 500:
        if os.fork() == 0: time.sleep(3600)
        count += 1
except OSError: pass
print(count)
""",
    JAVASCRIPT="""
const { spawn } = require("child_process");
let count = 0;
(function next() {
  const child = spawn("/bin/sleep", ["3600"], { stdio: "ignore" });
  child.on("error", () => { console.log(count); process.exit(0) });
  child.on("spawn", () => { count += 1; count < 500 ? next() : process.exit(1) });
})();
""",
)
FILL = Program(
    "writes to /box and to /tmp until there is no room and prints how many bytes there was",
    PYTHON="""
import errno
size, block = 0, b"x" * 65536
with open("/box/half", "wb", buffering=0) as file:
    for _ in range(32): size += file.write(block)
try:
    with open("/tmp/rest", "wb", buffering=0) as file:
        while True: size += file.write(block)
except OSError as error:
    assert error.errno == errno.ENOSPC, error
print(size)
""",
    JAVASCRIPT="""
const fs = require("fs"), block = Buffer.alloc(65536, "x");
let size = 0;
const half = fs.openSync("/box/half", "w"), rest = fs.openSync("/tmp/rest", "w");
for (let n = 0; n < 32; n++) size += fs.writeSync(half, block);
try { for (;;) size += fs.writeSync(rest, block) } catch (error) {
  if (error.code !== "ENOSPC") throw error;
}
console.log(size);
""",
)
LITTER = Program(
    "makes empty files in /box and /tmp until it cannot and prints how many it made",
    PYTHON="""
import errno
count = 0
try:
    while count < 20000:
        open(f"/{('box', 'tmp')[count % 2]}/{count}", "w").close()
        count += 1
except OSError as error:
    assert error.errno == errno.ENOSPC, error
print(count)
""",
    JAVASCRIPT="""
const fs = require("fs");
let count = 0;
try {
  for (; count < 20000; count++) fs.writeFileSync(`/${["box", "tmp"][count % 2]}/${count}`, "");
} catch (error) { if (error.code !== "ENOSPC") throw error }
console.log(count);
""",
)
DAEMON = Program(
    "leaves a process behind that holds its output, in a session of its own, and says `done`",
    PYTHON="""
import os, time
if os.fork() == 0:
    os.setsid()
    if os.fork() == 0:
        while True:
            os.write(1, b"late\\n")
            time.sleep(0.01)
    os._exit(0)
os.wait()
print("done")
""",
    JAVASCRIPT="""
const { spawn } = require("child_process");
const late = ["-c", "while :; do echo late; sleep 0.01; done"];
spawn("/bin/sh", late, { detached: true, stdio: "inherit" }).unref();
console.log("done");
""",
)
LOOK = Program(
    "prints as JSON which files, processes and loopback listeners it finds, then leaves its own",
    PYTHON="""
import json, os, socket
def reaches(family, address):
    with socket.socket(family) as probe:
        return probe.connect_ex(address) == 0
print(json.dumps({
    "files": {name: sorted(os.listdir(name)) for name in ("/box", "/tmp", "/dev/shm")},
    "processes": len([name for name in os.listdir("/proc") if name.isdigit()]),
    "reaches": reaches(socket.AF_INET, ("127.0.0.1", 45678)) or reaches(socket.AF_UNIX, "\\0mark"),
}), flush=True)
for name in ("/box", "/tmp", "/dev/shm"): open(name + "/mark", "w").close()
""",
    JAVASCRIPT="""
const fs = require("fs"), net = require("net");
const probe = net.connect(45678, "127.0.0.1");
const tell = (reaches) => {
  const list = (name) => fs.readdirSync(name).sort();
  console.log(JSON.stringify({
    files: Object.fromEntries(["/box", "/tmp", "/dev/shm"].map((name) => [name, list(name)])),
    processes: list("/proc").filter((name) => /^\\d+$/.test(name)).length,
    reaches,
  }));
  for (const name of ["/box", "/tmp", "/dev/shm"]) fs.writeFileSync(name + "/mark", "");
};
probe.on("connect", () => { probe.destroy(); tell(true) });
probe.on("error", () => tell(false));
""",
)
SHOW_ITSELF = Program(
    "leaves files, listens on loopback, says `up` and stays",
    PYTHON="""
import socket, time
for name in ("/box", "/tmp", "/dev/shm"): open(name + "/shown", "w").close()
internet = socket.create_server(("127.0.0.1", 45678))
local = socket.socket(socket.AF_UNIX); local.bind("\\0mark"); local.listen()
print("up", flush=True)
time.sleep(3600)
""",
    JAVASCRIPT="""
const fs = require("fs"), net = require("net");
for (const name of ["/box", "/tmp", "/dev/shm"]) fs.writeFileSync(name + "/shown", "");
net.createServer().listen("\\0mark", () => {
  net.createServer().listen(45678, "127.0.0.1", () => console.log("up"));
});
""",
)
SURROUNDINGS = Program(
    "prints as JSON what it sees around itself",
    PYTHON="""
import json, locale, os, pwd, socket, sys, time
print(json.dumps({
    "directory": os.getcwd(), "home": os.path.expanduser("~"), "path": os.environ["PATH"],
    "user": pwd.getpwuid(os.getuid()).pw_name, "is_root": os.getuid() == 0,
    "host": socket.gethostname(), "offset": time.localtime().tm_gmtoff,
    "text": "grün €", "encoding": sys.stdout.encoding.lower(), "environment": sorted(os.environ),
    "temporary": __import__("tempfile").gettempdir(),
}, ensure_ascii=False))
""",
    JAVASCRIPT="""
const os = require("os");
console.log(JSON.stringify({
  directory: process.cwd(), home: os.homedir(), path: process.env.PATH,
  user: os.userInfo().username, is_root: process.getuid() === 0,
  host: os.hostname(), offset: new Date().getTimezoneOffset(),
  text: "grün €", encoding: "utf-8", environment: Object.keys(process.env).sort(),
  temporary: os.tmpdir(),
}));
""",
)
