"""What Prometheus reads: true numbers, and labels that never grow in number."""

import re
from pathlib import Path

import anyio
import anyio.to_thread
from prometheus_client.parser import text_string_to_metric_families

from app.domain.execution import Exit, Status
from app.domain.ports import Emit, ExecutorState, PoolFigures
from app.executions.holder import own_name
from app.executor_factory import LANGUAGES
from app.storage.store import Arrival, Store
from tests.database.samples import PROGRAM, entry, execution, hold

from .client import Api
from .conftest import Open
from .fake import SUCCESS, FakeExecutor, Gate, succeed

ENDED = 'greenroom_executions_total{{language="PYTHON",status="{}"}}'


async def fail(_: Emit) -> Exit:
    return Exit(code=1, usage=SUCCESS.usage)


async def test_ended_executions_are_counted_with_their_times(open_api: Open) -> None:
    async with open_api(executor := FakeExecutor()) as api:
        for program, number in ((succeed, 3), (fail, 2)):
            executor.program = program
            for _ in range(number):
                await api.run("")
        numbers = await api.metrics()
        assert numbers[ENDED.format("SUCCEEDED")] == 3
        assert numbers[ENDED.format("FAILED")] == 2
        assert numbers['greenroom_execution_seconds_count{language="PYTHON"}'] == 5
        assert numbers['greenroom_execution_seconds_bucket{language="PYTHON",le="+Inf"}'] == 5
        # Who writes nothing has no first output.
        assert numbers['greenroom_first_output_seconds_count{language="PYTHON"}'] == 3
        assert 0 < numbers['greenroom_first_output_seconds_sum{language="PYTHON"}'] < 3 * 60


async def test_the_queue_and_the_slots_are_those_of_now(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), slots=1) as api:
        empty = await api.metrics()
        assert (empty["greenroom_slots"], empty["greenroom_slots_used"]) == (1, 0)
        assert (empty["greenroom_queue_length"], empty["greenroom_queue_oldest_seconds"]) == (0, 0)
        ids = [(await api.run("", waitMs=0))["id"] for _ in range(3)]
        await gate.started.wait()
        full = await api.metrics()
        assert (full["greenroom_slots_used"], full["greenroom_queue_length"]) == (1, 2)
        assert full["greenroom_queue_oldest_seconds"] > 0
        gate.ends.set()
        for id in ids:
            await api.end_of(id)


async def test_what_nobody_ran_to_its_end_is_counted_as_well(
    open_api: Open, database: Path
) -> None:
    where, pid, _, rest = (await anyio.to_thread.run_sync(own_name)).split(":")
    dead = f"{where}:{pid}:1:{rest}"
    store, lost = Store(f"sqlite:///{database}"), execution()
    await store.insert(Arrival(execution=lost, program=PROGRAM), dead)
    await store.append(hold(lost.id, dead), [entry(1)])
    await store.close()
    async with open_api(FakeExecutor(Gate()), slots=1, drain=0.01) as api:
        await api.run("", waitMs=0)
        queued = await api.run("", waitMs=0)
        await api.cancel(queued["id"])
        figures = await api.metrics()
        assert figures[ENDED.format("INFRASTRUCTURE_ERROR")] == 1
        assert figures[ENDED.format("CANCELLED")] == 1


async def test_who_asks_gets_well_formed_text(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        answer = await api.http.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        families = {each.name: each for each in text_string_to_metric_families(answer.text)}
        assert all(each.documentation for each in families.values())
        assert {"greenroom_info", "greenroom_database_up", "greenroom_feed_up"} <= set(families)
        assert "process_resident_memory_bytes" in families
        assert (await api.http.get("/metrics", headers={"Host": "evil.example"})).status_code == 421
        assert (await api.http.post("/metrics")).status_code == 405


async def test_no_label_is_a_text_of_the_callers(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        for number in range(3):
            secret = f"zebra{number}"
            names = dict.fromkeys(("sessionId", "label", "stdin", "idempotencyKey"), secret)
            await api.run(f"print('{secret}')", args=[secret], **names)
        text = (await api.http.get("/metrics")).text
    assert "zebra" not in text
    assert set(re.findall(r'language="([^"]*)"', text)) <= set(LANGUAGES)
    assert set(re.findall(r'status="([^"]*)"', text)) <= {status.value for status in Status}
    assert set(re.findall(r"[{,](\w+)=", text)) <= {
        *("language", "status", "le", "version", "executor", "state", "quantile")
    }


async def test_a_pool_is_shown_where_there_is_one(open_api: Open) -> None:
    class Pooled(FakeExecutor):
        figures = PoolFigures(
            ready=2,
            starting=1,
            target=3,
            create_p50=0.5,
            create_p95=None,
            warm_hit_rate=0.75,
            is_broken=False,
        )

        def state(self) -> ExecutorState:
            return ExecutorState(counts_exactly=False, pool=self.figures)

    async with open_api(Pooled()) as api:
        numbers = await api.metrics()
    assert numbers['greenroom_pool_sandboxes{state="ready"}'] == 2
    assert numbers['greenroom_pool_create_seconds{quantile="0.5"}'] == 0.5
    assert 'greenroom_pool_create_seconds{quantile="0.95"}' not in numbers
    assert numbers["greenroom_pool_warm_hit_ratio"] == 0.75
    async with open_api(FakeExecutor()) as api:
        assert not any("pool" in name for name in await api.metrics())


async def test_many_may_ask_at_once(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api, anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(up, api)


async def up(api: Api) -> None:
    assert (await api.metrics())["greenroom_database_up"] == 1
