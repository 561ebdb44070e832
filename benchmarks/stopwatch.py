"""Whether time tells another tenant's ids from ids that never were.

    python -m benchmarks.stopwatch

Two tenants before one server. One has executions with large programs and much output; the other
asks for their ids, and as often, in random order, for ids that never were. What counts is how often
a foreign id takes longer than an unknown one: half of the time, if nothing can be told.
"""

import http.client
import json
import random
import secrets
import time
from statistics import median
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table
from uuid6 import uuid7

from app.api.ids import encode_id
from benchmarks.subjects import served
from tests.api.callers import token

SECRET = secrets.token_hex(32)
OURS = 20  # executions, each with a large program
SOURCE = f"print('x' * 200_000)  # {'y' * 100_000}"
RUN = "mutation Run($input: ExecuteCodeInput!) { executeCode(input: $input) { execution { id } } }"
ASKED = {
    "execution": "query Q($id: ID!) { execution(id: $id) { source stdout events { sequence } } }",
    "node": "query Q($id: ID!) { node(id: $id) { id ... on Execution { source stdout } } }",
    "cancelExecution": "mutation Q($id: ID!) { cancelExecution(input: { id: $id }) "
    "{ execution { id } errors { code } } }",
    "sendInput": 'mutation Q($id: ID!) { sendInput(input: { id: $id, text: "x" }) '
    "{ execution { id } errors { code } } }",
    "rerunExecution": "mutation Q($id: ID!) { rerunExecution(input: { id: $id }) "
    "{ execution { id } errors { code } } }",
    "deleteExecutions": "mutation Q($id: ID!) { deleteExecutions(input: { ids: [$id] }) "
    "{ deletedCount errors { code } } }",
    "executionEvents": "subscription Q($id: ID!) { executionEvents(id: $id) { sequence } }",
}


class Tenant:
    """One of the two, with a token of its own."""

    def __init__(self, port: int, owner: str) -> None:
        bearer = token(owner, "back end", "SERVICE", None, secret=SECRET)
        self._headers = {"Authorization": f"Bearer {bearer}", "Content-Type": "application/json"}
        self._connection = http.client.HTTPConnection("127.0.0.1", port)

    def ask(self, query: str, **variables: Any) -> tuple[float, str]:
        """Return how long an answer takes, in seconds, and what it is."""
        body = json.dumps({"query": query, "variables": variables})
        accept = "text/event-stream" if query.startswith("subscription") else "application/json"
        began = time.perf_counter()
        self._connection.request("POST", "/graphql", body, {**self._headers, "Accept": accept})
        text = self._connection.getresponse().read().decode()
        return time.perf_counter() - began, text


def compare(spy: Tenant, query: str, ids: list[str], questions: int) -> tuple[float, float, float]:
    """Return the medians for foreign and unknown ids, and how often a foreign one takes longer.

    Raises:
        RuntimeError: the answers differ, so that no stopwatch is needed.
    """
    seconds: dict[bool, list[float]] = {True: [], False: []}
    said = set()
    for number in range(questions):
        for is_foreign in random.sample((True, False), 2):
            id = random.choice(ids) if is_foreign else encode_id(uuid7())
            took, answer = spy.ask(query, id=id)
            said.add(answer)
            if number >= questions // 10:  # whoever comes first warms up for the others
                seconds[is_foreign].append(took)
    if len(said) > 1:
        raise RuntimeError(said)
    foreign, unknown = seconds[True], seconds[False]
    longer = sum((one > other) + (one == other) / 2 for one in foreign for other in unknown)
    return median(foreign), median(unknown), longer / (len(foreign) * len(unknown))


def main(
    questions: Annotated[int, typer.Option(min=100, help="Of each kind, for each field.")] = 1000,
) -> None:
    """Measure."""
    table = Table(title="ids of another tenant and ids that never were")
    for column in ("field", "foreign ms", "unknown ms", "ratio", "foreign takes longer"):
        table.add_column(column)
    unbounded = {
        f"GREENROOM_RATE_{what}_PER_{whom}": "off"
        for what in ("REQUESTS", "EXECUTIONS")
        for whom in ("KEY", "SUBJECT", "ADDRESS")
    }
    with served({"GREENROOM_JWT_SECRET": SECRET, **unbounded}) as port:
        owner, spy = Tenant(port, "acme"), Tenant(port, "umbrella")
        ids = []
        for _ in range(OURS):
            _, text = owner.ask(RUN, input={"language": "PYTHON", "source": SOURCE})
            ids.append(json.loads(text)["data"]["executeCode"]["execution"]["id"])
        for field, query in ASKED.items():
            foreign, unknown, share = compare(spy, query, ids, questions)
            row = (f"{foreign * 1e3:.3f}", f"{unknown * 1e3:.3f}", f"{foreign / unknown:.3f}")
            table.add_row(field, *row, f"{share:.1%}")
    # Between two alike, the share strays from a half by about this much.
    Console(width=100).print(table, f"chance alone: 50% ± {100 / (6 * questions) ** 0.5:.1f}%")


if __name__ == "__main__":
    typer.run(main)
