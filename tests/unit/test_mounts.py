"""Where our cgroups are, found in what kernels have written about themselves."""

from pathlib import Path

import pytest

from app.executors.local.mounts import cgroup_folders

V1_ONLY_CGROUP = """\
9:name=systemd:/
8:pids:/
4:memory:/process_api/3c8f2ee2970fe17bcd1a0bda5e86ec1d
2:cpuacct:/
1:cpu:/
0::/
"""
V1_ONLY_MOUNTS = """\
22 27 0:21 / /proc rw,relatime - proc proc rw
31 23 0:28 / /sys/fs/cgroup rw,relatime - tmpfs tmpfs rw,mode=755
32 31 0:29 / /sys/fs/cgroup/cpu rw,relatime - cgroup cgroup rw,cpu
33 31 0:30 / /sys/fs/cgroup/cpuacct rw,relatime - cgroup cgroup rw,cpuacct
35 31 0:32 / /sys/fs/cgroup/memory rw,relatime - cgroup cgroup rw,memory
39 31 0:36 / /sys/fs/cgroup/pids rw,relatime - cgroup cgroup rw,pids
40 31 0:37 / /sys/fs/cgroup/systemd rw,relatime - cgroup cgroup rw,name=systemd
41 31 0:38 / /sys/fs/cgroup/unified rw,relatime - cgroup2 cgroup2 rw
"""

SERVICE = "user.slice/user-1000.slice/user@1000.service/app.slice/greenroom.service"
SYSTEMD_CGROUP = f"0::/{SERVICE}\n"
SYSTEMD_MOUNTS = """\
24 30 0:22 / /proc rw,nosuid,nodev,noexec,relatime shared:12 - proc proc rw
29 25 0:26 / /sys/fs/cgroup rw,nosuid,nodev,noexec,relatime shared:4 - cgroup2 cgroup2 rw,nsdelegate,memory_recursiveprot
"""  # noqa: E501 - as the kernel wrote it

CONTAINER = "docker/5e1f0a3b7c2d"
DOCKER_V1_CGROUP = f"""\
12:memory:/{CONTAINER}
11:cpu,cpuacct:/{CONTAINER}
5:pids:/{CONTAINER}
1:name=systemd:/{CONTAINER}
0::/system.slice/containerd.service
"""
DOCKER_V1_MOUNTS = f"""\
1182 1181 0:27 /{CONTAINER} /sys/fs/cgroup/systemd ro,nosuid,nodev,noexec,relatime master:11 - cgroup cgroup rw,xattr,name=systemd
1184 1181 0:30 /{CONTAINER} /sys/fs/cgroup/cpu,cpuacct ro,nosuid,nodev,noexec,relatime master:16 - cgroup cgroup rw,cpu,cpuacct
1188 1181 0:34 /{CONTAINER} /sys/fs/cgroup/pids ro,nosuid,nodev,noexec,relatime master:20 - cgroup cgroup rw,pids
1193 1181 0:41 /{CONTAINER} /sys/fs/cgroup/memory ro,nosuid,nodev,noexec,relatime master:27 - cgroup cgroup rw,memory
"""  # noqa: E501 - as the kernel wrote it

SCOPE = "/system.slice/docker-5e1f0a3b7c2d.scope"
DOCKER_V2_MOUNTS = """\
731 730 0:26 {root} /sys/fs/cgroup ro,nosuid,nodev,noexec,relatime - cgroup2 cgroup rw,nsdelegate,memory_recursiveprot
"""  # noqa: E501 - as the kernel wrote it

HYBRID_CGROUP = """\
7:memory:/system.slice/greenroom.service
6:cpu,cpuacct:/system.slice/greenroom.service
4:pids:/system.slice/greenroom.service
1:name=systemd:/system.slice/greenroom.service
0::/system.slice/greenroom.service
"""
HYBRID_MOUNTS = """\
28 25 0:24 / /sys/fs/cgroup ro,nosuid,nodev,noexec shared:9 - tmpfs tmpfs ro,mode=755
29 28 0:25 / /sys/fs/cgroup/unified rw,nosuid,nodev,noexec,relatime shared:10 - cgroup2 cgroup2 rw
30 28 0:26 / /sys/fs/cgroup/systemd rw,nosuid,nodev,noexec,relatime shared:11 - cgroup cgroup rw,xattr,name=systemd
33 28 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,nosuid,nodev,noexec,relatime shared:15 - cgroup cgroup rw,cpu,cpuacct
36 28 0:32 / /sys/fs/cgroup/pids rw,nosuid,nodev,noexec,relatime shared:18 - cgroup cgroup rw,pids
39 28 0:35 / /sys/fs/cgroup/memory rw,nosuid,nodev,noexec,relatime shared:21 - cgroup cgroup rw,memory
"""  # noqa: E501 - as the kernel wrote it


