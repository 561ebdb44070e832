"""Cgroups: what is written and read, who is swept away, and what the kernel makes of it."""

import errno
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from app.domain.limits import DEFAULT_LIMITS, MIB
from app.executors.local.cgroup_folders import own_folder
from app.executors.local.cgroup_v1 import CgroupsV1, LeafV1
from app.executors.local.cgroup_v2 import CgroupsV2, LeafV2
from app.executors.local.cgroups import cgroups_in
from app.executors.local.mounts import cgroup_folders
from app.processes import start_time

LIMITS = replace(DEFAULT_LIMITS, memory=100 * MIB, processes=10)

# As a kernel 6.1 had them after a run of which one process was killed.
V2_RECORD = {
    "memory.max": "max\n",
    "memory.swap.max": "max\n",
    "memory.peak": "104857600\n",
    "memory.events": "low 0\nhigh 0\nmax 312\noom 2\noom_kill 1\noom_group_kill 0\n",
    "pids.max": "max\n",
    "pids.events": "max 7\n",
    "cpu.stat": (
        "usage_usec 1234567\nuser_usec 1200000\nsystem_usec 34567\ncore_sched.force_idle_usec 0\n"
        "nr_periods 0\nnr_throttled 0\nthrottled_usec 0\nnr_bursts 0\nburst_usec 0\n"
    ),
}
V1_RECORD = {
    "memory.limit_in_bytes": "9223372036854771712\n",
    "memory.memsw.limit_in_bytes": "9223372036854771712\n",
    "memory.max_usage_in_bytes": "104857600\n",
    "memory.oom_control": "oom_kill_disable 0\nunder_oom 0\noom_kill 3\n",
    "pids.max": "max\n",
    "pids.events": "max 7\n",
    "cpuacct.usage": "1234567890\n",
}


def fill(folder: Path, record: dict[str, str]) -> Path:
    for name, text in record.items():
        (folder / name).write_text(text)
    return folder


def without(record: dict[str, str], name: str) -> dict[str, str]:
    return {each: text for each, text in record.items() if each != name}


def written(folder: Path, name: str) -> str:
    """Read what we wrote over the beginning of a file that is plain here and a knob in life."""
    return (folder / name).read_text().split("\n")[0]


# --- A leaf of v2, on a recorded folder ----------------------------------------------------------


def test_a_v2_leaf_tells_what_the_kernel_counted(tmp_path: Path) -> None:
    leaf = LeafV2(fill(tmp_path, V2_RECORD))
    assert (leaf.cpu_time(), leaf.oom_kills(), leaf.peak_memory()) == (1.234567, 1, 104857600)
    assert leaf.process_refusals() == 7


def test_a_kernel_that_counts_no_refused_processes_has_none_to_tell(tmp_path: Path) -> None:
    assert LeafV2(fill(tmp_path, without(V2_RECORD, "pids.events"))).process_refusals() == 0


def test_a_v2_leaf_has_its_limits_without_swap_and_without_our_init(tmp_path: Path) -> None:
    empty = dict.fromkeys(("memory.max", "memory.swap.max", "pids.max"), "")
    LeafV2(fill(tmp_path, empty)).limit(LIMITS)
    assert {name: written(tmp_path, name) for name in empty} == {
        "memory.max": str(100 * MIB),
        "memory.swap.max": "0",
        "pids.max": "11",
    }


def test_a_v2_leaf_of_an_older_kernel_knows_no_peak(tmp_path: Path) -> None:
    assert LeafV2(fill(tmp_path, without(V2_RECORD, "memory.peak"))).peak_memory() is None


def test_a_v2_leaf_of_a_kernel_without_swap_is_limited_all_the_same(tmp_path: Path) -> None:
    LeafV2(fill(tmp_path, without(V2_RECORD, "memory.swap.max"))).limit(LIMITS)
    assert not (tmp_path / "memory.swap.max").exists()


@pytest.mark.parametrize("name", ["memory.max", "pids.max"])
def test_a_v2_limit_that_cannot_be_written_is_no_limit_and_so_an_error(
    tmp_path: Path, name: str
) -> None:
    with pytest.raises(FileNotFoundError, match=name):
        LeafV2(fill(tmp_path, without(V2_RECORD, name))).limit(LIMITS)


def test_a_v2_leaf_is_joined_as_a_whole_process(tmp_path: Path) -> None:
    assert LeafV2(tmp_path).own_files() == [tmp_path / "cgroup.procs"]


# --- A leaf of v1, on recorded folders -----------------------------------------------------------


@pytest.fixture
def v1_leaf(tmp_path: Path) -> LeafV1:
    fill(tmp_path, V1_RECORD)
    return LeafV1(memory=tmp_path, pids=tmp_path, cpuacct=tmp_path)


