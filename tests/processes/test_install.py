"""The script behind `make run`, in a repository of its own, where there is no registry."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[2] / "scripts" / "install.py"
NOWHERE = "http://127.0.0.1:9/simple"


def install(root: Path) -> "subprocess.CompletedProcess[str]":
    settings = {
        "PIP_CONFIG_FILE": os.devnull,
        "PIP_INDEX_URL": NOWHERE,
        "PIP_RETRIES": "0",
        "PIP_NO_CACHE_DIR": "1",
    }
    return subprocess.run(
        [sys.executable, root / "scripts" / "install.py", "run"],
        env={"PATH": os.environ["PATH"], "HOME": str(root), **settings},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def test_without_a_registry_it_says_what_to_do_and_the_next_try_goes_on(tmp_path: Path) -> None:
    (tmp_path / "scripts").mkdir()
    shutil.copy(SCRIPT, tmp_path / "scripts")
    (tmp_path / "requirements.txt").write_text(f"nothing==1 --hash=sha256:{'0' * 64}\n")
    for name in ("requirements-dev.txt", "pyproject.toml"):
        (tmp_path / name).touch()
    # As a try leaves it that could not go on after its first step.
    half = tmp_path / ".venv" / "bin" / "python"
    half.parent.mkdir(parents=True)
    half.symlink_to(sys.executable)
    for steps in (["making .venv", "installing packages"], ["installing packages"]):
        ended = install(tmp_path)
        assert ended.returncode == 1
        said = [line.removeprefix("greenroom: ") for line in ended.stdout.splitlines()]
        assert [" ".join(line.split()[:2]) for line in said] == steps, ended.stderr
        assert "PIP_INDEX_URL" in ended.stderr.splitlines()[-1]
        assert "Traceback" not in ended.stderr
        assert (tmp_path / ".venv" / "bin" / "pip").exists()
        assert not (tmp_path / ".env").exists()
