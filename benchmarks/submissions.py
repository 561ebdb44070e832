"""One submission with many tests, against bare starts and against as many single runs."""

import http.client
import json
import os
import statistics
import time
from typing import Annotated

import typer

from app.languages import all_languages
from benchmarks.subjects import Bare, Service, bare, served

_QUERY = """
mutation Submit($input: ExecuteCodeInput!) { executeCode(input: $input) {
  execution { verdict testSummary { passed total } } errors { message } } }
"""


def main(
    tests: Annotated[int, typer.Option(min=1, help="Tests of a submission.")] = 100,
    rounds: Annotated[int, typer.Option(min=1, help="Turns of each subject.")] = 5,
) -> None:
    """Measure, alternating; what counts is the ratio of tests a second."""
    cores = len(os.sched_getaffinity(0))
    language = all_languages()["PYTHON"]
    with served({}) as port, bare(language) as baseline:
        single = Service(port, language)
        turns = [_turn(port, tests, baseline, single, cores) for _ in range(rounds + 1)][1:]
    for name, position in (("bare starts", 1), ("single runs", 2)):
        ratio = statistics.median(turn[0] / turn[position] for turn in turns)
        ours, theirs = (statistics.median(turn[each] for turn in turns) for each in (0, position))
        typer.echo(
            f"tests / {name}, {cores} at once: {ratio:.2f} ({ours:.0f} / {theirs:.0f} a second)"
        )


def _turn(
    port: int, tests: int, baseline: Bare, single: Service, cores: int
) -> tuple[float, float, float]:
    return (
        tests / _submit(port, tests),
        tests / baseline.measure(runs=tests, at_once=cores).all,
        tests / single.measure(runs=tests, at_once=cores).all,
    )


def _submit(port: int, tests: int) -> float:
    """Send one submission, and return the seconds until its answer."""
    language = all_languages()["PYTHON"]
    test = {"expectedStdout": "Hello, world!"}
    input = {
        "language": language.id,
        "source": language.example,
        "tests": [test] * tests,
        "waitMs": 60_000,
    }
    body = json.dumps({"query": _QUERY, "variables": {"input": input}})
    connection = http.client.HTTPConnection("127.0.0.1", port)
    began = time.perf_counter()
    connection.request("POST", "/graphql", body, {"Content-Type": "application/json"})
    answer = json.load(connection.getresponse())
    seconds = time.perf_counter() - began
    connection.close()
    if answer["data"]["executeCode"]["execution"]["verdict"] != "PASSED":
        message = f"not the expected answer: {answer}"
        raise RuntimeError(message)
    return seconds


if __name__ == "__main__":
    typer.run(main)
