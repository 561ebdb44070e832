"""What a cell sees, and the stage that its parts come from."""

import ctypes
import os
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

import anyio
import pytest

from app.domain.language import Mount, Toolchain
from app.executors.local.bubblewrap import command_line
from app.executors.local.stage import Stage, _remove_abandoned_stages

PYTHON = Toolchain(
    executable=Path("/opt/python/bin/python3"),
    mounts=(Mount(source=Path("/usr/share"), target=Path("/opt/python")),),
    hidden=(Path("/opt/python/site-packages"), Path("/usr/lib"), Path("/srv/elsewhere")),
)
NODE = Toolchain(
    executable=Path("/opt/node/bin/node"),
    mounts=(Mount(source=Path("/usr/bin/env"), target=Path("/opt/node/bin/node")),),
)
CAP_FOR_INIT = ["CAP_SYS_ADMIN", "CAP_SYS_RESOURCE", "CAP_SETPCAP"]


@pytest.fixture
def stage() -> Iterator[Stage]:
    with Stage([*PYTHON.mounts, *NODE.mounts]) as stage:
        yield stage


@pytest.fixture
def line(stage: Stage) -> list[str]:
    return command_line(stage, PYTHON, NODE)


def after(line: Sequence[str], option: str, operands: int = 1) -> list[tuple[str, ...]]:
    """Return the operands of each occurrence of an option."""
    return [
        tuple(line[at + 1 : at + 1 + operands]) for at, word in enumerate(line) if word == option
    ]


# --- The command line ----------------------------------------------------------------------------


def test_nothing_is_shared_with_the_host(line: list[str]) -> None:
    unshared = {word.removeprefix("--unshare-") for word in line if word.startswith("--unshare-")}
    assert unshared == {"user", "pid", "net", "ipc", "uts"}  # and cgroup, by our init
    assert not [word for word in line if word.startswith("--share")]


def test_a_cell_dies_with_its_server_and_has_no_terminal_and_no_environment(
    line: list[str],
) -> None:
    assert {"--die-with-parent", "--new-session", "--clearenv", "--as-pid-1"} <= set(line)


def test_only_what_init_needs_is_left_of_the_capabilities(line: list[str]) -> None:
    assert after(line, "--cap-drop") == [("ALL",)]
    assert [name for (name,) in after(line, "--cap-add")] == CAP_FOR_INIT
    assert line.index("--cap-drop") < line.index("--cap-add")


def test_everything_of_the_host_is_read_only(line: list[str]) -> None:
    bound = {word for word in line if "bind" in word}
    assert bound == {"--ro-bind"}


def test_no_folder_of_people_or_secrets_is_bound(line: list[str]) -> None:
    targets = [Path(target) for _, target in after(line, "--ro-bind", 2)]
    assert not [path for path in targets if path.parts[1] in {"home", "root", "var", "run", "sys"}]
    allowed = {Path("/etc"), Path("/etc/ld.so.cache"), Path("/etc/alternatives")}
    assert {path for path in targets if path.is_relative_to("/etc")} <= allowed


def test_each_toolchain_is_where_it_expects_itself(line: list[str], stage: Stage) -> None:
    binds = after(line, "--ro-bind", 2)
    for mount in (*PYTHON.mounts, *NODE.mounts):
        assert (str(stage.reachable(mount.source)), str(mount.target)) in binds


def test_a_toolchain_that_is_also_the_inits_is_bound_once(stage: Stage) -> None:
    both = command_line(stage, PYTHON, PYTHON)
    assert (
        len([target for _, target in after(both, "--ro-bind", 2) if target == "/opt/python"]) == 1
    )


def test_hidden_folders_are_empty_and_read_only_after_what_holds_them(line: list[str]) -> None:
    folder = "/opt/python/site-packages"
    empty, locked = line.index(folder), line.index(folder, line.index(folder) + 1)
    assert line[empty - 1] == "--tmpfs"
    assert line[locked - 1] == "--remount-ro"
    assert line.index("/opt/python") < empty < locked


def test_only_what_would_be_seen_is_hidden(line: list[str]) -> None:
    emptied = {folder for (folder,) in after(line, "--tmpfs")}
    assert emptied - {"/usr/local"} == {"/opt/python/site-packages", "/usr/lib"}


def test_an_operators_own_tools_are_hidden(line: list[str]) -> None:
    if not Path("/usr/local").is_dir():
        pytest.skip("this host has no /usr/local")
    assert ("/usr/local",) in after(line, "--tmpfs")


def test_init_is_started_by_the_isolated_interpreter(line: list[str]) -> None:
    command = line[line.index("--") + 1 :]
    assert command == ["/opt/python/bin/python3", "-I", "-S", "-B", "/greenroom/init.pyc"]