def v1(cgroup: str, mounts: str) -> dict[str, str]:
    wanted = ("memory", "pids", "cpuacct")
    return {
        name: str(path)
        for name, path in cgroup_folders(cgroup, mounts)[0].items()
        if name in wanted
    }


def v2(cgroup: str, mounts: str) -> Path | None:
    return cgroup_folders(cgroup, mounts)[1]


def test_v1_controllers_may_sit_at_different_paths() -> None:
    assert v1(V1_ONLY_CGROUP, V1_ONLY_MOUNTS) == {
        "memory": "/sys/fs/cgroup/memory/process_api/3c8f2ee2970fe17bcd1a0bda5e86ec1d",
        "pids": "/sys/fs/cgroup/pids",
        "cpuacct": "/sys/fs/cgroup/cpuacct",
    }


def test_v2_is_found_beside_v1() -> None:
    assert v2(V1_ONLY_CGROUP, V1_ONLY_MOUNTS) == Path("/sys/fs/cgroup/unified")


def test_a_service_of_systemd_is_found_in_v2() -> None:
    assert v2(SYSTEMD_CGROUP, SYSTEMD_MOUNTS) == Path("/sys/fs/cgroup", SERVICE)
    assert v1(SYSTEMD_CGROUP, SYSTEMD_MOUNTS) == {}


def test_a_container_sees_its_own_part_of_v1_at_the_mount_point() -> None:
    assert v1(DOCKER_V1_CGROUP, DOCKER_V1_MOUNTS) == {
        "memory": "/sys/fs/cgroup/memory",
        "pids": "/sys/fs/cgroup/pids",
        "cpuacct": "/sys/fs/cgroup/cpu,cpuacct",
    }


def test_a_container_without_a_mount_of_v2_has_none() -> None:
    assert v2(DOCKER_V1_CGROUP, DOCKER_V1_MOUNTS) is None


@pytest.mark.parametrize(
    ("path", "root"),
    [
        pytest.param("/", "/", id="with a cgroup namespace of its own"),
        pytest.param(SCOPE, SCOPE, id="with the host's cgroup namespace"),
        pytest.param("/../other.scope", "/", id="entered from outside its cgroup namespace"),
        pytest.param("/", "/../../..", id="with a mount from outside its cgroup namespace"),
    ],
)
def test_a_container_sees_its_own_part_of_v2_at_the_mount_point(path: str, root: str) -> None:
    assert v2(f"0::{path}\n", DOCKER_V2_MOUNTS.format(root=root)) == Path("/sys/fs/cgroup")


def test_a_process_deeper_in_its_container_is_found_there() -> None:
    mounts = DOCKER_V2_MOUNTS.format(root=SCOPE)
    assert v2(f"0::{SCOPE}/init\n", mounts) == Path("/sys/fs/cgroup/init")


def test_a_hybrid_host_has_both() -> None:
    service = "system.slice/greenroom.service"
    assert v1(HYBRID_CGROUP, HYBRID_MOUNTS) == {
        "memory": f"/sys/fs/cgroup/memory/{service}",
        "pids": f"/sys/fs/cgroup/pids/{service}",
        "cpuacct": f"/sys/fs/cgroup/cpu,cpuacct/{service}",
    }
    assert v2(HYBRID_CGROUP, HYBRID_MOUNTS) == Path("/sys/fs/cgroup/unified", service)


def test_a_controller_that_is_mounted_but_not_listed_is_left_out() -> None:
    without_pids = V1_ONLY_CGROUP.replace("8:pids:/\n", "")
    assert "pids" not in v1(without_pids, V1_ONLY_MOUNTS)


def test_without_any_mount_there_is_nothing() -> None:
    assert cgroup_folders("0::/\n", "22 27 0:21 / /proc rw - proc proc rw\n") == ({}, None)


def test_what_this_kernel_says_is_understood() -> None:
    own = [Path("/proc/self", name).read_text() for name in ("cgroup", "mountinfo")]
    found, unified = cgroup_folders(*own)
    assert all(folder.is_dir() for folder in (*found.values(), *filter(None, [unified])))
