"""Each command does what its help says, with an exit code that means it."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

from app.api.schema import schema
from app.cli import app
from app.languages import LanguageId

from .server import environment, greenroom, named

ROOT = Path(__file__).parents[2]
COMMANDS = (
    "serve",
    "worker",
    "migrate",
    "keys",
    "env",
    "purge",
    "doctor",
    "languages",
    "schema",
    "config",
    "version",
)


def run(*arguments: str, folder: Path, is_measured: bool = False) -> str:
    """Run a command as a process."""
    ended = greenroom(*arguments, folder=folder, is_measured=is_measured)
    assert ended.returncode == 0, ended.stderr
    assert "Traceback" not in ended.stderr
    return ended.stdout


def say(*arguments: str, code: int = 0) -> str:
    """Run a command in this process: it starts nothing."""
    ended = CliRunner().invoke(app, arguments, env=named({}))
    assert ended.exit_code == code, ended.output
    return ended.output


def test_migrate_makes_the_database_and_may_be_repeated(tmp_path: Path) -> None:
    for is_measured in (True, False):
        assert "up to date" in run("migrate", folder=tmp_path, is_measured=is_measured)
    assert (tmp_path / "greenroom.db").stat().st_mode & 0o777 == 0o600


def test_migrate_says_where_it_cannot_write(tmp_path: Path) -> None:
    ended = greenroom("migrate", folder=tmp_path, database_url="sqlite:///nowhere/greenroom.db")
    assert ended.returncode == 1
    assert "cannot be made" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_doctor_checks_every_wall_and_leaves_nothing_behind(
    tmp_path: Path, temporary: Path
) -> None:
    said = run("doctor", folder=tmp_path, is_measured=True)
    assert all(name in said for name in ("kernel", "network", "PYTHON", "JAVASCRIPT"))
    checks = json.loads(run("doctor", "--json", folder=tmp_path))
    assert all({"name", "passed", "detail", "remedy", "required"} == set(each) for each in checks)
    assert all(each["passed"] for each in checks if each["required"])
    assert list(temporary.iterdir()) == []


@pytest.fixture
def temporary(monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Have commands put what is temporary where nobody else does."""
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o711)  # the users of cells have to pass
        monkeypatch.setenv("TMPDIR", folder)
        yield Path(folder)


def test_languages_have_versions_or_reasons(tmp_path: Path) -> None:
    assert "JAVASCRIPT" in run("languages", folder=tmp_path)
    executables = json.dumps({"JAVASCRIPT": "/nowhere/node"})
    ended = greenroom(
        "languages", "--json", folder=tmp_path, is_measured=True, executables=executables
    )
    assert ended.returncode == 0
    listed = {each["id"]: each for each in json.loads(ended.stdout)}
    assert list(listed) == sorted(LanguageId)
    javascript, python = listed["JAVASCRIPT"], listed["PYTHON"]
    assert javascript["version"] is None
    assert "/nowhere/node" in javascript["reason"]
    assert python["version"] == python["versions"][0]
    assert python["reason"] is None


def test_schema_prints_what_is_served() -> None:
    assert say("schema") == schema.as_str() + "\n"


def test_config_prints_the_example_and_the_table() -> None:
    assert say("config") == (ROOT / ".env.example").read_text()
    assert say("config", "--markdown").startswith("| setting | default | meaning |")


def test_version_is_a_number(tmp_path: Path) -> None:
    assert run("version", folder=tmp_path) == say("version")
    assert say("version").strip().replace(".", "").isdigit()


def test_help_lists_every_command() -> None:
    assert all(command in say("--help") for command in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str) -> None:
    assert f"Usage: greenroom {command}" in say(command, "--help")


@pytest.mark.parametrize(
    "arguments", ["nonsense", "serve --port 70000", "serve --port x", "doctor -x", "version x"]
)
def test_a_wrong_word_is_a_usage_error(arguments: str) -> None:
    assert "Usage" in say(*arguments.split(), code=2)


def test_the_benchmark_compares_both_languages_with_bare_starts() -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "benchmarks", "--rounds", "1", "--runs", "5", "--json"],
        cwd=ROOT,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert ended.returncode == 0, ended.stderr
    figures = json.loads(ended.stdout)
    assert [each["language"] for each in figures["compared"]] == ["Python", "JavaScript"]
    assert all(each["p50_ratio"] > 0 for each in figures["compared"])
    assert figures["rows_per_run"] == 2
