"""What a host gives the sandbox, on hosts as they are found."""

from pathlib import Path

import pytest

from app.executors.local.cgroups import Cgroups
from app.executors.local.host import _processes_by_rlimit, cgroup_mode, limits, no_cell

SYSCTL = "proc/sys/kernel/apparmor_restrict_unprivileged_userns"
PARTITION = "Filename\tType\tSize\tUsed\tPriority\n/dev/sda2 partition 1 0 -2\n"


class SomeCgroups:
    """Cgroups that are writable."""

    version = "v2"

    def __init__(self, *, bounds_swap: bool) -> None:
        self.bounds_swap = bounds_swap


def put(root: Path, name: str, text: str) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


@pytest.mark.parametrize(
    ("name", "text", "remedy"),
    [
        (SYSCTL, "1\n", "apparmor_restrict_unprivileged_userns=0"),
        ("proc/sys/kernel/unprivileged_userns_clone", "0\n", "unprivileged_userns_clone=1"),
        ("proc/sys/user/max_user_namespaces", "0\n", "max_user_namespaces=16384"),
        (".dockerenv", "", "systempaths=unconfined --user 1000 (untested;"),
        ("run/.containerenv", "", "docker run --cap-drop ALL"),
        ("proc/version", "", "`dmesg` may say"),
    ],
)
def test_what_is_in_the_way_of_cells_is_named_and_nothing_else(
    tmp_path: Path, name: str, text: str, remedy: str
) -> None:
    put(tmp_path, SYSCTL, "0\n")
    put(tmp_path, name, text)
    check = no_cell("bwrap: Permission denied", tmp_path)
    assert check.required
    assert not check.passed
    assert check.detail == "bwrap: Permission denied"
    assert remedy in check.remedy
    assert len(check.remedy.split("; ")) <= 3


def names(cgroups: Cgroups | None, root: Path) -> dict[str, bool]:
    return {each.name: each.passed for each in limits(cgroups, root)}


EVERY = ("memory", "CPU time", "processes", "wall time", "output", "disk", "open files")


def test_with_cgroups_every_limit_is_exact(tmp_path: Path) -> None:
    put(tmp_path, "proc/swaps", PARTITION)
    found = names(SomeCgroups(bounds_swap=True), tmp_path)  # type: ignore[arg-type]
    assert found == {f"limit on {each}": True for each in EVERY}


@pytest.mark.parametrize(("swaps", "is_exact"), [(PARTITION, False), ("Filename\tType\n", True)])
def test_memory_is_not_exact_where_it_can_go_into_swap_uncounted(
    tmp_path: Path, swaps: str, *, is_exact: bool
) -> None:
    put(tmp_path, "proc/swaps", swaps)
    found = names(SomeCgroups(bounds_swap=False), tmp_path)  # type: ignore[arg-type]
    assert found["limit on memory"] is is_exact


def test_without_cgroups_it_says_what_is_approximate_and_how_to_get_them(tmp_path: Path) -> None:
    found = names(None, tmp_path)
    assert [name for name, is_exact in found.items() if not is_exact] == [
        "limit on memory",
        "limit on CPU time",
    ]
    mode = cgroup_mode(None, "cgroup v2 has no memory controller here")
    assert (mode.passed, mode.required) == (False, False)
    assert "Delegate=yes" in mode.remedy


@pytest.mark.parametrize(
    ("release", "is_exact"),
    [("5.13.19", False), ("5.14.0-rc1", True), ("6.18.44-fc", True), ("4.19.0-27-amd64", False)],
)
def test_processes_are_counted_for_each_run_since_linux_5_14(
    release: str, *, is_exact: bool
) -> None:
    assert _processes_by_rlimit(release).passed is is_exact
