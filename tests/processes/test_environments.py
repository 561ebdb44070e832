"""`greenroom env`: it builds once, leaves nothing half-built, and says what is in the way."""

import json
import os
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.cli import app
from app.languages import all_languages
from tests.servers.environments import ensure_environments

from .server import COMMAND, START_TIMEOUT, environment, named, processes_with

PYTHON = all_languages()["PYTHON"]
DATA, TOOLCHAIN = PYTHON.environments[0], PYTHON.find(None)[0]
# Whatever this test was started with, the command can be interrupted.
BUILD = ("env", "--default-signal=INT", str(COMMAND), "env", "build")
NOWHERE = "http://127.0.0.1:9/simple"
SECRET = "postgresql+asyncpg://greenroom:s3cret-of-the-server@127.0.0.1/greenroom"
# Runs what follows where a folder has room for one megabyte.
ON_A_SMALL_DISK = ("unshare", "-m", "sh", "-c", 'mount -t tmpfs -o size=1m none "$0" && exec "$@"')


def settings(folder: Path, registry: str) -> dict[str, str]:
    """Return the environment of a command that keeps environments in a folder."""
    return environment(environments=folder, database_url=SECRET) | pip_settings(registry)


def pip_settings(registry: str) -> dict[str, str]:
    return {"PIP_CONFIG_FILE": os.devnull, "PIP_INDEX_URL": registry, "PIP_RETRIES": "0"}


def say(*arguments: str, folder: Path, code: int = 0) -> str:
    """Run a command in this process, where there is no registry."""
    variables = named({"environments": folder}) | pip_settings(NOWHERE)
    ended = CliRunner().invoke(app, ("env", *arguments), env=variables)
    assert ended.exit_code == code, ended.output
    assert ended.exception is None or isinstance(ended.exception, SystemExit)
    return ended.stdout if code == 0 else ended.stderr


@contextmanager
def silent_registry() -> Iterator[tuple[str, socket.socket]]:
    """Open a registry that takes a call and says nothing."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(START_TIMEOUT)
        yield f"http://127.0.0.1:{server.getsockname()[1]}/simple", server


def test_what_is_built_is_listed_and_not_built_again() -> None:
    folder = ensure_environments()
    before = sorted(folder.iterdir())
    (row,) = [row for row in json.loads(say("list", "--json", folder=folder)) if row["built"]]
    assert row["id"] == DATA.id
    assert {"name": "numpy", "version": version_of("numpy")} in row["packages"]
    assert f"numpy {version_of('numpy')}" in say("list", folder=folder)
    again = say("build", DATA.id, "--json", folder=folder)
    assert json.loads(again) == [{"id": DATA.id, "built": False}]
    assert "was built before" in say("build", folder=folder)
    assert sorted(folder.iterdir()) == before


def version_of(package: str) -> str:
    return next(each.version for each in DATA.packages if each.name == package)


def test_one_that_nobody_knows_is_named_beside_those_that_are_known(tmp_path: Path) -> None:
    said = say("build", "nothing-such", folder=tmp_path, code=1)
    assert "nothing-such" in said
    assert DATA.id in said


def test_without_a_registry_it_says_what_to_do_and_leaves_nothing(tmp_path: Path) -> None:
    assert "PIP_INDEX_URL" in say("build", folder=tmp_path, code=1)
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
    (row,) = json.loads(say("list", "--json", folder=tmp_path))
    assert not row["built"]


def test_where_nothing_can_be_written_it_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    said = say("build", folder=tmp_path / "file" / "folder", code=1)
    assert str(tmp_path / "file") in said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
def test_a_full_disk_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    look = f'"{COMMAND}" env build; code=$?; ls -A "{tmp_path}"; exit $code'
    registry = {name: value for name, value in os.environ.items() if name.startswith("PIP_")}
    ended = subprocess.run(
        [*ON_A_SMALL_DISK, tmp_path, "sh", "-c", look],
        env=environment(environments=tmp_path) | registry,
        capture_output=True,
        text=True,
        timeout=START_TIMEOUT,
        check=False,
    )
    assert ended.returncode == 1
    assert "the disk is full" in ended.stderr
    assert ended.stdout.split() == [".lock"]


def test_what_a_killed_build_left_is_seen_by_nobody_and_removed_by_the_next(tmp_path: Path) -> None:
    grown = str(tmp_path / f".{DATA.name_for(TOOLCHAIN.abi)}")
    with silent_registry() as (url, registry):
        with subprocess.Popen(BUILD, env=settings(tmp_path, url), cwd=tmp_path) as first:
            call, _ = registry.accept()
            installers = processes_with(grown)
            for pid in installers:
                variables = Path("/proc", str(pid), "environ").read_text()
                assert url in variables  # a way to the registry, and no other matter of ours
                assert "GREENROOM" not in variables
            first.send_signal(signal.SIGKILL)
        assert installers
        assert Path(grown).is_dir()
        assert TOOLCHAIN.equipped(DATA, tmp_path) is None
        with subprocess.Popen(BUILD, env=settings(tmp_path, NOWHERE), cwd=tmp_path) as second:
            # The installer outlives its parent, and until it ends nobody else begins.
            call.close()
            assert second.wait(START_TIMEOUT) == 1
    assert processes_with(grown) == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]


def test_an_interrupted_build_takes_its_installer_along(tmp_path: Path) -> None:
    grown = str(tmp_path / f".{DATA.name_for(TOOLCHAIN.abi)}")
    with silent_registry() as (url, registry):
        with subprocess.Popen(BUILD, env=settings(tmp_path, url), cwd=tmp_path) as build:
            call, _ = registry.accept()
            assert processes_with(grown)
            build.send_signal(signal.SIGINT)
            assert build.wait(START_TIMEOUT) != 0
        call.close()
    assert processes_with(grown) == []
    assert [path.name for path in tmp_path.iterdir()] == [".lock"]
