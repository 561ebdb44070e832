"""A Modal that is gone is noticed although nobody runs anything, and so is its return."""

import anyio
import pytest
from grpclib.const import Status as Code

from app.executions import vigil
from app.executions.vigil import Vigil, open_vigil
from app.executors.modal.loopback import LoopbackModal
from tests.wire.adapter import executor_on, token_of

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vigil, "EVERY", 0.01)
    monkeypatch.setattr(vigil, "AGAIN", 0.01)


async def until(watch: Vigil, *, is_well: bool) -> None:
    with anyio.fail_after(60):
        while (watch.problem is None) is not is_well:  # noqa: ASYNC110 - no bell rings for it
            await anyio.sleep(0.01)


@pytest.mark.parametrize("code", [Code.UNAVAILABLE, Code.INTERNAL])
async def test_a_modal_that_does_not_answer(loopback: LoopbackModal, code: Code) -> None:
    async with executor_on(loopback) as executor, open_vigil(executor) as watch:
        await until(watch, is_well=True)
        loopback.faults.set("ClientHello", status=code, times=None)
        await until(watch, is_well=False)
        assert executor.state().problem is None  # only who tried knows
        loopback.faults.clear()
        await until(watch, is_well=True)


async def test_a_token_that_is_taken_back(loopback: LoopbackModal) -> None:
    async with executor_on(loopback) as executor, open_vigil(executor) as watch:
        loopback.revoke(loopback.token)
        await until(watch, is_well=False)
        assert "token" in (watch.problem or "").lower()
        assert token_of(loopback).secret.get_secret_value() not in (watch.problem or "")
