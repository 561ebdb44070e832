"""The files that a program leaves are brought back, whatever else it leaves beside them."""

from dataclasses import dataclass, field

import pytest

from app.domain.execution import Status
from app.domain.ports import Executor
from tests.contract.runs import Box, Result

SETUP = "import os, resource, signal, socket, stat, sys, time\nos.mkdir('out')\n"
PUT = "def put(name, data=b'x'): open(name, 'wb').write(data)\n"


@dataclass(frozen=True, slots=True)
class Left:
    """What a program does in its fresh folder, and what comes of it."""

    source: str
    files: dict[str, bytes] = field(default_factory=dict)
    left_out: int = 0


FILES = {
    "nothing": Left(""),
    "no folder": Left("os.rmdir('out')"),
    "a file": Left("put('out/plot.png', bytes(range(256)))", {"out/plot.png": bytes(range(256))}),
    "an empty file": Left("put('out/empty', b'')", {"out/empty": b""}),
    "files in folders": Left(
        "os.makedirs('out/a/b'); put('out/a/b/c'); os.mkdir('out/d'); put('out/e', b'y')",
        {"out/a/b/c": b"x", "out/e": b"y"},
    ),
    "a name with all kinds of letters": Left("put('out/ü €.txt')", {"out/ü €.txt": b"x"}),
    "a file beside the folder": Left("put('mine'); put('/tmp/mine')"),
    "a file of megabytes": Left("put('out/a', b'x' * (7 << 20))", {"out/a": b"x" * (7 << 20)}),
    "a second name": Left("put('a'); os.link('a', 'out/b')", {"out/b": b"x"}),
    "one too many": Left(
        "for n in range(25): put(f'out/{n:02}')", {f"out/{n:02}": b"x" for n in range(20)}, 5
    ),
    "one too large between others": Left(
        "put('out/a', b'a' * (5 << 20)); put('out/b', b'b' * (4 << 20)); put('out/c')",
        {"out/a": b"a" * (5 << 20), "out/c": b"x"},
        1,
    ),
    "one that is nearly all hole": Left(
        "put('out/a'); most, _ = resource.getrlimit(resource.RLIMIT_FSIZE)\n"
        "with open('out/hole', 'wb') as hole:\n"
        "    hole.truncate(most)\n"
        "    try: hole.truncate(100 << 30)\n"
        "    except OSError: pass\n",
        {"out/a": b"x"},
        1,
    ),
    "the longest path": Left(f"put('out/{'n' * 196}')", {f"out/{'n' * 196}": b"x"}),
    "a longer path": Left(f"put('out/{'n' * 197}')", left_out=1),
    "folders that are too deep": Left(
        "os.makedirs('out' + '/d' * 16); put('out' + '/d' * 16 + '/x')\n"
        "os.mkdir('out' + '/d' * 17); put('out' + '/d' * 17 + '/y')",
        {"out" + "/d" * 16 + "/x": b"x"},
        1,
    ),
    "a path that no call can name": Left(
        "os.chdir('out')\nfor _ in range(300): os.mkdir('n' * 100); os.chdir('n' * 100)\nput('x')",
        left_out=1,
    ),
}
TRICKS = {
    "a link to a file": Left(
        "os.symlink('/etc/passwd', 'out/a'); os.symlink('../main.py', 'out/b')"
    ),
    "a link to a folder": Left("os.symlink('/etc', 'out/etc'); os.symlink('.', 'out/again')"),
    "a link instead of the folder": Left("os.rmdir('out'); os.symlink('/etc', 'out')"),
    "a link to everything": Left("os.rmdir('out'); os.symlink('/', 'out')"),
    "a link to its own folder": Left("os.rename('out', 'o'); put('o/a'); os.symlink('o', 'out')"),
    "a file instead of the folder": Left("os.rmdir('out'); put('out')"),
    "a pipe instead of the folder": Left("os.rmdir('out'); os.mkfifo('out')"),
    "a pipe": Left("os.mkfifo('out/pipe'); put('out/x')", {"out/x": b"x"}),
    "a socket": Left("socket.socket(socket.AF_UNIX).bind('out/s'); put('out/x')", {"out/x": b"x"}),
    "a device": Left(
        "try: os.mknod('out/null', 0o666 | stat.S_IFCHR, os.makedev(1, 3))\n"
        "except PermissionError: put('out/x')",
        {"out/x": b"x"},
    ),
    "a name of somebody else's file": Left(
        "try: os.link('/etc/passwd', 'out/passwd')\nexcept OSError: put('out/x')", {"out/x": b"x"}
    ),
    "a file that nobody may read": Left("put('out/a'); os.chmod('out/a', 0)", left_out=1),
    "a folder that nobody may read": Left(
        "os.mkdir('out/a'); put('out/a/b'); os.chmod('out/a', 0)", left_out=1
    ),
    "a folder that nobody may enter": Left(
        "os.mkdir('out/a'); put('out/a/b'); os.chmod('out/a', 0o400)", left_out=1
    ),
    "the folder closed": Left("put('out/a'); os.chmod('out', 0o400)"),
    "names that look like others": Left(
        r"for each in ('a\nb', 'a\rb', '\x1b[2Ja', '\u202egnp.a', 'a\x7f'): put('out/' + each)",
        left_out=5,
    ),
    "a name that is no text": Left(r"put(b'out/\xff\xfe'); os.mkdir(b'out/\xfe')", left_out=2),
}
EVERYTHING = FILES | TRICKS


