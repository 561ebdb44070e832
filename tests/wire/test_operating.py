"""What an operator of Modal sees: doctor, the image, the choice of the executor, the secrets."""

import logging
from collections.abc import Callable
from pathlib import Path

import anyio
import anyio.to_thread
import pytest
from grpclib.const import Status as Code
from pydantic import SecretStr

from app.executor_factory import (
    build_modal_image,
    chosen_executor,
    examine_modal,
    modal_loopback,
    modal_token,
    slots_of,
)
from app.executors.modal.credentials import BadToken
from app.executors.modal.doctor import examine
from app.executors.modal.images import recipe_for
from app.executors.modal.loopback import LoopbackModal
from app.executors.modal.private import TRIED, UnknownVersion, require_tried_version
from app.executors.modal.publish import publish
from app.main import open_services
from app.settings import Settings
from app.storage.migrations import migrate
from app.storage.store import Store
from tests.wire.adapter import LANGUAGES, token_of

pytestmark = pytest.mark.anyio

RECIPE = recipe_for(LANGUAGES.values())


def settings_of(server: LoopbackModal, **changes: object) -> Settings:
    values: dict[str, object] = {
        "modal_token_id": SecretStr(server.token_id),
        "modal_token_secret": SecretStr(server.token_secret),
        "modal_server_url": server.url,
        "modal_allow_loopback": True,
        "modal_warm_min": 0,
    }
    return Settings(_env_file=None, **(values | changes))  # type: ignore[arg-type]


async def test_doctor_tries_the_token_the_image_and_a_box(loopback: LoopbackModal) -> None:
    await publish(token_of(loopback), server=loopback.url, recipe=RECIPE)
    checks = await examine(token_of(loopback), server=loopback.url, recipe=RECIPE)
    names = ["token", "workspace", "app", "image", "create", "exec"]
    assert [check.name.split()[1] for check in checks] == names
    assert all(check.passed for check in checks)
    for box in loopback.state.boxes.values():
        await box.ended.wait()


@pytest.mark.parametrize(
    ("break_it", "names", "remedy"),
    [
        (lambda server: server.revoke(server.token), "modal token", "check the token"),
        (lambda _: None, "modal image", "greenroom modal build"),
        (
            lambda server: server.faults.set(
                "AppGetOrCreate", status=Code.PERMISSION_DENIED, times=None
            ),
            "modal app",
            "give the token the right",
        ),
    ],
)
async def test_doctor_stops_at_what_is_missing_and_says_what_to_do(
    loopback: LoopbackModal, break_it: Callable[[LoopbackModal], None], names: str, remedy: str
) -> None:
    break_it(loopback)
    *before, last = await examine(token_of(loopback), server=loopback.url, recipe=RECIPE)
    assert all(check.passed for check in before)
    assert not last.passed
    assert last.name.startswith(names)
    assert remedy in last.remedy


async def test_doctor_says_when_no_box_can_be_made(loopback: LoopbackModal) -> None:
    await publish(token_of(loopback), server=loopback.url, recipe=RECIPE)
    loopback.faults.set("SandboxCreateV2", status=Code.PERMISSION_DENIED, times=None)
    *_, last = await examine(token_of(loopback), server=loopback.url, recipe=RECIPE)
    assert not last.passed
    assert last.name == "modal create"


async def test_the_image_is_built_under_the_name_that_servers_look_for(
    loopback: LoopbackModal,
) -> None:
    settings = settings_of(loopback)
    name = await build_modal_image(settings, token_of(loopback))
    assert name in loopback.state.tags
    assert all(check.passed for check in await examine_modal(settings, token_of(loopback)))


async def test_a_token_means_modal_unless_the_settings_say_otherwise(
    loopback: LoopbackModal, tmp_path: Path
) -> None:
    store = Store(f"sqlite:///{tmp_path}/greenroom.db")
    for executor, name in (("auto", "modal"), ("local", "local"), ("modal", "modal")):
        settings = settings_of(loopback, executor=executor)
        chosen = await anyio.to_thread.run_sync(chosen_executor, settings, store)
        assert getattr(chosen, "name", None) == name
    none = {"modal_token_id": None, "modal_token_secret": None}
    assert modal_token(settings_of(loopback, **none)) is None
    assert slots_of(settings_of(loopback)) == 20
    with pytest.raises(BadToken, match="needs a Modal token"):
        modal_token(settings_of(loopback, executor="modal", **none))


async def test_a_token_is_not_sent_to_a_stranger(loopback: LoopbackModal) -> None:
    with pytest.raises(BadToken, match="is not Modal's"):
        modal_token(settings_of(loopback, modal_allow_loopback=False))
    with pytest.raises(BadToken, match="is not Modal's"):
        modal_token(settings_of(loopback, modal_server_url="https://modal.example"))


async def test_another_client_than_the_tried_one_is_refused(
    pinned: pytest.MonkeyPatch,
) -> None:
    require_tried_version()
    pinned.setattr("modal.__version__", "9.9.9")
    with pytest.raises(UnknownVersion, match=TRIED):
        require_tried_version()


async def test_the_whole_service_runs_on_a_modal_of_this_machine(
    tmp_path: Path, pinned: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    del pinned
    caplog.set_level(logging.DEBUG)
    url = f"sqlite:///{tmp_path}/greenroom.db"
    await migrate(url)
    plain = Settings(_env_file=None, database_url=SecretStr(url))
    async with modal_loopback(plain) as settings, open_services(settings) as services:
        secret = settings.modal_token_secret
        assert secret is not None
        with anyio.fail_after(30):
            while services.executions.executor.state().pool is None:  # noqa: ASYNC110
                await anyio.sleep(0.01)
        assert services.executions.executor.name == "modal"
    assert "modal: workspace loopback token loopback token ok" in caplog.text
    assert secret.get_secret_value() not in caplog.text
    assert secret.get_secret_value() not in repr(settings)
    assert secret.get_secret_value().encode() not in (tmp_path / "greenroom.db").read_bytes()
