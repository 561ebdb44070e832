"""The servers that other tests stand on are what those tests take them for."""

import os
import select
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from threading import Thread

import anyio
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import create_async_engine

from .chromium import ChromiumMissing, browser, ensure_chromium
from .postgres import (
    DURABLE,
    PostgresError,
    PostgresServer,
    StopMode,
    copy_install,
    find_install,
)

GONE_TIMEOUT = 10  # s; a keeper takes 0.1


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    with PostgresServer.start() as server:
        yield server


@pytest.fixture
def crash_server() -> Iterator[PostgresServer]:
    with PostgresServer.start(DURABLE) as server:
        yield server


def execute(server: PostgresServer, *statements: str, database: str = "postgres") -> object:
    """Commit the statements as the application would; return the last one's first value."""

    async def run() -> object:
        engine = create_async_engine(server.url(database))
        try:
            async with engine.begin() as connection:
                results = [await connection.execute(text(each)) for each in statements]
                return results[-1].scalar() if results[-1].returns_rows else None
        finally:
            await engine.dispose()

    return anyio.run(run)


def status(pid: int) -> dict[str, list[str]]:
    lines = Path(f"/proc/{pid}/status").read_text(errors="replace").splitlines()
    return {name: values.split() for name, _, values in (line.partition(":") for line in lines)}


def parent(pid: int) -> int:
    return int(status(pid)["PPid"][0])


def family(postmaster: int) -> dict[int, dict[str, list[str]]]:
    """Return the status of the postmaster and of its children by their process id."""
    found = {}
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):  # it ended while we looked
            found[int(process.name)] = status(int(process.name))
    return {
        pid: facts for pid, facts in found.items() if postmaster in (pid, int(facts["PPid"][0]))
    }


def await_end(*pids: int) -> Callable[[], None]:
    """Return a function that waits for the end of these processes, even if a number is reused."""
    watches = []
    for pid in pids:
        with suppress(ProcessLookupError):  # a backend that had nothing more to do
            watches.append(os.pidfd_open(pid))

    def wait() -> None:
        for watch in watches:
            ended, _, _ = select.select([watch], [], [], GONE_TIMEOUT)
            os.close(watch)
            assert ended

    return wait


def test_a_database_can_be_created_used_and_dropped(server: PostgresServer) -> None:
    name = 'two words, "quoted" & ünïcode/?'
    server.create_database(name)
    assert execute(server, "SELECT current_database()", database=name) == name
    assert execute(server, "SHOW server_encoding", database=name) == "UTF8"
    server.drop_database(name)
    count = "SELECT count(*) FROM pg_database WHERE datname LIKE 'two words%'"
    assert execute(server, count) == 0


def test_a_refused_statement_is_an_error_with_its_reason(server: PostgresServer) -> None:
    with pytest.raises(PostgresError, match='database "postgres" already exists'):
        server.create_database("postgres")


def test_no_process_of_the_server_has_a_right_of_root(server: PostgresServer) -> None:
    own = os.geteuid()
    for facts in family(server.pid).values():
        ids = {int(number) for key in ("Uid", "Gid", "Groups") for number in facts[key]}
        assert (0 not in ids) if own == 0 else (own in ids)
        assert facts["CapEff"] == ["0" * 16]


def test_the_folder_is_closed_to_others(server: PostgresServer) -> None:
    assert server.folder.stat().st_mode & 0o777 == 0o700
    assert server.folder.stat().st_uid == int(status(server.pid)["Uid"][0])


def test_the_server_has_no_tcp_port(server: PostgresServer) -> None:
    files = Path(f"/proc/{server.pid}/fd").iterdir()
    sockets = {str(file.readlink()) for file in files if file.is_socket()}
    tables = [Path(f"/proc/{server.pid}/net/{kind}").read_text() for kind in ("tcp", "tcp6")]
    rows = (line.split() for table in tables for line in table.splitlines()[1:])
    assert sockets
    assert not sockets & {f"socket:[{row[9]}]" for row in rows}


def test_a_copy_of_the_programs_runs_by_itself(tmp_path: Path) -> None:
    programs = copy_install(find_install(), tmp_path) / "bin"
    for name in ("postgres", "initdb"):
        answer = subprocess.run([programs / name, "--version"], check=True, capture_output=True)
        assert b"PostgreSQL" in answer.stdout


def test_settings_override_the_fast_ones(crash_server: PostgresServer) -> None:
    assert [execute(crash_server, f"SHOW {name}") for name in DURABLE] == ["on", "on", "on"]


