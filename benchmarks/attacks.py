"""What attacks cost a good client: its p95 while they run, as a ratio to its p95 at rest.

    python -m benchmarks.attacks

Attackers are processes of their own, which send as fast as they get answers. The good client sends
known documents one after the other: a run, and a page of the history. Attackers are somewhere else
in the world, so here they have the lowest priority: what they compute takes little from the server
and nothing from the good client. An attack that sends nothing but good small queries shows what a
flood of requests costs that attacks nothing.
"""

import http.client
import itertools
import json
import multiprocessing
import os
import random
import socket
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.synchronize import Event
from typing import Annotated

import typer
from rich.console import Console
from rich.table import Table

from benchmarks.overhead import HEADERS, MUTATION, PAGE
from benchmarks.subjects import served

Body = Callable[[int], bytes]


def _query(text: str) -> bytes:
    return json.dumps({"query": text}).encode()


def _fragments(number: int) -> bytes:
    spreads = "".join(f"fragment f{n} on Query {{ ...f{n + 1} ...f{n + 1} }} " for n in range(60))
    return _query(f"{{ a{number}: __typename ...f0 }} {spreads} fragment f60 on Query {{ a }}")


def _pairs(number: int) -> bytes:
    spreads = " ".join(f"...f{n}" for n in range(70))
    fragments = "".join(f"fragment f{n} on Health {{ load {{ slots }} }}" for n in range(70))
    return _query(f"{{ a{number}: health {{ {spreads} }} }} {fragments}")


def _fields(amount: int) -> Body:
    return lambda number: _query(
        f"{{ health {{ {' '.join(f'q{number}x{n}' for n in range(amount))} }} }}"
    )


ATTACKS: dict[str, Body] = {
    "good small queries": lambda _: _query("{ __typename }"),
    "fragment bomb": _fragments,
    "pairs of fragments": _pairs,
    "aliases": lambda number: _query(
        "{" + " ".join(f"a{number}x{n}: __typename" for n in range(300)) + "}"
    ),
    "unknown fields": _fields(450),
    "directives": lambda number: _query(f"{{ a{number}: __typename {'@aa ' * 400} }}"),
    "depth": lambda number: _query(f"{{ a{number} " + "{a" * 150 + "}" * 151),
    "introspection": lambda number: _query(
        f"{{ a{number}: __schema {{ types {{ fields {{ type {{ fields {{ name }} }} }} }} }} }}"
    ),
    "bodies of 4 MiB": lambda _: json.dumps({"query": "{ a }", "x": "x" * 2**22}).encode(),
    "many values": lambda _: b"[" + b"[]," * 20_000 + b"[]]",
    "deep JSON": lambda _: b"[" * 200_000,
    "invalid UTF-8": lambda _: b'{"query": "\xff"}',
}


def attack(port: int, name: str, seed: int, stop: Event) -> None:
    """Send until told to stop."""
    os.nice(19)
    numbers = itertools.count(random.Random(seed).randrange(10**9))
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    while not stop.is_set():
        with suppress(OSError, http.client.HTTPException):
            connection.request("POST", "/graphql", ATTACKS[name](next(numbers)), HEADERS)
            connection.getresponse().read()
            continue
        connection.close()


def drip(port: int, _: str, __: int, stop: Event) -> None:
    """Hold a hundred connections with bodies that never come."""
    os.nice(19)
    head = b"POST /graphql HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    open_ones = [socket.create_connection(("127.0.0.1", port)) for _ in range(100)]
    for each in open_ones:
        each.sendall(head + b"Content-Length: 1000\r\n\r\n{")
    while not stop.wait(0.2):
        for each in open_ones:
            with suppress(OSError):
                each.sendall(b" ")


@contextmanager
def attacking(port: int, name: str, attackers: int) -> Iterator[None]:
    """Attack in the meantime."""
    stop = multiprocessing.Event()
    target = attack if name in ATTACKS else drip
    processes = [
        multiprocessing.Process(target=target, args=(port, name, seed, stop), daemon=True)
        for seed in range(attackers)
    ]
    for process in processes:
        process.start()
    try:
        time.sleep(0.5)  # until they are at it
        yield
    finally:
        stop.set()
        for process in processes:
            process.join(30)


def good_client(port: int, body: bytes, requests: int) -> float:
    """Return the p95 of a client's requests, in seconds."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=15)
    seconds = []
    for _ in range(requests):
        began = time.perf_counter()
        connection.request("POST", "/graphql", body, HEADERS)
        if b'"data":{' not in connection.getresponse().read():
            raise RuntimeError(body)
        seconds.append(time.perf_counter() - began)
    connection.close()
    return statistics.quantiles(seconds, n=20, method="inclusive")[18]


def main(
    requests: Annotated[int, typer.Option(min=20, help="Of the good client, each time.")] = 60,
    attackers: Annotated[int, typer.Option(min=1, help="Connections of an attack.")] = 1,
) -> None:
    """Measure."""
    table = Table(title="p95 of a good client under attack / at rest")
    for column in ("attack", "a run", "a page of the history"):
        table.add_column(column)
    with served({}) as port:
        for body in (MUTATION, PAGE):
            good_client(port, body, 60)
        for name in [*ATTACKS, "slow bodies"]:
            at_rest = [good_client(port, body, requests) for body in (MUTATION, PAGE)]
            with attacking(port, name, attackers):
                attacked = [good_client(port, body, requests) for body in (MUTATION, PAGE)]
            ratios = [under / rest for under, rest in zip(attacked, at_rest, strict=True)]
            shown = [
                f"{ratio:.1f}  ({under * 1e3:.0f} / {rest * 1e3:.0f} ms)"
                for ratio, under, rest in zip(ratios, attacked, at_rest, strict=True)
            ]
            table.add_row(name, *shown)
            print(name, *shown)
    Console(width=100).print(table)


if __name__ == "__main__":
    typer.run(main)