def files_of(result: Result) -> dict[str, bytes] | None:
    product = result.end.product
    return None if product is None else {each.path: each.data for each in product}


@pytest.mark.parametrize("left", EVERYTHING.values(), ids=EVERYTHING)
async def test_what_is_left_is_brought_back_if_it_is_a_plain_file(python: Box, left: Left) -> None:
    result = await python(SETUP + PUT + left.source)
    assert result.status is Status.SUCCEEDED, result
    assert (files_of(result), result.end.left_out) == (left.files, left.left_out)


@pytest.mark.parametrize(
    ("end", "status"),
    [
        ("sys.exit(3)", Status.FAILED),
        ("raise ValueError", Status.FAILED),
        ("os._exit(4)", Status.FAILED),
        ("os.kill(os.getpid(), signal.SIGKILL)", Status.CRASHED),
        ("os.kill(0, signal.SIGTERM)", Status.CRASHED),
    ],
)
async def test_a_program_that_fails_leaves_its_files(python: Box, end: str, status: Status) -> None:
    result = await python(f"{SETUP}{PUT}put('out/a')\n{end}")
    assert result.status is status, result
    assert files_of(result) == {"out/a": b"x"}


async def test_a_program_in_javascript_leaves_files_as_well(javascript: Box) -> None:
    result = await javascript(
        "const fs = require('fs'); fs.mkdirSync('out'); fs.writeFileSync('out/a', 'x')"
    )
    assert files_of(result) == {"out/a": b"x"}, result


async def test_as_many_files_as_there_is_room_for_are_counted(python: Box) -> None:
    result = await python(
        SETUP
        + "try:\n    for n in range(5000): open(f'out/{n:04}', 'w').close()\nexcept OSError: pass"
    )
    files = files_of(result)
    assert files is not None, result
    assert list(files) == [f"out/{n:04}" for n in range(20)]
    assert result.end.left_out > 3900


async def test_whatever_goes_on_is_ended_before_files_are_read(python: Box) -> None:
    result = await python(
        SETUP
        + PUT
        + """
for _ in range(4):
    if os.fork() == 0:
        os.setsid()
        for each in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
            signal.signal(each, signal.SIG_IGN)
        mine = f'out/{os.getpid()}'
        while True:
            for n in range(31):
                put('out/new' + mine[4:], b'abc' * 10)
                os.rename('out/new' + mine[4:], mine)
                os.truncate(mine, n)
while len([each for each in os.listdir('out') if each.isdigit()]) < 4: time.sleep(0.001)
"""
    )
    assert result.status is Status.SUCCEEDED, result
    files = files_of(result)
    assert files is not None
    assert len([path for path in files if path[4:].isdigit()]) == 4
    # One that had changed after it was measured would end in zeros.
    assert all((b"abc" * 10).startswith(data) for data in files.values())


async def test_a_limit_that_ends_the_sandbox_leaves_nothing(
    executor: Executor, python: Box
) -> None:
    result = await python(f"{SETUP}{PUT}put('out/a')\ntime.sleep(60)", wall_time=2.0)
    assert result.status is Status.TIME_LIMIT_EXCEEDED, result
    # On Modal the sandbox outlives its program.
    assert files_of(result) == (None if executor.name == "local" else {"out/a": b"x"})
