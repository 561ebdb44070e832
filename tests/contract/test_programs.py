"""Programs get what they were given, and how they end is told as it was."""

import json
import os
import random
import signal

import anyio
import pytest

from app.domain.execution import Output, Status, Stream
from tests.contract import programs
from tests.contract.runs import Box

MIB = 1 << 20


async def test_the_example_of_a_language_greets(box: Box) -> None:
    result = await box(box.language.example)
    assert result.status is Status.SUCCEEDED, result
    assert (result.text, result.stderr) == ("Hello, world!\n", b"")


async def test_the_version_is_known(box: Box) -> None:
    version = box.executor.supports(box.language).version
    assert version
    assert version[0].isdigit()


# --- Input ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "stdin",
    [
        pytest.param(b"", id="nothing"),
        pytest.param(b"one\ntwo", id="text"),
        pytest.param(bytes(range(256)), id="every byte"),
        pytest.param("grün €\r\n\0\n".encode(), id="text with NUL"),
        pytest.param(random.Random(1).randbytes(MIB - 7), id="almost 1 MiB"),
    ],
)
async def test_input_arrives_byte_for_byte(box: Box, stdin: bytes) -> None:
    result = await box(programs.ECHO[box.language.id], stdin=stdin)
    assert result.status is Status.SUCCEEDED, result
    assert result.stdout == stdin


async def test_input_and_output_have_names(box: Box) -> None:
    result = await box(programs.ECHO_BY_NAME[box.language.id], stdin=b"by name\n")
    assert result.status is Status.SUCCEEDED, result
    assert (result.stdout, result.stderr) == (b"by name\n", b"by name\n")


@pytest.mark.parametrize("size", [1, MIB])
async def test_input_that_nobody_reads_holds_nobody_up(box: Box, size: int) -> None:
    result = await box(programs.NOTHING[box.language.id], stdin=bytes(size))
    assert result.status is Status.SUCCEEDED, result
    assert result.seconds < 5


@pytest.mark.parametrize(
    "args",
    [
        pytest.param([], id="none"),
        pytest.param(["one", "two words", " "], id="spaces"),
        pytest.param(["", "", ""], id="empty"),
        pytest.param(["grün", "€", "\U0001f3ad"], id="unicode"),
        pytest.param(["-h", "--version", "--", "-", "-c", "-e"], id="leading dashes"),
        pytest.param(["$HOME", "`id`", "*", "'\"\\", "a\nb", ";exit 3"], id="shell"),
        pytest.param(["x" * 60000], id="long"),
        pytest.param([str(n) for n in range(64)], id="many"),
    ],
)
async def test_arguments_arrive_as_they_are(box: Box, args: list[str]) -> None:
    result = await box(programs.ARGUMENTS[box.language.id], args=args)
    assert result.status is Status.SUCCEEDED, result
    assert json.loads(result.stdout) == args


# --- Ends ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("code", [0, 1, 2, 3, 124, 137, 139, 255])
async def test_an_exit_code_is_an_exit_code_and_nothing_else(box: Box, code: int) -> None:
    result = await box(programs.EXIT[box.language.id], args=[str(code)])
    assert (result.outcome.exit_code, result.outcome.signal) == (code, None), result
    assert result.status is (Status.FAILED if code else Status.SUCCEEDED)


@pytest.mark.parametrize("name", ["SIGSEGV", "SIGABRT", "SIGKILL", "SIGTERM", "SIGHUP", "SIGXCPU"])
async def test_a_signal_is_called_by_its_name(box: Box, name: str) -> None:
    result = await box(programs.KILL_SELF[box.language.id], args=[name])
    assert result.status is Status.CRASHED, result
    assert (result.outcome.exit_code, result.outcome.signal) == (None, name)


async def test_a_signal_that_the_server_ignores_still_ends_a_program(box: Box) -> None:
    # As a shell has it for what it starts in the background.
    before = signal.signal(signal.SIGQUIT, signal.SIG_IGN)
    try:
        result = await box(programs.KILL_SELF[box.language.id], args=["SIGQUIT"], wall_time=5.0)
    finally:
        signal.signal(signal.SIGQUIT, before)
    assert (result.status, result.outcome.signal) == (Status.CRASHED, "SIGQUIT"), result


