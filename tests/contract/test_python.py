"""What people do with Python works."""

import json

import pytest

from app.domain.execution import Status
from tests.contract.runs import Box

WORKS = {
    "multiprocessing": """
import multiprocessing as mp
def square(n): return n * n
if __name__ == "__main__":
    for method in ("fork", "spawn", "forkserver"):
        with mp.get_context(method).Pool(2) as pool:
            assert pool.map(square, range(5)) == [0, 1, 4, 9, 16], method
    with mp.Manager() as manager:
        shared = manager.dict(ready=1)
        assert shared["ready"] == 1
    print("works")
""",
    "shared memory": """
from multiprocessing import shared_memory
one = shared_memory.SharedMemory(create=True, size=4096)
one.buf[:5] = b"hello"
two = shared_memory.SharedMemory(name=one.name)
assert bytes(two.buf[:5]) == b"hello"
two.close(); one.close(); one.unlink()
print("works")
""",
    "subprocess": """
import subprocess, sys
assert subprocess.run(["/bin/sh", "-c", "echo $((6 * 7)); id -un"], capture_output=True,
                      text=True, check=True).stdout == "42\\nsandbox\\n"
assert subprocess.run([sys.executable, "-c", "print(1)"], capture_output=True).stdout == b"1\\n"
assert subprocess.run(["false"]).returncode == 1
print("works")
""",
    "threads": """
import queue, threading
from concurrent.futures import ThreadPoolExecutor
with ThreadPoolExecutor(16) as pool:
    assert sum(pool.map(lambda n: n, range(1000))) == 499500
box = queue.Queue()
threading.Thread(target=box.put, args=(1,)).start()
assert box.get(timeout=5) == 1
print("works")
""",
    "sqlite3": """
import sqlite3
for name in (":memory:", "/box/data.db", "/tmp/data.db"):
    with sqlite3.connect(name) as db:
        db.execute("pragma journal_mode = wal")
        db.execute("create table t (x)")
        db.executemany("insert into t values (?)", [(n,) for n in range(100)])
        assert db.execute("select sum(x) from t").fetchone() == (4950,)
print("works")
""",
    "tempfile": """
import os, tempfile
with tempfile.TemporaryDirectory() as folder, tempfile.NamedTemporaryFile(dir=folder) as file:
    assert folder.startswith("/tmp/")
    file.write(b"x"); file.flush()
    assert os.path.getsize(file.name) == 1
print("works")
""",
    "asyncio": """
import asyncio
async def main():
    async def answer(reader, writer):
        writer.write((await reader.readline()).upper()); writer.close()
    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"works\\n")
    process = await asyncio.create_subprocess_exec("echo", "hi", stdout=asyncio.subprocess.PIPE)
    assert (await process.communicate())[0] == b"hi\\n"
    assert await asyncio.wait_for(asyncio.to_thread(lambda: 1), 5) == 1
    print((await reader.readline()).decode().lower(), end="")
asyncio.run(main())
""",
    "signals": """
import signal
seen = []
signal.signal(signal.SIGALRM, lambda *_: seen.append(1))
signal.setitimer(signal.ITIMER_REAL, 0.01)
signal.pause()
assert seen == [1]
print("works")
""",
    "hashing, compression and randomness": """
import bz2, hashlib, lzma, random, secrets, ssl, uuid, zlib
for module in (bz2, lzma, zlib): assert module.decompress(module.compress(b"x" * 99)) == b"x" * 99
assert hashlib.scrypt(b"x", salt=b"y", n=2, r=8, p=1)
assert ssl.create_default_context()
assert len({secrets.token_hex(), secrets.token_hex(), str(uuid.uuid4()), random.random()}) == 4
print("works")
""",
    "decimals, dates and time zones": """
import datetime, decimal, zoneinfo
assert decimal.Decimal("0.1") + decimal.Decimal("0.2") == decimal.Decimal("0.3")
noon = datetime.datetime(2024, 7, 1, 12, tzinfo=datetime.UTC)
try: assert noon.astimezone(zoneinfo.ZoneInfo("Europe/Berlin")).hour == 14
except zoneinfo.ZoneInfoNotFoundError: pass  # a host without tzdata
assert datetime.datetime.now().astimezone().utcoffset() == datetime.timedelta(0)
print("works")
""",
    "a module of its own": """
import pathlib
pathlib.Path("helper.py").write_text("word = 'works'")
import helper
print(helper.word)
""",
    "atexit": "import atexit; atexit.register(print, 'works')",
    "exec of another program": "import os; os.execvp('echo', ['echo', 'works'])",
}


@pytest.mark.parametrize("what", WORKS)
async def test_what_people_use(python: Box, what: str) -> None:
    result = await python(WORKS[what])
    assert (result.status, result.text) == (Status.SUCCEEDED, "works\n"), result
    assert result.stderr == b""


ENDS = {
    "sys.exit('text')": (1, b"text\n"),
    "raise SystemExit": (0, b""),
    "raise SystemExit(256 + 3)": (3, b""),
    "import os; os._exit(9)": (9, b""),
    "print('x'); import sys; sys.stdout.close()": (0, b""),
}


@pytest.mark.parametrize("source", ENDS)
async def test_its_ways_to_exit_mean_what_they_mean(python: Box, source: str) -> None:
    code, said = ENDS[source]
    result = await python(f"import sys\n{source}")
    assert (result.outcome.exit_code, result.stderr) == (code, said), result


async def test_a_real_segmentation_fault_is_one(python: Box) -> None:
    result = await python("import ctypes; ctypes.string_at(0)")
    assert (result.status, result.outcome.signal) == (Status.CRASHED, "SIGSEGV"), result


async def test_a_syntax_error_is_shown_with_its_line(python: Box) -> None:
    result = await python("print('never')\nif True print()\n")
    assert result.outcome.exit_code == 1, result
    assert 'File "/box/main.py", line 2' in result.stderr.decode()
    assert result.stdout == b""


async def test_a_traceback_has_only_frames_of_the_program(python: Box) -> None:
    result = await python("def f():\n    1 / 0\nf()\n")
    frames = [line for line in result.stderr.decode().splitlines() if "File " in line]
    assert [line.split('"')[1] for line in frames] == ["/box/main.py"] * 2, result


async def test_it_is_main_in_its_own_folder(python: Box) -> None:
    source = "import json, sys; print(json.dumps([__name__, __file__, sys.argv, sys.path[0]]))"
    result = await python(source, args=["a"])
    assert json.loads(result.stdout) == ["__main__", "/box/main.py", ["/box/main.py", "a"], "/box"]


async def test_nothing_that_this_host_has_installed_can_be_imported(python: Box) -> None:
    source = """
import importlib, json
found = []
for name in ("modal", "greenroom", "app", "strawberry", "pip", "sqlalchemy", "apt", "yaml"):
    try: importlib.import_module(name)
    except ImportError: continue
    found.append(name)
print(json.dumps(found))
"""
    result = await python(source)
    assert json.loads(result.stdout) == [], result


async def test_input_is_read_line_by_line(python: Box) -> None:
    result = await python("for n in range(3): print(input('? ').upper())", stdin=b"a\nb\nc\n")
    assert result.text == "? A\n? B\n? C\n", result


async def test_the_end_of_the_input_is_an_end(python: Box) -> None:
    result = await python("input()")
    assert result.outcome.exit_code == 1, result
    assert b"EOFError" in result.stderr
