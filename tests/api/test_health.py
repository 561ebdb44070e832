"""Health, readiness and metrics tell the truth when a part is gone, and when it is back."""

from collections.abc import Callable
from pathlib import Path

import anyio
import pytest

from app.domain.errors import ExecutorError
from app.domain.ports import ExecutorState, PoolFigures
from app.executions import pulse, vigil
from app.executor_factory import local_executor
from app.executors.local.executor import LocalExecutor

from .client import Api, Json
from .conftest import Open, settings_of
from .fake import FakeExecutor
from .test_failures import tables_away

HEALTH = "{ health { status executor { status problem } database { status } } }"


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look more often than a server does."""
    monkeypatch.setattr(vigil, "EVERY", 0.01)
    monkeypatch.setattr(vigil, "AGAIN", 0.01)


async def until_ready(api: Api, status: str) -> None:
    """Wait until the server calls itself so."""
    with anyio.fail_after(30):
        while (await api.http.get("/readyz")).json() != {"status": status}:  # noqa: ASYNC110
            await anyio.sleep(0.01)
    assert (await api.http.get("/readyz")).status_code == (200 if status == "ok" else 503)
    assert (await api.http.get("/healthz")).status_code == 200


async def health(api: Api) -> Json:
    found: Json = (await api.ask(HEALTH))["health"]
    return found


async def test_everything_is_well(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        await until_ready(api, "ok")
        assert await health(api) == {
            "status": "OK",
            "executor": {"status": "OK", "problem": None},
            "database": {"status": "OK"},
        }
        numbers = await api.metrics()
    assert (numbers["greenroom_database_up"], numbers["greenroom_executor_up"]) == (1, 1)


async def test_a_database_that_is_gone(open_api: Open, database: Path) -> None:
    async with open_api(FakeExecutor()) as api:
        with tables_away(database):
            await until_ready(api, "database unavailable")
            found = await health(api)
            assert (found["status"], found["database"]["status"]) == ("DEGRADED", "DEGRADED")
            numbers = await api.metrics()
            assert numbers["greenroom_database_up"] == 0
            assert "greenroom_queue_length" not in numbers
        await until_ready(api, "ok")
        assert (await health(api))["status"] == "OK"


async def test_a_database_that_hangs_keeps_nobody(
    open_api: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pulse, "PATIENCE", 0.05)
    asked, goes_on = 0, anyio.Event()

    async def hang(_: object) -> None:
        nonlocal asked
        asked += 1
        await goes_on.wait()

    async with open_api(FakeExecutor()) as api:
        monkeypatch.setattr("app.storage.store.Store.queue_length", hang)
        async with anyio.create_task_group() as tasks:
            for _ in range(10):
                tasks.start_soon(until_ready, api, "database unavailable")
        assert (await api.metrics())["greenroom_database_up"] == 0
        assert asked == 1  # one question is on its way, however many want to know
        monkeypatch.undo()
        goes_on.set()
        await until_ready(api, "ok")


async def test_a_sandbox_that_is_gone(open_api: Open, no_settings_of_the_developer: None) -> None:
    """What a cleaner of temporary files does to a server that has been up for weeks."""
    # Cells that wait already would not miss it.
    own = await anyio.to_thread.run_sync(local_executor, settings_of(warm_cells="0"))
    async with own as executor, open_api(executor) as api:
        await until_ready(api, "ok")
        hide, restore = hiding(executor)
        await anyio.to_thread.run_sync(hide)
        await until_ready(api, "executor unavailable")
        found = await health(api)
        assert (found["status"], found["executor"]["status"]) == ("DEGRADED", "DEGRADED")
        assert found["executor"]["problem"]
        assert (await api.metrics())["greenroom_executor_up"] == 0
        assert (await api.run("print(42)"))["status"] == "INFRASTRUCTURE_ERROR"
        await anyio.to_thread.run_sync(restore)
        await until_ready(api, "ok")
        assert (await api.run("print(42)"))["stdout"] == "42\n"


def hiding(executor: LocalExecutor) -> tuple[Callable[[], object], Callable[[], object]]:
    path = executor._stage.path
    hidden = path.with_name(f"{path.name}.hidden")
    return lambda: path.rename(hidden), lambda: hidden.rename(path)


@pytest.mark.parametrize(
    ("failure", "problem"),
    [
        (ExecutorError("no cell"), "no cell"),
        (ExceptionGroup("", [ExecutorError("no cell")]), "no cell"),
        (ZeroDivisionError(), "see the log"),
    ],
)
async def test_however_a_try_fails_it_is_said_and_harms_nobody(
    open_api: Open, failure: Exception, problem: str
) -> None:
    class Failing(FakeExecutor):
        fails = True

        async def check(self) -> None:
            if self.fails:
                raise failure

    async with open_api(executor := Failing()) as api:
        await until_ready(api, "executor unavailable")
        assert problem in (await health(api))["executor"]["problem"]
        executor.fails = False
        await until_ready(api, "ok")


async def test_a_try_that_hangs_is_given_up(
    open_api: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Hanging(FakeExecutor):
        async def check(self) -> None:
            await anyio.sleep_forever()

    monkeypatch.setattr(vigil, "_PATIENCE", 0.05)
    async with open_api(Hanging()) as api:
        await until_ready(api, "executor unavailable")
        assert "does not answer" in (await health(api))["executor"]["problem"]


@pytest.mark.parametrize("problem", ["Modal does not answer", None])
async def test_what_an_executor_knows_already_needs_no_try(
    open_api: Open, problem: str | None
) -> None:
    class Broken(FakeExecutor):
        def state(self) -> ExecutorState:
            pool = PoolFigures(
                ready=0,
                starting=0,
                target=1,
                create_p50=None,
                create_p95=None,
                warm_hit_rate=None,
                is_broken=problem is None,
            )
            return ExecutorState(counts_exactly=False, problem=problem, pool=pool)

    async with open_api(Broken()) as api:
        await until_ready(api, "executor unavailable")
        said = (await health(api))["executor"]["problem"]
        assert said == (problem or "no sandbox can be made")