def test_committed_rows_outlive_a_kill(crash_server: PostgresServer) -> None:
    execute(crash_server, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
    all_ended = await_end(*family(crash_server.pid))
    crash_server.kill()
    all_ended()
    with pytest.raises(OSError, match=r"refused|No such file"):
        execute(crash_server, "SELECT 1")
    crash_server.restart()
    assert execute(crash_server, "SELECT n FROM kept") == 42
    assert "was not properly shut down" in (crash_server.folder / "log").read_text()


def test_a_killed_server_leaves_no_shared_memory(crash_server: PostgresServer) -> None:
    lock = (crash_server.folder / "data/postmaster.pid").read_text()
    segment = lock.splitlines()[6].split()[1]
    crash_server.kill()
    segments = Path("/proc/sysvipc/shm").read_text().splitlines()[1:]
    assert segment not in [line.split()[1] for line in segments]


@pytest.mark.parametrize("mode", ["smart", "fast", "immediate"])
def test_rows_outlive_a_stop(crash_server: PostgresServer, mode: StopMode) -> None:
    execute(crash_server, "CREATE TABLE kept (n int)", "INSERT INTO kept VALUES (42)")
    crash_server.stop(mode)
    crash_server.restart()
    assert execute(crash_server, "SELECT n FROM kept") == 42


def test_the_server_outlives_the_thread_that_restarted_it(crash_server: PostgresServer) -> None:
    thread = Thread(target=crash_server.restart)
    thread.start()
    thread.join()
    assert execute(crash_server, "SELECT 42") == 42


def test_nothing_stays_behind() -> None:
    with PostgresServer.start() as server:
        all_ended = await_end(parent(server.pid), *family(server.pid))
        assert server.folder.exists()
    all_ended()
    assert not server.folder.exists()


def test_a_server_that_does_not_start_shows_its_log() -> None:
    with (
        pytest.raises(PostgresError, match='unrecognized configuration parameter "flux"'),
        PostgresServer.start({"flux": "1"}),
    ):
        pass


def test_nothing_stays_behind_when_the_test_process_is_killed() -> None:
    package = Path(__file__).parent
    program = (
        f"from {package.name}.postgres import PostgresServer\n"
        "with PostgresServer.start() as server:\n"
        "    print(server.pid, server.folder, flush=True)\n"
        "    input()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program],
        cwd=package.parent,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout
        pid, folder = process.stdout.readline().split()
        all_ended = await_end(parent(int(pid)), *family(int(pid)))
        process.kill()
    all_ended()
    assert not Path(folder).exists()


def test_the_server_ends_when_its_keeper_is_killed() -> None:
    with PostgresServer.start() as server:
        all_ended = await_end(*family(server.pid))
        os.kill(parent(server.pid), signal.SIGKILL)
        all_ended()
        with pytest.raises(PostgresError, match="did not answer"):
            server.restart()
    shutil.rmtree(server.folder)  # the keeper's task, had we let it live


@pytest.fixture
def chromium() -> Path:
    try:
        return ensure_chromium()
    except ChromiumMissing as reason:
        pytest.skip(str(reason))


@pytest.mark.usefixtures("chromium")
def test_the_browser_runs_a_page_and_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def read_page() -> object:
        async with browser() as chrome:
            page = await chrome.new_page()
            await page.set_content("<p>six times seven is <b></b></p>")
            await page.evaluate("document.querySelector('b').textContent = 6 * 7")
            return await page.text_content("p")

    for name in ("TMPDIR", "HOME"):
        monkeypatch.setenv(name, str(tmp_path))
    assert anyio.run(read_page) == "six times seven is 42"
    assert list(tmp_path.iterdir()) == []


@pytest.fixture
def bare_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave nothing on PATH but `timeout`; return the folder for what a machine has besides."""
    timeout = shutil.which("timeout")
    assert timeout
    (tmp_path / "timeout").symlink_to(timeout)
    monkeypatch.setenv("PATH", str(tmp_path))
    return tmp_path


def write_program(path: Path, *lines: str) -> None:
    path.write_text("\n".join(("#!/bin/sh", *lines)))
    path.chmod(0o755)


@pytest.mark.usefixtures("bare_machine")
def test_without_apt_the_reason_says_what_to_install() -> None:
    with pytest.raises(ChromiumMissing, match=r"none of chromium, .* install one"):
        ensure_chromium()


def test_only_root_installs(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    write_program(bare_machine / "apt-get", "exit 1")
    with pytest.raises(ChromiumMissing, match="run `apt-get install chromium` as root"):
        ensure_chromium()


def test_root_installs_the_package(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    installed = bare_machine / "chromium"
    write_program(
        bare_machine / "apt-get",
        f'[ "$1" = install ] || {{ echo "$@" > {bare_machine}/calls; exit; }}',
        f'echo "$@" >> {bare_machine}/calls; /bin/cp {bare_machine}/timeout {installed}',
    )
    assert ensure_chromium() == installed
    assert [line.split()[0] for line in (bare_machine / "calls").read_text().splitlines()] == [
        "update",
        "install",
    ]


def test_a_failed_install_says_why(bare_machine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    write_program(bare_machine / "apt-get", "echo no network; exit 100")
    with pytest.raises(ChromiumMissing, match="no network"):
        ensure_chromium()