def test_a_v1_leaf_tells_what_the_kernel_counted(v1_leaf: LeafV1) -> None:
    counted = (v1_leaf.cpu_time(), v1_leaf.oom_kills(), v1_leaf.peak_memory())
    assert counted == (1.23456789, 3, 104857600)
    assert v1_leaf.process_refusals() == 7


def test_a_v1_leaf_has_its_limits_without_swap_and_without_our_init(
    v1_leaf: LeafV1, tmp_path: Path
) -> None:
    for name in V1_RECORD:
        (tmp_path / name).write_text("")
    v1_leaf.limit(LIMITS)
    assert written(tmp_path, "memory.limit_in_bytes") == str(100 * MIB)
    assert written(tmp_path, "memory.memsw.limit_in_bytes") == str(100 * MIB)
    assert written(tmp_path, "pids.max") == "11"


def test_a_v1_leaf_is_joined_by_a_thread_which_is_a_hundred_times_faster(tmp_path: Path) -> None:
    memory, pids, cpuacct = (tmp_path / name for name in ("memory", "pids", "cpuacct"))
    leaf = LeafV1(memory=memory, pids=pids, cpuacct=cpuacct)
    assert leaf.own_files() == [memory / "tasks", pids / "tasks", cpuacct / "tasks"]


# --- The folders around the leaves ---------------------------------------------------------------


def v1_at(parent: Path) -> CgroupsV1:
    return CgroupsV1(dict.fromkeys(("memory", "pids", "cpuacct"), parent))


def test_controllers_in_one_hierarchy_share_one_folder(tmp_path: Path) -> None:
    v1_at(tmp_path)
    assert len(list(tmp_path.iterdir())) == 1


