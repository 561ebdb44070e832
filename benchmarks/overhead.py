"""CPU time of one request, as a ratio to a bare ASGI application that answers JSON.

    python -m benchmarks.overhead

The servers run at the same time, and are asked in turns in one run; what counts is the ratio of the
CPU time of their processes, which other work on the machine disturbs least.
"""

import http.client
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

TICK = os.sysconf("SC_CLK_TCK")
RUN = """
mutation Run($input: ExecuteCodeInput!) {
  executeCode(input: $input) {
    execution { id status stdout stderr exitCode usage { wallTimeMs cpuTimeMs peakMemoryBytes } }
    errors { code message }
  }
}
"""
HISTORY = """
query History {
  executions(first: 50) {
    edges {
      cursor
      node {
        id status language { id name } label sessionId attempt exitCode
        createdAt startedAt finishedAt usage { wallTimeMs }
      }
    }
    pageInfo { hasNextPage endCursor }
  }
}
"""
INPUT = {"language": "PYTHON", "source": "print(42)"}
MUTATION = json.dumps({"query": RUN, "variables": {"input": INPUT}}).encode()
PAGE = json.dumps({"query": HISTORY}).encode()
HEADERS = {
    "Content-Type": "application/json",
    "Accept": "application/graphql-response+json, application/json;q=0.9",
}


class Subject:
    """A server that is asked for one thing."""

    def __init__(self, name: str, pid: int, port: int, body: bytes) -> None:
        self.name, self._pid, self._body = name, pid, body
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def measure(self, requests: int) -> float:
        """Return the seconds of CPU time of one request."""
        before = cpu_time(self._pid)
        for _ in range(requests):
            self._connection.request("POST", "/graphql", self._body, HEADERS)
            response = self._connection.getresponse()
            if b'"errors":[{' in response.read() or response.status != 200:  # noqa: PLR2004
                raise RuntimeError(self.name)
        return (cpu_time(self._pid) - before) / requests


def cpu_time(pid: int) -> float:
    """Return the seconds that all threads of a process have worked, and the children it had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / TICK


@contextmanager
def started(module: str, *arguments: str) -> Iterator[tuple[int, int]]:
    """Start a server that prints its port; yields its process id and the port."""
    command = [sys.executable, "-m", module, *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout
            yield process.pid, int(process.stdout.readline())
        finally:
            process.kill()


def main(
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each subject.")] = 5,
    requests: Annotated[int, typer.Option(min=10, help="Requests in each turn.")] = 300,
) -> None:
    """Measure."""
    with ExitStack() as stack:
        baseline, *subjects = [
            Subject(name, *stack.enter_context(started("benchmarks.stub", kind)), body)
            for kind, name, body in (
                ("bare", "bare JSON", MUTATION),
                ("api", "executeCode, answered from memory", MUTATION),
                ("whole", "executeCode, with its rows in SQLite", MUTATION),
                ("whole", "a page of 50 of the history", PAGE),
            )
        ]
        for each in (baseline, *subjects):
            each.measure(50)
        turns = [
            # The bare one takes so little that its clock needs more of it.
            (baseline.measure(requests * 5), [each.measure(requests) for each in subjects])
            for _ in range(rounds)
        ]
    table = Table("", "CPU ms / request", "x bare", title="CPU of the server process")
    table.add_row(baseline.name, f"{statistics.median(bare for bare, _ in turns) * 1e3:.3f}", "1")
    for number, each in enumerate(subjects):
        cpu = statistics.median(measured[number] for _, measured in turns)
        ratio = statistics.median(measured[number] / bare for bare, measured in turns)
        table.add_row(each.name, f"{cpu * 1e3:.3f}", f"{ratio:.1f}")
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
