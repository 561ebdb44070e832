"""Starts interpreters by hand, as a baseline: no sandbox, no server, no history.

Theory of operation: this runs as a process of its own, so that what it does to its mount
namespace stays here. The folders that a cell hides (installed packages) are hidden here too,
by an empty file system over them; otherwise the bare interpreter would be slowed down by
packages that no cell has to look at, and the baseline would flatter us.

    in   one JSON line: how many starts, how many at once, and the seconds to rest after each
    out  one JSON line: the seconds of each start, and of all together
"""

import ctypes
import json
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import repeat

CLONE_NEWNS, CLONE_NEWUSER = 0x00020000, 0x10000000
MS_REC, MS_PRIVATE = 16384, 1 << 18


def hide(folders: list[str]) -> None:
    """Lay an empty folder over each of these, for this process and its children."""
    libc = ctypes.CDLL(None, use_errno=True)
    uid, gid = os.getuid(), os.getgid()
    check(libc.unshare(CLONE_NEWNS | (CLONE_NEWUSER if uid else 0)))
    if uid:
        write("/proc/self/setgroups", "deny")
        write("/proc/self/uid_map", f"{uid} {uid} 1")
        write("/proc/self/gid_map", f"{gid} {gid} 1")
    check(libc.mount(None, b"/", None, MS_REC | MS_PRIVATE, None))
    for folder in folders:
        check(libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, None))


def check(result: int) -> None:
    """Raise the errno of a call that failed."""
    if result != 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def write(path: str, text: str) -> None:
    """Write a file of /proc."""
    with open(path, "w") as file:  # noqa: PTH123 - as the manual page has it
        file.write(text)


def start(argv: list[str], pause: float) -> float:
    """Run a program to its end and return the seconds it took."""
    began = time.perf_counter()
    subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, check=True)
    seconds = time.perf_counter() - began
    time.sleep(pause)
    return seconds


def main() -> None:
    """Serve until the input ends."""
    job = json.loads(sys.stdin.readline())
    hide(job["hidden"])
    for line in sys.stdin:
        asked = json.loads(line)
        began = time.perf_counter()
        with ThreadPoolExecutor(asked["at_once"]) as threads:
            seconds = list(
                threads.map(start, repeat(job["argv"], asked["starts"]), repeat(asked["pause"]))
            )
        answer = {"each": seconds, "all": time.perf_counter() - began}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()
