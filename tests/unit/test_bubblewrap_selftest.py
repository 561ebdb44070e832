"""The self-test: each wall that is missing turns its own check red, and no other."""

import json
from dataclasses import dataclass
from typing import Any

import pytest

from app.domain.errors import Check, ExecutorError
from app.domain.execution import Exit, KillReason
from app.domain.limits import Limits
from app.executors.local.selftest import prove

SOUND: dict[str, Any] = {
    "capabilities": ["0" * 16] * 5,
    "no_new_privs": "1",
    "seccomp": "2",
    "pids": [1, 2],
    "writable": [],
    "interfaces": ["lo"],
    "routes": 0,
    "sees_canary": False,
    "environment": ["HOME", "LANG", "PATH", "TMPDIR", "USER"],
    "descriptors": 3,
}
BROKEN: list[tuple[str, dict[str, Any]]] = [
    ("capabilities", {"capabilities": ["0" * 16] * 3 + ["000001ffffffffff", "0" * 16]}),
    ("no-new-privs", {"no_new_privs": "0"}),
    ("system call filter", {"seccomp": "0"}),
    ("processes", {"pids": [1, 2, 4711]}),
    ("network", {"interfaces": ["lo", "eth0"]}),
    ("network", {"routes": 1}),
    ("host files", {"sees_canary": True}),
    ("read-only system", {"writable": ["/proc/sys/kernel/core_pattern"]}),
    ("environment", {"environment": [*SOUND["environment"], "SECRET_TOKEN"]}),
    ("descriptors", {"descriptors": 4}),
]
OOM_KILLED, WATCHED, ALIVE = (
    Exit(oom_killed=True),
    Exit(kill_reason=KillReason.MEMORY),
    Exit(code=0),
)


@dataclass(frozen=True, slots=True)
class Host:
    """Answers the self-test as a host would on which cells are as described."""

    said: str
    bomb: Exit = OOM_KILLED
    uid: int = 65533

    async def __call__(
        self, _source: str, args: tuple[str, ...], _limits: Limits
    ) -> tuple[Exit, str, int]:
        return (ALIVE, self.said, self.uid) if args else (self.bomb, "", self.uid)


async def checks(host: Host, *, counts_exactly: bool = True) -> list[Check]:
    return await prove(host, counts_exactly=counts_exactly, missing="no controller")


def red(found: list[Check]) -> list[str]:
    return [check.name for check in found if not check.passed]


async def test_a_sound_host_passes_everything() -> None:
    assert red(await checks(Host(json.dumps(SOUND)))) == []


@pytest.mark.parametrize(("wall", "facts"), BROKEN)
async def test_a_missing_wall_is_named_with_a_remedy(wall: str, facts: dict[str, Any]) -> None:
    found = await checks(Host(json.dumps(SOUND | facts)))
    assert red(found) == [wall]
    assert all(check.remedy and check.required for check in found if not check.passed)


async def test_a_cell_of_the_hosts_root_is_no_cell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 0)
    assert red(await checks(Host(json.dumps(SOUND), uid=0))) == ["user"]


async def test_a_kernel_that_counts_no_kill_is_no_exact_one() -> None:
    found = await checks(Host(json.dumps(SOUND), bomb=ALIVE))
    assert red(found) == ["memory and CPU time"]
    assert found[-1].required


async def test_without_cgroups_memory_is_approximate_and_that_will_do() -> None:
    found = await checks(Host(json.dumps(SOUND), bomb=WATCHED), counts_exactly=False)
    assert red(found) == ["memory and CPU time"]
    assert not found[-1].required
    assert found[-1].detail == "approximate, by looking at the processes: no controller"


async def test_memory_that_nobody_bounds_will_not_do() -> None:
    found = await checks(Host(json.dumps(SOUND), bomb=ALIVE), counts_exactly=False)
    assert found[-1].required
    assert found[-1].detail.startswith("not bounded")


async def test_a_cell_that_cannot_answer_is_quoted() -> None:
    with pytest.raises(ExecutorError, match="Traceback: boom"):
        await checks(Host("Traceback: boom"))
