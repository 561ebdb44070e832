"""A server says where it is, or why it does not start and what to do."""

import logging
import os
import socket
import sqlite3
import subprocess
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from blockbuster import BlockBuster
from typer.testing import CliRunner

from app.cli import app

from .server import (
    COMMAND,
    environment,
    greenroom,
    named,
    serving,
    starting,
    stored,
    traces,
    until,
)


@pytest.fixture(autouse=True)
def may_block(blockbuster: BlockBuster) -> None:
    """Let a start block the loop: nobody is served yet."""
    blockbuster.deactivate()


@pytest.fixture(autouse=True)
def as_before() -> Iterator[None]:
    """Put the log back as pytest has it."""
    loggers = logging.getLogger(), logging.getLogger("uvicorn.error")
    handlers, levels = loggers[0].handlers[:], [each.level for each in loggers]
    yield
    loggers[0].handlers[:] = handlers
    for logger, level in zip(loggers, levels, strict=True):
        logger.setLevel(level)


@pytest.fixture
def here(folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(folder)
    for name in tuple(os.environ):
        if name.startswith(("GREENROOM_", "MODAL_")):
            monkeypatch.delenv(name)
    return folder


def refusal(*arguments: str, **settings: Any) -> str:
    """Start a server that does not start, in this process; return what it says."""
    ended = CliRunner().invoke(app, ["serve", *arguments], env=named(settings))
    assert isinstance(ended.exception, SystemExit), ended.exception
    assert ended.exit_code == 1
    return ended.stderr


async def test_a_server_says_where_it_is_and_answers_there(folder: Path) -> None:
    # It drains nothing, so it does not wait: this is longer than we wait for its end.
    async with serving(folder, drain=60) as (server, api):
        assert "http://127.0.0.1:" in await server.says("serving")
        execution = await api.run("print(6 * 7)")
        assert (execution["status"], execution["stdout"]) == ("SUCCEEDED", "42\n")
        assert (await api.http.get("/healthz")).json() == {"status": "ok"}
        assert (await api.http.get("/readyz")).json() == {"status": "ok"}
        assert "server" not in (await api.http.get("/healthz")).headers
        accepted, ended = [line for line in server.log if "execution " in line]
        assert "accepted" in accepted
        assert "ended" in ended
        assert not any("print(6" in line for line in server.log)
        assert await server.stop() == 0
        assert await anyio.to_thread.run_sync(traces, server.pid) == []
    kept, transcript = await stored(folder, execution["id"])
    assert (kept.status, transcript.stdout) == ("SUCCEEDED", b"42\n")


def has_ipv6() -> bool:
    try:
        with socket.create_server(("::1", 0), family=socket.AF_INET6):
            return True
    except OSError:
        return False


async def test_a_server_listens_on_ipv6(folder: Path) -> None:
    if not has_ipv6():
        pytest.skip("this machine has no IPv6 on its loopback")
    async with serving(folder, "--host", "::1") as (server, api):
        assert "http://[::1]:" in await server.says("serving")
        assert (await api.http.get("/healthz")).status_code == 200


@pytest.mark.parametrize(
    "host",
    ["0.0.0.0", "::", "192.0.2.1", "example.com", "", "127.0.0.1.example", "localhost.example"],
)
def test_a_server_that_others_could_reach_is_refused(here: Path, host: str) -> None:
    said = refusal("--host", host)
    assert "does not ask who is there" in said
    assert "greenroom keys create" in said
    assert "127.0.0.1" in said


def test_the_process_of_a_refused_server_ends_with_one(folder: Path) -> None:
    ended = greenroom("serve", folder=folder, host="0.0.0.0")
    assert ended.returncode == 1
    assert "does not listen on 0.0.0.0" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_a_port_that_is_taken_is_named(here: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        said = refusal(port=port)
    assert f"Port {port} of 127.0.0.1 cannot be had" in said
    assert "--port" in said


@pytest.mark.parametrize("exists", [True, False], ids=["empty", "missing"])
def test_a_database_that_is_not_migrated_says_so(here: Path, exists: bool) -> None:  # noqa: FBT001
    database = here / "greenroom.db"
    database.unlink()
    if exists:
        database.touch()
    assert "greenroom migrate" in refusal()
    assert database.exists() == exists


def test_a_database_of_a_newer_version_says_so(here: Path) -> None:
    with closing(sqlite3.connect(here / "greenroom.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    assert "is at version `9999`" in refusal()


def test_a_file_that_is_no_database_says_so(here: Path) -> None:
    (here / "greenroom.db").write_text("no database" * 1000)
    assert "is no SQLite database" in refusal()


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("port", "hunter2"),
        ("max_memory", "hunter2"),
        ("executables", "hunter2"),
        ("executables", '{"PYTHON": ["hunter2"]}'),
        ("drain", "-1"),
        ("max_disk", "1"),
        ("database_url", "hunter2"),
        ("database_url", "mysql://me:hunter2@host/name"),
        ("database_url", "postgresql://me:hunter2@host/name?channel_binding=hunter2"),
        ("database_url", "postgresql://me:hunter2@host/name?sslmode=hunter2"),
        ("database_url", "postgresql://me:hunter2@host/name?sslmode=require&sslmode=require"),
        ("database_url", "postgresql://me:hunter2@127.0.0.1:99999/name"),
        ("database_url", "postgresql://me:hunter2@[::1/name"),
    ],
)
def test_a_bad_setting_is_named_and_its_value_is_not(here: Path, name: str, value: str) -> None:
    said = refusal(**{name: value})
    assert name in said.lower()
    assert "hunter2" not in said


def test_a_database_server_that_is_not_there_is_named_without_its_password(here: Path) -> None:
    said = refusal(database_url="postgresql://me:hunter2@127.0.0.1:1/name")
    assert "`name` at 127.0.0.1 cannot be reached" in said
    assert "hunter2" not in said


def test_an_env_file_is_read_and_one_that_is_no_text_says_so(here: Path) -> None:
    (here / ".env").write_text("GREENROOM_HOST=0.0.0.0\n")
    assert "does not listen on 0.0.0.0" in refusal()
    (here / ".env").write_bytes(b"GREENROOM_HOST=\xff\n")
    assert ".env cannot be read" in refusal()


NO_NAMESPACES = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
WITHOUT_NAMESPACES = ("unshare", "--user", "--map-root-user", "sh", "-c", NO_NAMESPACES, "sh")


@pytest.mark.parametrize("command", ["serve", "languages", "doctor"])
def test_a_host_that_cannot_sandbox_says_what_is_missing(folder: Path, command: str) -> None:
    probe = subprocess.run([*WITHOUT_NAMESPACES, "true"], capture_output=True, check=False)
    if probe.returncode:
        pytest.skip(f"no user namespace to take the others away in: {probe.stderr.decode()}")
    ended = subprocess.run(
        [*WITHOUT_NAMESPACES, COMMAND, command],
        cwd=folder,
        env=environment(port=0),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert ended.returncode == 1
    assert "Traceback" not in ended.stderr
    assert "remedy: " in ended.stderr + ended.stdout


async def test_a_server_that_is_stopped_while_it_starts_leaves_nothing(folder: Path) -> None:
    async with starting(folder) as server:
        await until(lambda: bool(traces(server.pid)))
        await server.stop()
    async with serving(folder) as (later, _):
        await later.stop()
    assert await anyio.to_thread.run_sync(traces, server.pid) == []


async def test_a_server_brings_the_database_up_to_date_if_it_is_told_to(tmp_path: Path) -> None:
    async with serving(tmp_path, "--migrate", is_measured=True) as (_, api):
        assert (await api.run("print(42)"))["stdout"] == "42\n"


async def test_a_language_that_is_not_offered_is_refused(folder: Path) -> None:
    async with serving(folder, languages="PYTHON") as (_, api):
        (error,) = await api.refuse(language="JAVASCRIPT")
        assert error["__typename"] == "LanguageUnavailable"
        assert error["available"] == ["PYTHON"]
        assert "GREENROOM_LANGUAGES" in error["message"]
