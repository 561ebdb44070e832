"""A box that does not let its root mount: the supervisor looks at the files itself."""

from collections.abc import AsyncIterator, Mapping

import pytest

from app.domain.execution import KillReason, Status
from app.domain.language import Toolchain
from app.domain.limits import MIB
from app.executors.modal.executor import ModalExecutor
from app.executors.modal.loopback import LoopbackModal
from tests.wire.adapter import executor_on, run

pytestmark = pytest.mark.anyio


@pytest.fixture
async def executor(
    tools: Mapping[str, Toolchain], pinned: pytest.MonkeyPatch
) -> AsyncIterator[ModalExecutor]:
    del pinned
    async with (
        LoopbackModal(tools, may_mount=False) as server,
        executor_on(server) as executor,
    ):
        yield executor


WRITE = """
import time
for n in range({count}):
    with open(f"{folder}/{{n}}", "wb") as file: file.write(bytes({size}))
time.sleep({rest})
print("done")
"""


@pytest.mark.parametrize("folder", ["/box", "/tmp", "/var/tmp", "/dev/shm"])
async def test_too_many_bytes_end_a_program(executor: ModalExecutor, folder: str) -> None:
    source = WRITE.format(folder=folder, count=12, size=MIB, rest=8)
    ran = await run(executor, source, disk=8 * MIB)
    assert ran.end.kill_reason is KillReason.DISK
    assert ran.outcome.status is Status.OUTPUT_LIMIT_EXCEEDED


async def test_too_many_files_end_a_program(executor: ModalExecutor) -> None:
    ran = await run(executor, WRITE.format(folder="/tmp", count=5000, size=0, rest=8))
    assert ran.end.kill_reason is KillReason.DISK


async def test_what_is_allowed_is_allowed(executor: ModalExecutor) -> None:
    source = WRITE.format(folder="/box", count=7, size=MIB, rest=0.5)
    ran = await run(executor, source, disk=8 * MIB)
    assert (bytes(ran.stdout), ran.outcome.status) == (b"done\n", Status.SUCCEEDED)
