"""Process 1 of a box: it starts what the server asks for, and says how each ended.

It runs as the box's root with what a container's root may do, and takes its orders from one
socket that is closed on exec:

    to it    one marshalled tuple: ("start", number, argv, environment, folder), with stdin,
             stdout and stderr as descriptors, or ("kill", number)
    from it  one record of fixed size, because what comes out of a box is read as hostile:
             R ready; S started; F failed: errno; E ended: raw wait status

This file runs alone (`python -I -S`) and imports only what every Python has loaded anyway or
loads in no time. When it leaves, the kernel ends every other process of the box.
"""

# `signal` itself costs milliseconds of every start.
import _signal  # type: ignore[import-not-found]
import _socket
import array
import marshal
import os
import select
import struct
import sys

MARSHAL_VERSION = 2  # understood by every Python 3
MAX_ORDER = 1 << 18  # bytes; Modal's own client refuses argument lists above 64 KiB
RECORD = struct.Struct("<ciq")  # kind, number, value
STDIO = 3


class Init:
    """The programs of one box, by pid."""

    def __init__(self, control: _socket.socket) -> None:
        self.control = control
        self.numbers: dict[int, int] = {}

    def say(self, kind: bytes, number: int = 0, value: int = 0) -> None:
        """Send one record; the server has room for it, or is gone."""
        try:
            self.control.send(RECORD.pack(kind, number, value))
        except OSError:
            os._exit(0)

    def obey(self) -> None:
        """Take one order."""
        room = _socket.CMSG_SPACE(STDIO * array.array("i").itemsize)
        data, ancillary, _, _ = self.control.recvmsg(MAX_ORDER, room, _socket.MSG_CMSG_CLOEXEC)
        if not data:
            os._exit(0)
        descriptors = array.array("i")
        for _, _, rights in ancillary:
            descriptors.frombytes(rights[: len(rights) // STDIO * STDIO])
        order = marshal.loads(data)  # noqa: S302 - our own server wrote it
        if order[0] == "start":
            self.start(*order[1:], stdio=list(descriptors))
        else:
            self.kill(order[1])

    def start(
        self,
        number: int,
        argv: list[str],
        environment: dict[str, str],
        folder: str,
        *,
        stdio: list[int],
    ) -> None:
        """Fork a program, and wait until the kernel has taken it."""
        reader, writer = os.pipe()  # closed on exec, so that end of file means success
        child = os.fork()
        if child == 0:
            become(argv, environment, folder, stdio, writer)
        for descriptor in (*stdio, writer):
            os.close(descriptor)
        failure = os.read(reader, 4096)
        os.close(reader)
        if failure:
            os.waitpid(child, 0)
            self.say(b"F", number, int(failure))
            return
        self.numbers[child] = number
        self.say(b"S", number)

    def kill(self, number: int) -> None:
        """End a program with its whole process group."""
        for pid, each in self.numbers.items():
            if each == number:
                os.killpg(pid, _signal.SIGKILL)

    def reap(self) -> None:
        """Collect all that has ended, also what was left behind by its parent."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid in self.numbers:
                self.say(b"E", self.numbers.pop(pid), status)


def become(
    argv: list[str],
    environment: dict[str, str],
    folder: str,
    stdio: list[int],
    failed: int,
) -> None:
    """Turn the forked child into the program; does not return."""
    step = f"enter {folder}"
    try:
        os.setsid()
        for target, descriptor in enumerate(stdio):
            os.dup2(descriptor, target, inheritable=True)
        # Python ignores these two, and a program expects that nobody does.
        for number in (_signal.SIGPIPE, _signal.SIGXFSZ):
            _signal.signal(number, _signal.SIG_DFL)
        os.makedirs(folder, exist_ok=True)  # noqa: PTH103 - pathlib costs milliseconds
        os.chdir(folder)
        step = f"start {argv[0]}"
        os.execvpe(argv[0], argv, environment)  # noqa: S606 - what this file is for
    except OSError as error:
        os.write(2, f"{step}: {error.strerror}\n".encode())
        os.write(failed, str(error.errno or 0).encode())
    finally:
        os._exit(127)


def main() -> None:
    """Say that the box is ready; then obey and reap for ever."""
    control = _socket.socket(fileno=int(sys.argv[1]))
    os.set_inheritable(control.fileno(), False)  # noqa: FBT003 - as the library has it
    awake, wake = os.pipe()
    for descriptor in (awake, wake):
        os.set_blocking(descriptor, False)
    _signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
    _signal.signal(_signal.SIGCHLD, lambda *_: None)
    init = Init(control)
    init.say(b"R")
    events = select.poll()
    for descriptor in (awake, control.fileno()):
        events.register(descriptor, select.POLLIN)
    while True:
        ready = [descriptor for descriptor, _ in events.poll()]
        if awake in ready:
            os.read(awake, 4096)
        init.reap()
        if control.fileno() in ready:
            init.obey()


if __name__ == "__main__":
    main()