def test_a_leaf_that_cannot_be_limited_is_not_left_behind(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        v1_at(tmp_path).leaf(LIMITS)  # nobody puts a memory.limit_in_bytes into a plain folder
    (own,) = tmp_path.iterdir()
    assert list(own.iterdir()) == []


def test_a_hierarchy_that_refuses_us_leaves_nothing_in_the_others(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        CgroupsV1({"memory": tmp_path, "pids": tmp_path / "missing", "cpuacct": tmp_path})
    assert list(tmp_path.iterdir()) == []


def test_closing_removes_the_servers_own_folder(tmp_path: Path) -> None:
    v1_at(tmp_path).close()
    assert list(tmp_path.iterdir()) == []


# --- How v2 is taken, with what is written on record ---------------------------------------------


class Kernel:
    """Stands where knobs are written: keeps a record, and refuses what it is told to refuse."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.record: list[tuple[str, str]] = []
        self.refused: tuple[str, ...] = ()

    def write(self, path: Path, value: int | str) -> None:
        self.record.append((str(path.relative_to(self.root)), str(value)))
        if str(value) in self.refused:
            raise OSError(errno.EBUSY, os.strerror(errno.EBUSY), str(path))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(tmp_path)
    monkeypatch.setattr("app.executors.local.cgroup_v2.write", kernel.write)
    return kernel


ASIDE, OWN = f"greenroom-server-{os.getpid()}", str(os.getpid())


def test_the_server_steps_aside_before_it_switches_controllers_on(kernel: Kernel) -> None:
    cgroups = CgroupsV2(kernel.root)
    own = cgroups._folder.name
    assert kernel.record == [
        (f"{ASIDE}/cgroup.procs", OWN),
        ("cgroup.subtree_control", "+memory +pids"),
        ("cgroup.subtree_control", "+cpu"),
        (f"{own}/cgroup.subtree_control", "+memory +pids"),
        (f"{own}/cgroup.subtree_control", "+cpu"),
    ]


def test_without_the_cpu_controller_there_are_limits_all_the_same(kernel: Kernel) -> None:
    kernel.refused = ("+cpu",)
    leaf = CgroupsV2(kernel.root).leaf(LIMITS)
    assert kernel.record[-3:] == [
        (str((leaf._path / name).relative_to(kernel.root)), value)
        for name, value in (
            ("memory.max", str(100 * MIB)),
            ("memory.swap.max", "0"),
            ("pids.max", "11"),
        )
    ]


def test_a_server_that_is_refused_steps_back(kernel: Kernel) -> None:
    kernel.refused = ("+memory +pids",)
    with pytest.raises(OSError, match="busy"):
        CgroupsV2(kernel.root)
    assert kernel.record[-1] == ("cgroup.procs", OWN)
    assert list(kernel.root.iterdir()) == []


def test_a_v2_leaf_that_cannot_be_limited_is_not_left_behind(kernel: Kernel) -> None:
    cgroups = CgroupsV2(kernel.root)
    kernel.refused = ("11",)
    with pytest.raises(OSError, match="busy"):
        cgroups.leaf(LIMITS)
    assert list(cgroups._folder.iterdir()) == []


def test_v2_leaves_and_folders_are_removed(kernel: Kernel) -> None:
    cgroups = CgroupsV2(kernel.root)
    cgroups.leaf(LIMITS).remove()
    cgroups.close()
    assert [path.name for path in kernel.root.iterdir()] == [ASIDE]  # it holds this process


def test_groups_that_servers_have_left_are_removed(kernel: Kernel) -> None:
    (kernel.root / "greenroom-server-1").mkdir()
    in_use = kernel.root / "greenroom-server-2"
    (in_use / "process").mkdir(parents=True)  # as good as a process: it cannot be removed
    CgroupsV2(kernel.root)
    assert not (kernel.root / "greenroom-server-1").exists()
    assert in_use.exists()


# --- Which folders are swept ---------------------------------------------------------------------


@pytest.fixture
def living() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process


def folder_of(parent: Path, pid: int, began: int) -> Path:
    folder = parent / f"greenroom-{pid}-{began}-0a1b2c3d"
    (folder / "leaf").mkdir(parents=True)
    return folder


def test_folders_of_dead_servers_are_swept(tmp_path: Path) -> None:
    dead = subprocess.Popen(["true"])
    began = start_time(dead.pid)
    dead.wait()
    abandoned = folder_of(tmp_path, dead.pid, began)
    own = own_folder(tmp_path)
    assert not abandoned.exists()
    assert list(tmp_path.iterdir()) == [own]


def test_folders_of_living_servers_are_never_swept(
    tmp_path: Path, living: subprocess.Popen[bytes]
) -> None:
    theirs = folder_of(tmp_path, living.pid, start_time(living.pid))
    own_folder(tmp_path)
    assert (theirs / "leaf").is_dir()


def test_our_own_folders_survive_when_a_second_server_starts_in_this_process(
    tmp_path: Path,
) -> None:
    first, second = own_folder(tmp_path), own_folder(tmp_path)
    assert first.is_dir()
    assert first != second


def test_a_pid_that_was_given_to_somebody_else_is_no_living_server(
    tmp_path: Path, living: subprocess.Popen[bytes]
) -> None:
    abandoned = folder_of(tmp_path, living.pid, start_time(living.pid) - 1)
    own_folder(tmp_path)
    assert not abandoned.exists()


@pytest.mark.parametrize("name", ["greenroom", "greenroom-x-y-z", "greenroom-1-2", "other-1-2-3"])
def test_what_is_not_a_servers_folder_is_left_alone(tmp_path: Path, name: str) -> None:
    (tmp_path / name).mkdir()
    own_folder(tmp_path)
    assert (tmp_path / name).is_dir()


# --- Which hierarchy is taken --------------------------------------------------------------------


def test_without_a_cgroup_file_system_it_is_said() -> None:
    with pytest.raises(OSError, match="no cgroup file system is mounted"):
        cgroups_in({}, None)


@pytest.mark.parametrize(
    ("delegated", "missing"),
    [
        ("", "no memory and no pids controller"),
        ("cpu io pids", "no memory controller"),
        ("cpuset cpu io memory", "no pids controller"),
    ],
)
def test_controllers_that_are_not_delegated_are_named(
    tmp_path: Path, delegated: str, missing: str
) -> None:
    (tmp_path / "cgroup.controllers").write_text(f"{delegated}\n")
    with pytest.raises(OSError, match=f"cgroup v2 has {missing} here"):
        cgroups_in({}, tmp_path)


def test_v1_is_taken_where_it_has_all_controllers(tmp_path: Path) -> None:
    folders = dict.fromkeys(("memory", "pids", "cpuacct", "cpu"), tmp_path)
    assert cgroups_in(folders, None).version == "v1"


def test_v1_without_all_controllers_is_not_taken(tmp_path: Path) -> None:
    with pytest.raises(OSError, match="no cgroup file system is mounted"):
        cgroups_in({"memory": tmp_path, "cpuacct": tmp_path}, None)


# --- On this kernel ------------------------------------------------------------------------------

# A child of its own, because with v2 the process moves itself. It prints what it found as JSON.
LIVE = """
import errno, json, os, subprocess, sys
from dataclasses import replace
from app.domain.limits import DEFAULT_LIMITS, MIB
from app.executors.local.cgroups import find_cgroups

def run_in(leaf, source):
    joins = [os.open(path, os.O_WRONLY) for path in leaf.own_files()]
    joined = f"import os\\nfor fd in {joins}: os.write(fd, b'0')\\n"
    argv = [sys.executable, "-I", "-S", "-c", joined + source]
    result = subprocess.run(argv, pass_fds=joins, capture_output=True, text=True)
    for fd in joins:
        os.close(fd)
    return result

try:
    cgroups = find_cgroups()
except OSError as error:
    if error.errno != errno.EBUSY:
        raise
    print(json.dumps({"busy": str(error)}))
    sys.exit()
leaf = cgroups.leaf(replace(DEFAULT_LIMITS, memory=64 * MIB, processes=4))
bomb = run_in(leaf, "x = bytearray(b'x') * (200 << 20)")
forks = run_in(leaf, '''
children = []
try:
    while len(children) < 20:
        reader, writer = os.pipe()
        if (child := os.fork()) == 0:
            os.close(writer); os.read(reader, 1); os._exit(0)
        children.append((child, reader, writer))
except OSError as error:
    print(len(children), error.errno)
for child, _, writer in children:
    os.close(writer)
''')
facts = {
    "version": cgroups.version, "bomb": bomb.returncode, "forks": forks.stdout,
    "oom_kills": leaf.oom_kills(), "peak": leaf.peak_memory(), "cpu": leaf.cpu_time(),
}
leaf.remove()
facts["left"] = [str(path) for path in leaf.own_files() if path.parent.exists()]
cgroups.close()
json.dump(facts, sys.stdout)
"""


def run_apart(source: str, *args: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", source, *args],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        cwd=Path(__file__).parents[2],
    )


def own_folders() -> tuple[dict[str, Path], Path | None]:
    texts = [Path("/proc/self", name).read_text() for name in ("cgroup", "mountinfo")]
    return cgroup_folders(*texts)


def reason_against(version: str) -> str | None:
    """Say why this host cannot show the version at work."""
    v1, v2 = own_folders()
    has_v1 = {"memory", "pids", "cpuacct"} <= v1.keys()
    if version == "v1":
        if not has_v1:
            return "no v1 hierarchies are mounted"
        return None if os.access(v1["memory"], os.W_OK) else f"{v1['memory']} is not writable"
    if has_v1:
        return "the controllers of this host are in v1 hierarchies"
    if v2 is None or not os.access(v2, os.W_OK):
        return f"cgroup v2 is not delegated to us ({v2})"
    delegated = (v2 / "cgroup.controllers").read_text().split()
    missing = {"memory", "pids"} - set(delegated)
    return f"cgroup v2 has no {missing} controller here" if missing else None


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_the_kernel_bounds_and_counts_what_is_in_a_leaf(version: str) -> None:
    if reason := reason_against(version):
        pytest.skip(reason)
    answer = run_apart(LIVE)
    assert answer.returncode == 0, answer.stderr
    facts = json.loads(answer.stdout)
    if "busy" in facts:
        pytest.skip(f"other processes, such as pytest, are in our group: {facts['busy']}")
    assert facts["version"] == version
    assert facts["bomb"] == -9
    assert facts["oom_kills"] == 1
    assert facts["forks"] == "4 11\n"  # four beside the one that counts as our init; EAGAIN
    assert facts["peak"] is None or 50 * MIB < facts["peak"] <= 64 * MIB
    assert 0 < facts["cpu"] < 10
    assert facts["left"] == []


STEP_BACK = """
import sys
from pathlib import Path
from app.executors.local.cgroup_v2 import CgroupsV2

def where():
    return Path("/proc/self/cgroup").read_text()

before = where()
try:
    CgroupsV2(Path(sys.argv[1]))
except OSError as error:
    print("refused:", error.filename)
assert where() == before, where()
"""


def test_a_v2_without_our_controllers_is_left_as_it_was() -> None:
    _, v2 = own_folders()
    if v2 is None or not os.access(v2 / "cgroup.subtree_control", os.W_OK):
        pytest.skip(f"cgroup v2 is not writable ({v2})")
    if "memory" in (v2 / "cgroup.controllers").read_text().split():
        pytest.skip("cgroup v2 has our controllers here, so nothing is refused")
    before = set(v2.glob("greenroom-server-*"))
    answer = run_apart(STEP_BACK, str(v2))
    assert answer.stdout == f"refused: {v2 / 'cgroup.subtree_control'}\n", answer.stderr
    assert set(v2.glob("greenroom-server-*")) <= before


def test_this_host_gives_a_hierarchy_or_says_why_not() -> None:
    answer = run_apart(
        "from app.executors.local.cgroups import find_cgroups\n"
        "try: found = find_cgroups()\n"
        "except OSError as error: print('not here:', error)\n"
        "else: found.close(); print(found.version)\n"
    )
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout.startswith(("v1\n", "v2\n", "not here: "))
