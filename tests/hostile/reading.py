"""Attacks on what is not theirs to see."""

from tests.hostile.attack import CANARY, CRASH, FAIL, OK, Attack, bare

ATTACKS = {
    "the environment of every process": Attack(
        source="""
import glob, os
for path in [*glob.glob("/proc/[0-9]*/environ"), "/proc/self/environ", "/proc/1/environ"]:
    try: print(path, open(path, "rb").read())
    except OSError as error: print("refused", path, error.errno)
print(dict(os.environ))
""",
        says=r"refused /proc/1/environ 13",
        hides="DATABASE_URL|MODAL_TOKEN|GREENROOM|VIRTUAL_ENV|pytest",
    ),
    "the other processes": Attack(
        source="""
import os
print("seen:", sorted(int(name) for name in os.listdir("/proc") if name.isdigit()))
""",
        says=r"seen: \[1, 2\]$",
    ),
    "the roots and folders of others": Attack(
        source=f"""
import os
for link in ("1/root", "self/root", "1/cwd", "2/root", "self/task/2/root", "1/fd", "1/ns/mnt",
             "1/exe", "1/map_files", "1/mem", "1/maps", "1/auxv", "1/stack", "1/syscall"):
    for target in ("", "{CANARY}", "/etc/shadow", "/../../../etc/shadow"):
        path = f"/proc/{{link}}{{target}}"
        try:
            held = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(200)
            print("open", path, held)
            if target: print("BREACH")
        except OSError as error: print("refused", path, error.errno)
""",
        says="refused /proc/1/mem 13",
        hides="open /proc/1/",
    ),
    "the files that every host has": Attack(
        source=f"""
import os
for path in ("{CANARY}", "/etc/shadow", "/etc/hostname", "/etc/machine-id", "/root", "/home",
             "/var", "/run", "/sys", "/boot", "/mnt", "/srv", "/work", "/opt/secret", "/proc/kcore",
             "/proc/kmsg", "/proc/kpagecount", "/proc/kpageflags", "/dev/mem", "/dev/kmsg",
             "/proc/1/environ", "/proc/vmallocinfo", "/proc/slabinfo", "/proc/keys"):
    try: listed = os.listdir(path) if os.path.isdir(path) else open(path, "rb").read(100)
    except OSError as error: print("refused", path, error.errno)
    else:
        # An interpreter of root's own is shown at its place, and nothing beside it.
        print("open", path, listed)
        if path != "/root" and listed: print("BREACH", path)
""",
        says="refused /etc/shadow 2",
    ),
    "what lies beside the interpreter": Attack(
        source="""
import os, sys
seen = []
at = os.path.dirname(os.path.dirname(os.path.realpath(sys.executable)))
while (at := os.path.dirname(at)) not in ("/", "/usr"):
    seen.append((at, os.listdir(at)))
print("seen:", seen)
if any(len(names) > 1 for _, names in seen): print("BREACH")
""",
        says="^seen:",
    ),
    "descriptors that were left open": Attack(
        source="""
import os
for fd in range(3, 4096):
    try: os.fstat(fd)
    except OSError: continue
    print("BREACH", fd, os.readlink(f"/proc/self/fd/{fd}"))
for fd in range(3): print(fd, os.readlink(f"/proc/self/fd/{fd}").split(":")[0])
""",
        says=r"0 pipe\n1 pipe\n2 pipe",
    ),
    "the folders behind descriptors": Attack(
        source="""
import os
for fd in (0, 1, 2, *range(3, 64)):
    for path in ("..", "../../../../etc/shadow"):
        try: print("BREACH", os.open(path, os.O_RDONLY, dir_fd=fd))
        except OSError as error: print("refused", fd, error.errno)
""",
        says="refused 0 20",
    ),
    "the names of mounts": Attack(
        source="""
text = open("/proc/self/mountinfo").read() + open("/proc/self/mounts").read()
text += open("/proc/1/mountinfo").read()
for word in ("/home", "/work", "/etc/shadow", ".venv", "site-packages/app", "/var/tmp"):
    if word in text: print("BREACH", word)
print("mounts:", text.count("\\n"))
""",
        says=r"mounts: \d+",
    ),
    "the names of control groups": Attack(
        source="""
text = open("/proc/self/cgroup").read()
print({line.split(":", 2)[2] for line in text.splitlines()})
""",
        says=r"^\{'/'\}$|^set\(\)$",
        hides="greenroom",
    ),
    "handles of files beyond the mounts": Attack(
        source=bare("""
handle = (ctypes.c_char * 136)()
handle[0] = 128
mount = ctypes.c_int()
attempt("name_to_handle_at", call, "name_to_handle_at", -100, ctypes.c_char_p(b"/usr"),
        handle, ctypes.byref(mount), 0)
shocker = (ctypes.c_uint32 * 4)(8, 1, 2, 0)
root = os.open("/usr", os.O_RDONLY)
attempt("open_by_handle_at", call, "open_by_handle_at", root, shocker, 0)
"""),
        says="refused open_by_handle_at EPERM",
    ),
    "the raw disks": Attack(
        source=bare("""
import stat
for name, kind, device in (("vda", stat.S_IFBLK, (254, 0)), ("sda", stat.S_IFBLK, (8, 0)),
                           ("mem", stat.S_IFCHR, (1, 1)), ("kmsg", stat.S_IFCHR, (1, 11))):
    attempt("mknod " + name, os.mknod, "/box/" + name, kind | 0o666, os.makedev(*device))
    attempt("open " + name, os.open, "/dev/" + name, os.O_RDONLY)
for name in ("kvm", "fuse", "net/tun", "loop-control", "vhost-net", "uinput", "port", "snd"):
    attempt("open " + name, os.open, "/dev/" + name, os.O_RDWR)
os.mkfifo("/box/pipe")
print("a pipe is harmless")
"""),
        says="refused mknod vda EPERM",
    ),
    "a walk through all of the system": Attack(
        source="""
import os
shown = {"bin", "box", "dev", "etc", "greenroom", "lib", "lib32", "lib64", "libx32", "proc",
         "sbin", "tmp", "usr", "opt", "root"}
print("beside:", sorted(set(os.listdir("/")) - shown))
print("etc:", sorted(os.listdir("/etc")))
print("local:", os.listdir("/usr/local") if os.path.isdir("/usr/local") else [])
""",
        says=r"local: \[\]",
        hides=r"shadow|hostname|machine-id|\bssl\b|\bhome\b|\bwork\b",
    ),
    "links that lead outside": Attack(
        source=f"""
import os
targets = ["/etc/shadow", "{CANARY}", "../../../../../{CANARY}", "/proc/1/environ",
           "/proc/1/root{CANARY}", "loop", "/proc/self/fd/99", "/dev/vda"]
os.symlink("loop", "/box/loop")
for number, target in enumerate(targets):
    os.symlink(target, f"/box/{{number}}.txt")
    try: print("BREACH", open(f"/box/{{number}}.txt").read(20))
    except OSError as error: print("refused", target, error.errno)
for source in ("/etc/passwd", "/usr/bin/env", "/proc/1/status"):
    try: os.link(source, "/box/hard"); print("BREACH", source)
    except OSError as error: print("refused", source, error.errno)
""",
        says="refused loop 40",
    ),
    "a source file that changes before it is quoted": Attack(
        source=f"""
import os
os.unlink("/box/main.py")
os.symlink("{CANARY}", "/box/main.py")
raise LookupError("quote me")
""",
        ends=(FAIL,),
        code=1,
    ),
    "a child of Node": Attack(
        language="JAVASCRIPT",
        source=f"""
const {{ spawnSync }} = require("child_process");
try {{ process.binding("spawn_sync") }} catch {{}}
for (const line of ["id", "cat {CANARY} /etc/shadow", "env", "mount", "cat /proc/1/environ"]) {{
  const {{ stdout, stderr }} = spawnSync("/bin/sh", ["-c", line], {{ encoding: "utf8" }});
  console.log(stdout, stderr);
}}
""",
        says=r"uid=1000\(sandbox\) gid=1000\(sandbox\)",
        hides=r"uid=0|GREENROOM|root:",
    ),
    "the debugger of Node": Attack(
        language="JAVASCRIPT",
        source="""
try { require("inspector").open(9229, "0.0.0.0"); console.log("open, for nobody") }
catch (error) { console.log(error.code) }
process.kill(process.pid, "SIGUSR1");
setTimeout(() => process.exit(0), 100);
""",
        ends=(OK, CRASH),
    ),
    "a sandbox of Node's own": Attack(
        language="JAVASCRIPT",
        source="""
const vm = require("vm");
const real = vm.runInNewContext("this.constructor.constructor('return process')()");
console.log(real.getuid(), Object.keys(real.env).sort().join());
try { real.setuid(0); console.log("BREACH") } catch (error) { console.log(error.code) }
console.log(require("fs").readdirSync("/"));
""",
        says="^1000 ",
    ),
    "the network": Attack(
        source="""
import socket
for family, host in ((socket.AF_INET, "1.1.1.1"), (socket.AF_INET, "169.254.169.254"),
                     (socket.AF_INET, "10.0.0.1"), (socket.AF_INET, "172.17.0.1"),
                     (socket.AF_INET6, "2606:4700:4700::1111"), (socket.AF_INET6, "fe80::1")):
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(family, kind) as probe:
            probe.settimeout(0.3)
            try: probe.connect((host, 53)); print("BREACH", host)
            except OSError as error: print("refused", host, error.errno)
for port in (22, 80, 2375, 5432, 6379, 8000):
    with socket.socket() as probe: print(port, probe.connect_ex(("127.0.0.1", port)))
try: print("BREACH", socket.getaddrinfo("example.com", 80))
except OSError as error: print("refused", error)
""",
        says=r"(?s)refused 1\.1\.1\.1 101.*22 111",
    ),
    "the network of Node": Attack(
        language="JAVASCRIPT",
        source="""
const dns = require("dns"), dgram = require("dgram");
fetch("http://169.254.169.254/latest/meta-data")
  .then(() => console.log("BREACH")).catch((error) => console.log("refused", error.cause.code));
dns.resolve("example.com", (error) => console.log(error ? "refused dns" : "BREACH"));
const socket = dgram.createSocket("udp4");
socket.send("x", 53, "8.8.8.8", (error) => {
  console.log(error ? "refused udp" : "BREACH"); socket.close() });
""",
        says="(?s)refused.*refused.*refused",
    ),
    "interfaces of its own": Attack(
        source=bare("""
import fcntl, socket, struct
probe = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for what, number, flags in (("up", 0x8914, 1), ("promiscuous", 0x8914, 0x101)):
    attempt(what, fcntl.ioctl, probe, number, struct.pack("16sH14x", b"lo", flags))
attempt("a tunnel", fcntl.ioctl, probe, 0x89F1, struct.pack("16sP8x", b"tunl0", 0))
attempt("raw", socket.socket, socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
attempt("packet", socket.socket, 17, socket.SOCK_RAW, 3)
attempt("vsock", socket.socket, 40, socket.SOCK_STREAM)
attempt("alg", socket.socket, 38, socket.SOCK_SEQPACKET)
attempt("netfilter", socket.socket, 16, socket.SOCK_RAW, 12)
"""),
        says="refused netfilter",
    ),
    "watches on what others read": Attack(
        source=bare("""
import fcntl, signal, sys
signal.signal(signal.SIGIO, signal.SIG_IGN)
library = os.path.dirname(os.__file__)
watcher = call("inotify_init1", 0)
for name, bit in (("access", 1), ("close", 0x10), ("open", 0x20), ("all", 0xFFF)):
    path = ctypes.c_char_p(library.encode())
    attempt(name, call, "inotify_add_watch", watcher, path, bit)
folder = os.open(library, os.O_RDONLY)
attempt("a letter for each reader", fcntl.fcntl, folder, fcntl.F_NOTIFY, fcntl.DN_ACCESS)
own = os.open(sys.executable, os.O_RDONLY)
attempt("a lease", fcntl.fcntl, own, fcntl.F_SETLEASE, fcntl.F_RDLCK)
print("changes:", call("inotify_add_watch", watcher, ctypes.c_char_p(b"/box"), 0x3C2) > 0)
"""),
        says=r"(?s)(refused.*){6}changes: True",
    ),
}