async def test_an_uncaught_error_names_the_program_and_nothing_of_ours(box: Box) -> None:
    result = await box(programs.THROW[box.language.id])
    assert (result.status, result.outcome.exit_code) == (Status.FAILED, 1), result
    said = result.stderr.decode()
    assert "boom" in said
    assert f"/box/{box.language.source_name}" in said
    assert "greenroom" not in said
    assert "init" not in said.lower()


async def test_a_program_that_does_nothing_succeeds_with_nothing(box: Box) -> None:
    result = await box(programs.NOTHING[box.language.id])
    assert result.status is Status.SUCCEEDED, result
    assert (result.stdout, result.stderr) == (b"", b"")


async def test_what_a_run_used_is_told(box: Box) -> None:
    result = await box(programs.HOLD[box.language.id], args=["50"])
    assert result.status is Status.SUCCEEDED, result
    usage = result.outcome.usage
    assert usage
    assert 0.1 <= usage.wall_time < 5
    assert 0 < usage.cpu_time < 5
    assert 50 * MIB < usage.peak_memory < 256 * MIB


# --- Output --------------------------------------------------------------------------------------


async def test_each_stream_keeps_its_order(box: Box) -> None:
    result = await box(programs.COUNT[box.language.id])
    assert result.status is Status.SUCCEEDED, result
    assert result.text.splitlines() == [str(n) for n in range(2000)]
    assert [int(line) for line in result.stderr.split()] == [-n for n in range(2000)]


async def test_output_is_bytes_not_text(box: Box) -> None:
    result = await box(programs.ALL_BYTES[box.language.id])
    expected = bytes(range(256)) + b"\xed\xa0\x80\xe2\x82"
    assert result.status is Status.SUCCEEDED, result
    assert (result.stdout, result.stderr) == (expected, expected * 2)


async def test_output_comes_while_the_program_runs(box: Box) -> None:
    async with anyio.create_task_group() as tasks:
        await box.until_it_speaks(programs.SLEEP[box.language.id], tasks)
        tasks.cancel_scope.cancel()


async def test_a_slow_reader_slows_the_program_down_and_loses_nothing(box: Box) -> None:
    async def heard(_: Output) -> None:
        await anyio.sleep(0.01)

    args = [str(1), str(MIB)]
    result = await box(programs.FLOOD[box.language.id], args=args, heard=heard)
    assert result.status is Status.SUCCEEDED, result
    assert result.stdout == b"x" * MIB


async def test_a_program_may_close_its_output_and_go_on(box: Box) -> None:
    result = await box(programs.CLOSE_OUTPUT[box.language.id])
    assert (result.stdout, result.outcome.exit_code) == (b"before\n", 3), result


async def test_the_streams_are_told_apart(box: Box) -> None:
    result = await box(programs.FLOOD[box.language.id], args=["2", "10"])
    assert {output.stream for output in result.outputs} == {Stream.STDERR}, result


# --- Surroundings --------------------------------------------------------------------------------


async def test_the_surroundings_are_the_same_everywhere(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "HOSTSECRET-1234")
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    result = await box(programs.SURROUNDINGS[box.language.id])
    assert result.status is Status.SUCCEEDED, result
    seen = json.loads(result.stdout)
    path, environment = seen.pop("path"), set(seen.pop("environment"))
    assert seen == {
        "directory": "/box",
        "home": "/box",
        "temporary": "/tmp",
        "user": "sandbox",
        "is_root": False,
        "host": "greenroom",
        "offset": 0,
        "text": "grün €",
        "encoding": "utf-8",
    }
    assert {"/usr/bin", "/bin"} <= set(path.split(os.pathsep))
    assert {"PATH", "HOME", "USER", "LANG"} <= environment
    assert "HOSTSECRET" not in result.text
