"""A server that is asked to stop lets programs end; asked twice, it does not wait."""

import os
import signal
from pathlib import Path

import anyio
import pytest

from tests.api.client import Api, Json

from .server import Server, serving, stored, traces, until_gone

SLEEP = "import time\nprint('so far', flush=True)\ntime.sleep({})\nprint('done')"
SIGNALS = pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])


async def until_running(api: Api, id: str) -> None:
    await api.until(id, lambda execution: execution["stdout"] == "so far\n")


async def left(server: Server) -> list[str]:
    return await anyio.to_thread.run_sync(traces, server.pid)


@SIGNALS
async def test_a_running_program_may_end_and_its_caller_is_answered(
    folder: Path, number: signal.Signals
) -> None:
    answers: list[Json] = []

    async def wait_for_it(api: Api) -> None:
        answers.append(await api.run(SLEEP.format(1)))

    async with (
        serving(folder, is_measured=number == signal.SIGTERM) as (server, api),
        anyio.create_task_group() as tasks,
    ):
        tasks.start_soon(wait_for_it, api)
        await server.says("execution accepted")
        server.signal(number)
        await server.says("stopping")
        assert await server.end() == 0
        assert await left(server) == []
        assert not any("Traceback" in line for line in server.log)
    [execution] = answers
    assert (execution["status"], execution["stdout"]) == ("SUCCEEDED", "so far\ndone\n")
    kept, transcript = await stored(folder, execution["id"])
    assert (kept.status, transcript.stdout) == ("SUCCEEDED", b"so far\ndone\n")


@pytest.mark.parametrize("warm_cells", ["auto", "0"])
async def test_ctrl_c_in_a_terminal_is_for_the_server_alone(folder: Path, warm_cells: str) -> None:
    # A terminal signals the whole group of processes that it has in front.
    own_group = ("setsid",)
    async with serving(folder, before=own_group, warm_cells=warm_cells) as (server, api):
        id = (await api.run(SLEEP.format(1), waitMs=0))["id"]
        await api.until(id, lambda execution: "so far" in execution["stdout"])
        os.killpg(server.pid, signal.SIGINT)
        assert await server.end() == 0
    kept, transcript = await stored(folder, id)
    assert (kept.status, transcript.stdout) == ("SUCCEEDED", b"so far\ndone\n")


async def test_while_it_stops_a_server_still_answers_but_accepts_nothing(folder: Path) -> None:
    async with serving(folder) as (server, api):
        id = (await api.run(SLEEP.format(60), waitMs=0))["id"]
        server.signal(signal.SIGTERM)
        await server.says("stopping")
        assert (await api.refuse())[0]["code"] == "SERVER_BUSY"
        assert (await api.http.get("/readyz")).status_code == 503
        assert (await api.look(id))["status"] == "RUNNING"
        assert await server.stop() == 0


async def test_what_does_not_end_in_time_is_stopped_and_its_caller_told(folder: Path) -> None:
    answers: list[Json] = []

    async def wait_for_it(api: Api) -> None:
        answers.append(await api.run(SLEEP.format(60), args=["not-in-time"]))

    # Cold: a program in a warm cell shows nobody its arguments, by which we look for it.
    cold = {"warm_cells": "0", "drain": 0.5}
    async with serving(folder, is_measured=True, **cold) as (server, api):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wait_for_it, api)
            await server.says("execution accepted")
            server.signal(signal.SIGTERM)
        assert await server.end() == 0
        await until_gone("not-in-time")
        assert await left(server) == []
    [execution] = answers
    assert execution["status"] == "INFRASTRUCTURE_ERROR"
    assert "server was stopped" in execution["message"]
    kept, _ = await stored(folder, execution["id"])
    assert kept.status == "INFRASTRUCTURE_ERROR"


@SIGNALS
async def test_a_second_signal_does_not_wait(folder: Path, number: signal.Signals) -> None:
    # Longer than we wait for the end of a server.
    settings = {"warm_cells": "0", "drain": 60, "default_wall_time": 60}
    async with serving(folder, **settings) as (server, api):
        id = (await api.run(SLEEP.format(60), args=["twice"], waitMs=0))["id"]
        await until_running(api, id)
        server.signal(number)
        await server.says("stopping")
        server.signal(number)
        assert await server.end() == 0
        await until_gone("twice")
        assert await left(server) == []
    kept, transcript = await stored(folder, id)
    assert (kept.status, transcript.stdout) == ("INFRASTRUCTURE_ERROR", b"so far\n")
    assert kept.outcome
    assert "server was stopped" in (kept.outcome.message or "")


async def test_who_sends_half_a_request_does_not_keep_a_server_up(folder: Path) -> None:
    async with serving(folder) as (server, api):
        assert api.http.base_url.port
        async with await anyio.connect_tcp("127.0.0.1", api.http.base_url.port) as silent:
            await silent.send(b"POST /graphql HTTP/1.1\r\nHost: localhost\r\n")
            began = anyio.current_time()
            server.signal(signal.SIGTERM)
            assert await server.end() == 0
            assert anyio.current_time() - began < 3
