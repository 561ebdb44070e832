"""The two things that are compared: a bare start, and a run through the whole service."""

import http.client
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path
from threading import Thread
from typing import Protocol

from app.domain.execution import Program
from app.domain.language import BUILD, PRODUCT, Language, NotFound
from app.domain.limits import COMPILE_LIMITS, DEFAULT_LIMITS
from app.executions.files import layout
from app.languages import all_languages

_QUERY = """
mutation Hello($language: LanguageId!, $source: String!) {
  executeCode(input: { language: $language, source: $source }) {
    execution { status stdout exitCode usage { wallTimeMs } } errors { message }
  }
}
"""
EXPECTED = "Hello, world!\n"
PAUSE = 0.06  # s; by then all that a run leaves to do is done


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Seconds of each run, and of all together."""

    each: Sequence[float]
    all: float


class Subject(Protocol):
    """Something that says hello."""

    def measure(self, *, runs: int, at_once: int, pause: float = 0.0) -> Sample:
        """Run that often, so many at once, and rest for so many seconds after each."""


class Bare:
    """The interpreter of the cells, started by hand."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self._process = process

    @property
    def pid(self) -> int:
        """The process whose children they are."""
        return self._process.pid

    def measure(self, *, runs: int, at_once: int, pause: float = 0.0) -> Sample:
        """Ask the process that starts them."""
        assert self._process.stdin
        assert self._process.stdout
        asked = {"starts": runs, "at_once": at_once, "pause": pause}
        self._process.stdin.write(json.dumps(asked) + "\n")
        self._process.stdin.flush()
        return Sample(**json.loads(self._process.stdout.readline()))


def present_languages() -> Iterator[Language]:
    """Yield the languages that this host has."""
    for language in all_languages().values():
        with suppress(NotFound):
            language.find(None)
            yield language


@contextmanager
def bare(language: Language) -> Iterator[Bare]:
    """Prepare bare starts of a language's hello-world."""
    toolchain = language.find(None)[0]
    # Outside a cell, what is mounted is where it came from.
    sources = {mount.target: mount.source for mount in toolchain.mounts}
    executable = sources.get(toolchain.executable, toolchain.executable)
    with tempfile.TemporaryDirectory() as folder:
        job = {
            "argv": _command_line(language, [str(executable), *toolchain.arguments], folder),
            "hidden": [str(path) for path in toolchain.hidden],
        }
        with subprocess.Popen(
            [sys.executable, "-m", "benchmarks.bare"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as process:
            assert process.stdin
            process.stdin.write(json.dumps(job) + "\n")
            yield Bare(process)
            process.stdin.close()


def _command_line(language: Language, executable: Sequence[str], folder: str) -> list[str]:
    """Lay the example out in a folder, compile it if it has to be, and say how it is started."""
    laid_out = layout(language, Program(language=language.id, source=language.example))

    def here(text: str) -> str:
        return re.sub(r"^/(box|tmp)/", f"{folder}/", text)

    for path, data in laid_out.files.items():
        Path(folder, path).write_bytes(data)
    Path(folder, BUILD).mkdir()
    if language.compile is not None:
        asked = language.compile(laid_out.sources, COMPILE_LIMITS)
        needed = {name: here(text) for name, text in language.environment(COMPILE_LIMITS).items()}
        command = [*executable, *map(here, asked)]
        subprocess.run(command, env=os.environ | needed, check=True)
    program = [here(PRODUCT)] if language.runs_product else executable
    return [*program, *map(here, language.run(laid_out.sources, DEFAULT_LIMITS))]


class Service:
    """The whole path: HTTP, GraphQL, sandbox, database, answer.

    Args:
        is_new: whether no two programs are the same, so that each has to be compiled.
    """

    def __init__(self, port: int, language: Language, *, is_new: bool = False) -> None:
        self._port, self._language, self._is_new = port, language, is_new
        self._sent = 0

    def measure(self, *, runs: int, at_once: int, pause: float = 0.0) -> Sample:
        """Send requests over so many connections that are kept open."""
        began = time.perf_counter()
        shares = [len(range(client, runs, at_once)) for client in range(at_once)]
        with ThreadPoolExecutor(at_once) as threads:
            each = [
                second
                for share in threads.map(self._send, shares, repeat(pause))
                for second in share
            ]
        return Sample(each=each, all=time.perf_counter() - began)

    def _send(self, runs: int, pause: float) -> list[float]:
        connection = http.client.HTTPConnection("127.0.0.1", self._port)
        try:
            return [self._run(connection, pause) for _ in range(runs)]
        finally:
            connection.close()

    def _run(self, connection: http.client.HTTPConnection, pause: float) -> float:
        began = time.perf_counter()
        headers = {"Content-Type": "application/json"}
        connection.request("POST", "/graphql", self._body(), headers)
        answer = json.load(connection.getresponse())
        seconds = time.perf_counter() - began
        execution = answer["data"]["executeCode"]["execution"]
        if not execution or execution["stdout"] != EXPECTED:
            message = f"not the expected answer: {answer}"
            raise RuntimeError(message)
        time.sleep(pause)
        return seconds

    def _body(self) -> str:
        self._sent += self._is_new
        source = self._language.example + "\n" * self._sent
        variables = {"language": self._language.id, "source": source}
        return json.dumps({"query": _QUERY, "variables": variables})


@contextmanager
def served(settings: Mapping[str, str]) -> Iterator[int]:
    """Serve with an empty database of its own; yields the port."""
    greenroom = str(Path(sys.executable).with_name("greenroom"))
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {"GREENROOM_PORT": "0", **settings}
        migrate, quiet = [greenroom, "migrate"], subprocess.DEVNULL
        subprocess.run(migrate, cwd=folder, env=environment, stdout=quiet, check=True)
        with subprocess.Popen(
            [greenroom, "serve"], cwd=folder, env=environment, stderr=subprocess.PIPE, text=True
        ) as server:
            assert server.stderr
            try:
                port = _port_of(server.stderr)
                # Each run leaves lines in the log: a pipe that nobody reads stops the server.
                reader = Thread(target=server.stderr.read, daemon=True)
                reader.start()
                yield port
            finally:
                server.terminate()
                server.wait(timeout=30)


def _port_of(log: Iterator[str]) -> int:
    for line in log:
        found = re.search(r"http://127\.0\.0\.1:(\d+)/graphql", line)
        if found:
            return int(found[1])
    message = "the server did not start"
    raise RuntimeError(message)
