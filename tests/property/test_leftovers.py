"""After any program nothing of it is left, and the next run is as the first."""

from collections.abc import AsyncIterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from app.languages import all_languages
from tests.contract.runs import Box
from tests.contract.subjects import Subject, local
from tests.hosted import hosted
from tests.hostile.traces import Traces, traces

PYTHON = all_languages()["PYTHON"]
few = settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])

# Each takes something of the kernel's, or hides from it, and gives nothing back.
PIECES = {
    "a child": "if os.fork() == 0: time.sleep(99)",
    "a daemon": "if os.fork() == 0:\n    os.setsid()\n    if os.fork() == 0: time.sleep(99)",
    "a child that goes on": "os.fork()",
    "a thread": "threading.Thread(target=time.sleep, args=(99,), daemon=True).start()",
    "another program": "subprocess.Popen(['/bin/sleep', '99'])",
    "files": "for each in range(50): open(f'/tmp/{each}-{os.getpid()}', 'w').write('xx')",
    "a file without a name": "kept.append(os.memfd_create('x')); os.write(kept[-1], b'x')",
    "shared memory": "open('/dev/shm/x', 'w').write('x')",
    "a segment": "libc.shmget(0x47, 1 << 20, 0o1666)",
    "semaphores": "libc.semget(0x48, 9, 0o1666)",
    "a queue": "libc.msgget(0x49, 0o1666)",
    "a listener": "kept.append(socket.create_server(('127.0.0.1', 0)))",
    "a name": "kept.append(socket.socket(socket.AF_UNIX)); kept[-1].bind('')",
    "a socket file": "kept.append(socket.socket(socket.AF_UNIX)); kept[-1].bind('/tmp/socket')",
    "a fifo": "os.mkfifo(f'/box/f{len(kept)}-{os.getpid()}'); kept.append(0)",
    "a terminal": "kept.append(os.openpty())",
    "a lock": "kept.append(open(sys.executable)); fcntl.flock(kept[-1], fcntl.LOCK_SH)",
    "a watch": "libc.inotify_add_watch(libc.inotify_init1(0), b'/usr', 2)",
    "deaf ears": "[signal.signal(each, signal.SIG_IGN) for each in (*range(1, 9), *range(10, 19))]",
    "a timer": "signal.setitimer(signal.ITIMER_REAL, 99)",
    "no descriptors": "os.closerange(0, 3)",
    "a closed folder": "os.makedirs('/box/a/b', exist_ok=True); os.chmod('/box/a', 0)",
    "a new entry point": "os.unlink('/box/main.py') if os.path.exists('/box/main.py') else None",
    "an end": "os.kill(os.getpid(), signal.SIGKILL)",
    "an end that waits": "time.sleep(99)",
}
PRELUDE = """
import ctypes, fcntl, os, signal, socket, subprocess, sys, threading, time
libc, kept = ctypes.CDLL(None), []
"""
# What a program finds before it has done anything.
LOOK = """
import os, resource, signal, sys, time
# Our own link to init is closed a moment after the program begins.
for _ in range(200):
    if open("/proc/net/unix").read().count("\\n") == 1: break
    time.sleep(0.01)
for folder in ("/box", "/tmp", "/dev/shm", "/dev/pts"): print(sorted(os.listdir(folder)))
print(sorted(int(each) for each in os.listdir("/proc") if each.isdigit()))
print([len(open(f"/proc/sysvipc/{each}").readlines()) for each in ("shm", "sem", "msg")])
print(open("/proc/net/unix").read(), open("/proc/net/tcp").read(), open("/proc/locks").read())
left = os.statvfs("/tmp")
print(left.f_bavail, left.f_favail, sorted(os.listdir("/proc/self/fd")), dict(os.environ))
print([resource.getrlimit(each) for each in range(16)], os.umask(0), sys.argv, os.getcwd())
print([str(signal.getsignal(each)) for each in signal.valid_signals()])
print(signal.pthread_sigmask(signal.SIG_BLOCK, ()))
"""


@pytest.fixture(scope="module")
async def subject() -> AsyncIterator[Subject]:
    async with hosted(local()) as subject:
        yield subject


@pytest.fixture(scope="module")
async def first(subject: Subject) -> tuple[Traces, bytes]:
    """Note how it was before anything had run."""
    clean = await traces(subject)
    result = await Box(subject.executor, PYTHON)(LOOK)
    assert result.outcome.exit_code == 0, result
    return clean, result.stdout


@few
@given(pieces=st.lists(st.sampled_from(sorted(PIECES)), min_size=1, max_size=6))
async def test_nothing_is_left(
    subject: Subject, first: tuple[Traces, bytes], pieces: list[str]
) -> None:
    box = Box(subject.executor, PYTHON)
    attempts = (
        f"try:\n    exec({PIECES[piece]!r})\nexcept (OSError, ValueError): pass" for piece in pieces
    )
    await box(PRELUDE + "\n".join(attempts), wall_time=0.5)
    clean, said = first
    assert await traces(subject) == clean
    assert (await box(LOOK)).stdout == said
