"""Several programs in one request: each has its own answer, and there is room for all or none."""

from typing import Any

import anyio
import pytest

from app.domain.execution import Exit
from app.domain.ports import Emit

from .callers import SECRET, candidate, service
from .client import ALL, Api, Json
from .conftest import Open
from .fake import FakeExecutor, Gate, succeed

BATCH = """
mutation Batch($input: ExecuteCodeBatchInput!) { executeCodeBatch(input: $input) {
  payloads { execution { ...All } errors { __typename code message path } }
  errors { __typename code message path }
} }
"""


def program(source: str = "", language: str = "PYTHON", **input: Any) -> Json:
    return {"language": language, "source": source} | input


async def batch(api: Api, *executions: Json) -> list[Json]:
    """Send a batch that must not be refused as a whole, and return its payloads."""
    answer = await api.ask(BATCH + ALL, input={"executions": executions})
    assert answer["executeCodeBatch"]["errors"] == []
    payloads: list[Json] = answer["executeCodeBatch"]["payloads"]
    assert len(payloads) == len(executions)
    return payloads


def kinds(payloads: list[Json]) -> list[str]:
    """Say of each what became of it."""
    return [
        payload["execution"]["status"]
        if payload["execution"]
        else " ".join(error["__typename"] for error in payload["errors"])
        for payload in payloads
    ]


async def number_of(api: Api) -> int:
    count: int = (await api.ask("{ executions { totalCount } }"))["executions"]["totalCount"]
    return count


async def test_what_was_erased_before_a_batch_is_answered_is_not_in_the_answer(
    open_api: Open,
) -> None:
    gate, programs = Gate(), [succeed]

    async def the_second_waits(emit: Emit) -> Exit:
        return await (programs.pop() if programs else gate)(emit)

    answers: list[Json] = []
    async with open_api(FakeExecutor(the_second_waits), slots=1) as api:

        async def send() -> None:
            answers.extend(await batch(api, program(), program()))

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(send)
            await gate.started.wait()
            ended = "{ executions(filter: { statusIn: SUCCEEDED }) { nodes { id stdout } } }"
            [first] = (await api.ask(ended))["executions"]["nodes"]
            assert first["stdout"] == "42\n"
            erase = (
                "mutation($id: ID!) { deleteExecutions(input: { ids: [$id] }) { deletedCount } }"
            )
            await api.ask(erase, id=first["id"])
            gate.ends.set()
    said = {each["execution"]["id"]: each["execution"]["stdout"] for each in answers}
    assert said.pop(first["id"]) == ""
    assert list(said.values()) == ["so far\nand on\n"]


async def test_each_program_of_a_batch_has_its_own_answer(api: Api) -> None:
    payloads = await batch(
        api,
        program("print(1)"),
        program("console.log(2)", "JAVASCRIPT"),
        program("exit(3)"),
        program("x", stdinBase64="?"),
        program("x", limits={"processes": 10**6}),
        program("while True: pass", waitMs=0, limits={"cpuTimeMs": 300}),
    )
    assert kinds(payloads)[:5] == [
        "SUCCEEDED",
        "SUCCEEDED",
        "FAILED",
        "InvalidInput",
        "LimitTooHigh",
    ]
    assert [payload["execution"]["stdout"] for payload in payloads[:3]] == ["1\n", "2\n", ""]
    assert payloads[3]["errors"][0]["path"] == ["stdinBase64"]
    assert payloads[5]["execution"]["status"] in {"QUEUED", "RUNNING"}
    assert await number_of(api) == 4


@pytest.mark.parametrize("number", [0, 21])
async def test_a_batch_has_one_to_twenty_programs(api: Api, number: int) -> None:
    answer = await api.ask(BATCH + ALL, input={"executions": [program()] * number})
    (error,) = answer["executeCodeBatch"]["errors"]
    assert (error["__typename"], error["path"]) == ("InvalidInput", ["executions"])
    assert answer["executeCodeBatch"]["payloads"] == []


async def test_twenty_programs_are_run(api: Api) -> None:
    payloads = await batch(api, *(program(f"print({n})", waitMs=60_000) for n in range(20)))
    assert [payload["execution"]["stdout"] for payload in payloads] == [f"{n}\n" for n in range(20)]


async def test_there_is_room_in_the_queue_for_all_or_for_none(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1, queue_size=2) as api:
        await api.run("", waitMs=0)
        with anyio.fail_after(30):
            await gate.started.wait()
        three = [program(waitMs=0)] * 3
        assert kinds(await batch(api, *three)) == ["ServerBusy"] * 3
        assert await number_of(api) == 1
        assert kinds(await batch(api, *three[:2], program(args=["\0"]))) == [
            "QUEUED",
            "QUEUED",
            "InvalidInput",
        ]
        gate.ends.set()


async def test_a_rate_lets_all_through_or_none_and_none_costs_nothing(open_api: Open) -> None:
    rates = {"rate_executions_per_subject": "5/minute"}
    async with open_api(FakeExecutor(), jwt_secret=SECRET, **rates) as api:
        ada = candidate(api)
        assert kinds(await batch(ada, program(), program(), program())) == ["SUCCEEDED"] * 3
        assert kinds(await batch(ada, program(), program(), program())) == ["RateLimited"] * 3
        assert kinds(await batch(ada, program(), program())) == ["SUCCEEDED"] * 2
        assert kinds(await batch(ada, program())) == ["RateLimited"]


@pytest.mark.parametrize(
    ("bound", "kind"),
    [
        ({"quota_executions": 2}, "QuotaExceeded"),
        ({"quota_submissions": 2}, "QuotaExceeded"),
        ({"quota_submissions_per_session": 2}, "QuotaExceeded"),
        ({"concurrency_per_owner": 2}, "RateLimited"),
    ],
)
async def test_a_share_is_enough_for_all_or_for_none(
    open_api: Open, bound: dict[str, Any], kind: str
) -> None:
    async with open_api(FakeExecutor(), jwt_secret=SECRET, **bound) as api:
        back_end = service(api)
        one = program(sessionId="s", kind="SUBMIT")
        assert kinds(await batch(back_end, one, one, one)) == [kind] * 3
        assert await number_of(back_end) == 0
        assert kinds(await batch(back_end, one, one)) == ["SUCCEEDED"] * 2


async def test_one_key_in_a_batch_is_one_execution(api: Api) -> None:
    first, same, other = await batch(
        api,
        program("print(1)", idempotencyKey="k"),
        program("print(1)", idempotencyKey="k"),
        program("print(2)", idempotencyKey="k"),
    )
    assert first["execution"]["id"] == same["execution"]["id"]
    assert kinds([other]) == ["IdempotencyConflict"]
    (again,) = await batch(api, program("print(1)", idempotencyKey="k"))
    assert again["execution"]["id"] == first["execution"]["id"]
    assert await number_of(api) == 1