# --- The stage -----------------------------------------------------------------------------------


def test_a_made_up_user_and_no_real_one_is_known(stage: Stage) -> None:
    names = [line.split(":")[0] for line in (stage.path / "etc/passwd").read_text().splitlines()]
    assert names == ["sandbox", "nobody"]


def test_init_names_no_folder_of_this_host(stage: Stage) -> None:
    assert (
        str(Path(__file__).parents[2]).encode()
        not in (stage.path / "greenroom/init.pyc").read_bytes()
    )


def test_everything_on_the_stage_is_readable_whatever_the_umask_is() -> None:
    before = os.umask(0o077)
    try:
        with Stage([]) as stage:
            closed = [
                path
                for path in (stage.path, *stage.path.rglob("*"))
                if not path.is_symlink() and path.stat().st_mode & 0o044 != 0o044
            ]
    finally:
        os.umask(before)
    assert closed == []


def test_closing_leaves_nothing() -> None:
    with Stage([]) as stage:
        pass
    assert not stage.path.exists()


async def start(stage: Stage, source: str) -> str:
    """Run a shell command the way cells are started, and return what it says."""
    with tempfile.TemporaryFile() as said:
        argv = ["/bin/sh", "-c", f"{{ {source}; }} >&2"]
        process = await stage.popen(argv, inherit=[], errors=said.fileno())
        pidfd = os.pidfd_open(process.pid)
        await anyio.wait_readable(pidfd)
        os.close(pidfd)
        process.wait()
        said.seek(0)
        return said.read().decode()


async def test_what_is_started_has_no_environment(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "HOSTSECRET-1234")
    assert "SECRET" not in await start(stage, "env; cat /proc/self/environ")


async def test_what_is_started_inherits_nothing_but_what_is_named(stage: Stage) -> None:
    reader, writer = os.pipe()
    os.set_inheritable(reader, True)  # noqa: FBT003
    try:
        assert str(reader) not in (await start(stage, "ls /proc/self/fd")).split()
    finally:
        os.close(reader)
        os.close(writer)


as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root has another uid to run cells as")


@as_root
async def test_root_starts_cells_as_somebody_who_owns_nothing(stage: Stage) -> None:
    said = await start(stage, "cat /proc/self/status")
    fields = dict(line.split(":\t", 1) for line in said.splitlines() if ":\t" in line)
    ids = {*fields["Uid"].split(), *fields["Gid"].split()}
    assert ids == {str(stage.uid)}
    assert stage.uid not in {0, None}
    assert fields["Groups"].strip() == ""
    assert {int(fields[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapAmb")} == {0}


@as_root
def test_the_server_itself_stays_who_it_is(stage: Stage) -> None:
    assert (os.getuid(), os.geteuid(), os.getgid()) == (0, 0, 0)


@as_root
def test_nobody_with_the_cells_uid_can_look_into_the_server(stage: Stage) -> None:
    get_dumpable = 3  # linux/prctl.h: PR_GET_DUMPABLE
    assert ctypes.CDLL(None).prctl(get_dumpable, 0, 0, 0, 0) == 0
    peek = subprocess.run(
        ["cat", f"/proc/{os.getpid()}/environ"],
        user=stage.uid,
        group=stage.uid,
        extra_groups=[],
        capture_output=True,
        check=False,
    )
    assert peek.stdout == b""
    assert b"Permission denied" in peek.stderr


@as_root
async def test_toolchains_are_reachable_for_cells_and_for_nobody_else(stage: Stage) -> None:
    (mount,) = PYTHON.mounts
    staged = stage.reachable(mount.source)
    assert await start(stage, f"ls {staged}") == await start(stage, f"ls {mount.source}")
    assert list(staged.iterdir()) == []  # bound in the thread's own namespace only


@pytest.fixture
def dead() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def test_folders_of_dead_servers_are_swept(tmp_path: Path, dead: int) -> None:
    abandoned = tmp_path / f"greenroom-{dead}-abc"
    (abandoned / "etc").mkdir(parents=True)
    _remove_abandoned_stages(tmp_path)
    assert not abandoned.exists()


def test_folders_of_living_servers_and_of_others_are_not(tmp_path: Path, dead: int) -> None:
    names = {f"greenroom-{os.getpid()}-abc", "greenroom-notes-abc", f"other-{dead}-abc"}
    for name in names:
        (tmp_path / name).mkdir()
    (tmp_path / f"greenroom-{dead}-link").symlink_to(tmp_path / f"greenroom-{os.getpid()}-abc")
    _remove_abandoned_stages(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= names
