"""Installing says what to do where something is missing, and leaves nothing half made."""

import ast
import stat
import sys
from pathlib import Path

import pytest

from scripts import install

SCRIPT = Path(install.__file__)
# An npm that writes down what it is asked, and fails as one behind a wall until it is let out.
NPM = """#!/bin/sh
echo "$*" >> "$0.asked"
echo "$NODE_USE_SYSTEM_CA" > "$0.trusts"
if [ ! -e "$0.open" ]; then
  echo "npm error FetchError: request to http://127.0.0.1:9/vite failed, reason: connect" >&2
  exit 1
fi
mkdir -p "{page}"
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a repository of our own for the script to work in."""
    monkeypatch.setattr(install, "ROOT", tmp_path)
    monkeypatch.setattr(install, "VENV", tmp_path / ".venv")
    monkeypatch.setattr(install, "BIN", tmp_path / ".venv" / "bin")
    monkeypatch.setattr(install, "PAGE_SOURCE", tmp_path / "web")
    monkeypatch.setattr(install, "PAGE", tmp_path / "page")
    (tmp_path / ".venv" / "bin").mkdir(parents=True)
    (tmp_path / "web").mkdir()
    (tmp_path / "web" / "package.json").write_text("{}")
    return tmp_path


@pytest.fixture
def npm(root: Path) -> Path:
    npm = root / ".venv" / "bin" / "npm"
    npm.write_text(NPM.format(page=root / "page"))
    npm.chmod(0o755)
    return npm


def asked(npm: Path) -> list[str]:
    """Return what npm was asked since the last look."""
    notes = npm.with_name("npm.asked")
    lines = notes.read_text().splitlines() if notes.exists() else []
    notes.unlink(missing_ok=True)
    return [line.split()[0] for line in lines]


@pytest.mark.parametrize(
    ("said", "remedy"),
    [
        ("/here/.venv/bin/python: No module named ensurepip", "apt install python3-venv"),
        ("/usr/bin/python3: No module named venv", "apt install python3-venv"),
        ("ERROR: Could not find a version that satisfies the requirement a==1", "PIP_INDEX_URL"),
        ("ERROR: HTTPSConnectionPool(host='a', port=443): Max retries exceeded", "PIP_INDEX_URL"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS", "do not use it"),
        ("ERROR: Could not install packages: [Errno 28] No space left on device", "disk is full"),
        ("npm error ENOSPC: no space left on device, write", "disk is full"),
        ("SSLError: certificate verify failed: Max retries exceeded", "PIP_CERT"),
        (
            "npm error request failed, reason: self-signed certificate in certificate chain",
            "trusted",
        ),
        ("npm error reason: unable to get local issuer certificate", "trusted"),
        ("Error: [Errno 13] Permission denied: '/here/.venv'", "who owns this folder"),
        ("Error: [Errno 30] Read-only file system: '/here/.venv'", "another file system"),
        ("npm error FetchError: request to http://a/b failed, reason: ", "npm_config_registry"),
        ("npm error 404 Not Found - GET http://127.0.0.1/vite", "npm_config_registry"),
        ("npm error code EINTEGRITY", "do not use it"),
    ],
)
def test_what_a_tool_says_has_a_remedy(root: Path, said: str, remedy: str) -> None:
    failing = [sys.executable, "-c", "import sys; sys.exit(sys.argv[1])", said]
    with pytest.raises(install.InstallError, match=remedy):
        install.run(failing, root)


def test_what_nobody_knows_is_shown_as_it_was(
    root: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    failing = [sys.executable, "-c", "import sys; print('on'); sys.exit('and on')"]
    with pytest.raises(install.InstallError, match="failed; its output is above"):
        install.run(failing, root)
    assert capsys.readouterr().err == "on\n\nand on\n"


def test_an_older_python_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "version_info", (3, 8, 18))
    with pytest.raises(install.InstallError, match=r"Python 3\.11 or newer"):
        install.main("run", again=False)


def test_an_older_python_comes_as_far_as_that() -> None:
    tree = ast.parse(SCRIPT.read_text(), feature_version=(3, 7))
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    annotations = [
        annotation
        for function in functions
        for annotation in (function.returns, *(each.annotation for each in function.args.args))
        if annotation
    ]
    assert annotations
    for annotation in annotations:
        assert isinstance(annotation, ast.Constant | ast.Name), ast.unparse(annotation)


def test_the_env_file_is_for_its_user_alone_and_is_never_written_over(root: Path) -> None:
    (root / ".env.example").write_text("A=1\n")
    install.write_env()
    assert (root / ".env").read_text() == "A=1\n"
    assert stat.S_IMODE((root / ".env").stat().st_mode) == 0o600
    (root / ".env").write_text("SECRET=1\n")
    install.write_env()
    assert (root / ".env").read_text() == "SECRET=1\n"


def test_an_env_file_that_could_not_be_written_is_written_by_the_next_try(root: Path) -> None:
    with pytest.raises(FileNotFoundError):
        install.write_env()
    assert not (root / ".env").exists()
    (root / ".env.example").write_text("A=1\n")
    install.write_env()
    assert (root / ".env").read_text() == "A=1\n"


def test_a_page_that_cannot_be_built_says_so_and_is_no_error(
    npm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install.build_page(again=False)
    said = capsys.readouterr().out.splitlines()[-1]
    assert "GraphiQL was not built" in said
    assert "npm_config_registry" in said
    assert "`make install` tries again" in said


def test_npm_trusts_whom_the_system_trusts(npm: Path) -> None:
    install.build_page(again=False)
    assert npm.with_name("npm.trusts").read_text() == "1\n"


def test_a_page_that_could_not_be_built_holds_up_no_second_start(
    npm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    install.build_page(again=False)
    assert asked(npm) == ["ci"]
    install.build_page(again=False)
    assert asked(npm) == []
    assert "`make install` tries again" in capsys.readouterr().out.splitlines()[-1]


def test_a_page_is_tried_again_when_asked_and_when_its_sources_change(
    root: Path, npm: Path
) -> None:
    install.build_page(again=False)
    install.build_page(again=True)
    assert asked(npm) == ["ci", "ci"]
    (root / "web" / "package.json").write_text('{"changed": true}')
    npm.with_name("npm.open").touch()
    install.build_page(again=False)
    assert asked(npm) == ["ci", "run"]
    install.build_page(again=True)
    assert asked(npm) == []


def test_clang_is_tried_once_again_when_asked_and_never_when_it_is_there(
    root: Path, npm: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (root / install.CLANG_LOCK).write_text("ziglang==0")
    # A pip that fails as one behind a wall.
    npm.rename(npm.with_name("python")).write_text(NPM)
    notes, done = npm.with_name("python.asked"), npm.with_name("python.open")
    for again in (False, False, True):
        install.install_clang(again=again)
    assert notes.read_text().count(install.CLANG_LOCK) == 2
    assert "C and C++ are not there" in capsys.readouterr().out
    done.touch()
    for again in (True, False, True):
        install.install_clang(again=again)
    assert notes.read_text().count("prepare()") == 1
