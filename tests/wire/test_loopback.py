"""The loopback server, seen through Modal's own client: the account, and boxes from outside."""

import math
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import anyio
import modal
import modal.exception
import pytest
from grpclib.const import Status as Code
from modal_proto import api_pb2

from app.domain.language import Toolchain
from app.executors.modal.loopback import LoopbackModal, Rate, Status, new_token

Create = Callable[..., Awaitable[modal.Sandbox]]
Call = Callable[[str, Any], Awaitable[Any]]


async def greet(client: modal.Client) -> None:
    await client.hello.aio()  # type: ignore[no-untyped-call]


async def test_a_good_token_is_greeted(loopback: LoopbackModal, client: modal.Client) -> None:
    await greet(client)
    assert loopback.state.rpcs["ClientHello"] >= 1


async def test_a_token_tells_whose_it_is(call: Call) -> None:
    info = await call("TokenInfoGet", api_pb2.TokenInfoGetRequest())
    assert info.workspace_name == "loopback"


async def test_a_bad_token_is_refused_at_once(loopback: LoopbackModal) -> None:
    client = await modal.Client.from_credentials.aio("ak-wrong", "as-wrong")
    with pytest.raises(modal.exception.AuthError):
        await greet(client)
    await client.close.aio()
    assert loopback.state.rpcs["ClientHello"] == 1


async def test_a_token_is_rotated(loopback: LoopbackModal, client: modal.Client) -> None:
    token = new_token()
    loopback.accept(token)
    loopback.revoke(loopback.token)
    with pytest.raises(modal.exception.AuthError):
        await greet(client)
    other = await modal.Client.from_credentials.aio(*token)
    await greet(other)
    await other.close.aio()


async def test_every_server_has_a_token_of_its_own(
    loopback: LoopbackModal, tools: Mapping[str, Toolchain]
) -> None:
    assert LoopbackModal(tools).token != loopback.token


async def test_an_app_that_nobody_made_is_not_found(client: modal.Client) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        await modal.App.lookup.aio("nowhere", client=client)


async def test_an_image_is_built_once_published_and_found_by_name(
    loopback: LoopbackModal, app: modal.App, client: modal.Client, create: Create
) -> None:
    recipe = modal.Image.debian_slim("3.13").apt_install("nodejs")
    await recipe.build.aio(app)
    await recipe.publish.aio("greenroom:v1", client=client)
    joined = loopback.state.rpcs["ImageJoinStreaming"]

    again = modal.Image.debian_slim("3.13").apt_install("nodejs")
    await again.build.aio(app)
    named = modal.Image.from_name("greenroom:v1")
    box = await create(image=named)

    assert loopback.state.rpcs["ImageJoinStreaming"] == joined
    assert loopback.state.boxes[box.object_id].definition.image_id == recipe.object_id


async def test_an_image_without_a_name_is_not_found(create: Create) -> None:
    with pytest.raises(modal.exception.NotFoundError):
        await create(image=modal.Image.from_name("greenroom:nowhere"))


async def test_the_definition_arrives_as_it_was_asked_for(
    loopback: LoopbackModal, create: Create
) -> None:
    sandbox = await create(
        cpu=(0.5, 2.0), memory=(256, 512), timeout=77, tags={"run": "1"}, env={"A": "b"}
    )
    box = loopback.state.boxes[sandbox.object_id]
    asked = box.definition.resources

    assert (asked.milli_cpu, asked.milli_cpu_max) == (500, 2000)
    assert (asked.memory_mb, asked.memory_mb_max) == (256, 512)
    assert box.definition.timeout_secs == 77
    blocked = api_pb2.NetworkAccess.NetworkAccessType.BLOCKED
    assert box.definition.network_access.network_access_type == blocked
    assert not box.definition.secret_ids
    assert not box.definition.include_oidc_identity_token
    assert box.tags == {"run": "1"}
    assert [dict(each.env.contents) for each in box.secret_sources] == [{"A": "b"}]


async def test_creating_takes_one_call(loopback: LoopbackModal, create: Create) -> None:
    await create()
    before = loopback.state.rpcs.copy()
    await create()
    assert loopback.state.rpcs - before == {"SandboxCreateV2": 1}


async def test_a_lost_answer_and_its_retry_make_one_box(
    loopback: LoopbackModal, create: Create
) -> None:
    loopback.faults.set("SandboxCreateV2:after", status=Code.UNAVAILABLE)
    await create()
    assert loopback.state.rpcs["SandboxCreateV2"] == 2
    assert len(loopback.state.boxes) == 1


async def test_a_connection_that_breaks_after_the_create_makes_one_box(
    loopback: LoopbackModal, create: Create
) -> None:
    loopback.faults.set("SandboxCreateV2:after", how="reset")
    await create()
    assert len(loopback.state.boxes) == 1


async def test_a_caller_that_hangs_up_leaves_an_orphan(
    loopback: LoopbackModal, create: Create
) -> None:
    loopback.create_latency = 0.2
    with anyio.move_on_after(0.1):
        await create(tags={"whose": "nobody"})
    (box,) = loopback.state.boxes.values()
    await box.ready.wait()
    assert box.is_running


async def test_create_latency_is_injected(loopback: LoopbackModal, create: Create) -> None:
    loopback.create_latency = 0.3
    began = time.monotonic()
    await create()
    assert time.monotonic() - began >= 0.3


@pytest.mark.parametrize(("times", "error"), [(2, None), (9, modal.exception.ServiceError)])
async def test_the_client_survives_a_few_faults(
    loopback: LoopbackModal, create: Create, times: int, error: type[Exception] | None
) -> None:
    loopback.faults.set("SandboxCreateV2", status=Code.UNAVAILABLE, times=times)
    if error is None:
        await create()
    else:
        with pytest.raises(error):
            await create()
    assert loopback.state.rpcs["SandboxCreateV2"] == min(times + 1, 4)


async def test_a_fault_may_only_delay(loopback: LoopbackModal, client: modal.Client) -> None:
    loopback.faults.set("ClientHello", delay=0.2)
    began = time.monotonic()
    await greet(client)
    assert time.monotonic() - began >= 0.2
    assert not loopback.faults.pending()


async def test_faults_are_cleared(loopback: LoopbackModal, client: modal.Client) -> None:
    loopback.faults.set("ClientHello", status=Code.PERMISSION_DENIED, times=None)
    for _ in range(2):
        with pytest.raises(modal.exception.PermissionDeniedError, match="injected"):
            await greet(client)
    loopback.faults.clear()
    await greet(client)


async def test_a_rate_limit_without_a_policy_is_an_error(
    loopback: LoopbackModal, create: Create
) -> None:
    loopback.create_rate = Rate(per_second=0.1)
    await create()
    with pytest.raises(modal.exception.ResourceExhaustedError):
        await create()


async def test_a_rate_limit_with_a_policy_is_waited_for(
    loopback: LoopbackModal, create: Create
) -> None:
    loopback.create_rate = Rate(per_second=5, with_policy=True)
    await create()
    await create()
    assert loopback.state.rpcs["SandboxCreateV2"] > 2
    assert len(loopback.state.boxes) == 2


async def test_a_throttled_client_gives_up_when_told_to(
    loopback: LoopbackModal, create: Create, pinned: pytest.MonkeyPatch
) -> None:
    pinned.setenv("MODAL_MAX_THROTTLE_WAIT", "1")
    loopback.faults.set(
        "SandboxCreateV2", status=Code.RESOURCE_EXHAUSTED, retry_after=0.6, times=None
    )
    with pytest.raises(modal.exception.ResourceExhaustedError):
        await create()


async def test_what_the_server_does_not_know_is_written_down(
    loopback: LoopbackModal, call: Call
) -> None:
    with pytest.raises(modal.exception.UnimplementedError):
        await call("VolumeList", api_pb2.VolumeListRequest())
    assert loopback.state.unimplemented == ["VolumeList"]


async def test_boxes_are_listed_by_their_tags_page_by_page(
    loopback: LoopbackModal, app: modal.App, client: modal.Client, create: Create
) -> None:
    mine = {(await create(tags={"whose": "mine", "n": str(n)})).object_id for n in range(3)}
    await create(tags={"whose": "other"})
    gone = await create(tags={"whose": "mine"})
    await gone.terminate.aio(wait=True)

    found = modal.Sandbox.list.aio(app_id=app.app_id, tags={"whose": "mine"}, client=client)
    assert {box.object_id async for box in found} == mine
    assert loopback.state.rpcs["SandboxListV2"] == 2


async def test_setting_tags_replaces_all(sandbox: modal.Sandbox) -> None:
    await sandbox.set_tags.aio({"a": "1", "b": "2"})
    await sandbox.set_tags.aio({"c": "3"})
    assert await sandbox.get_tags.aio() == {"c": "3"}


async def test_a_box_is_found_by_id_and_by_name(create: Create, client: modal.Client) -> None:
    box = await create(name="run-1")
    by_id = await modal.Sandbox.from_id.aio(box.object_id, client=client)
    by_name = await modal.Sandbox.from_name.aio("greenroom", "run-1", client=client)
    assert by_id.object_id == by_name.object_id == box.object_id


async def test_a_name_is_free_again_when_its_box_has_ended(create: Create) -> None:
    box = await create(name="run-1")
    with pytest.raises(modal.exception.AlreadyExistsError):
        await create(name="run-1")
    await box.terminate.aio(wait=True)
    await create(name="run-1")


async def test_the_last_box_of_a_name_is_found_on_request(
    create: Create, client: modal.Client
) -> None:
    box = await create(name="run-1")
    await box.terminate.aio(wait=True)
    with pytest.raises(modal.exception.NotFoundError):
        await modal.Sandbox.from_name.aio("greenroom", "run-1", client=client)
    found = await modal.Sandbox.from_name.aio(
        "greenroom", "run-1", include_terminated=True, client=client
    )
    assert found.object_id == box.object_id


async def test_a_nameless_box_gets_a_name_once(sandbox: modal.Sandbox) -> None:
    for _ in range(2):
        await sandbox._experimental_set_name.aio("run-2")
    with pytest.raises(modal.exception.ConflictError):
        await sandbox._experimental_set_name.aio("run-3")


async def test_resetting_the_state_keeps_the_living(
    loopback: LoopbackModal, create: Create
) -> None:
    living, ended = await create(), await create()
    await ended.terminate.aio(wait=True)
    loopback.state.reset()
    assert set(loopback.state.boxes) == {living.object_id}
    assert not loopback.state.rpcs


async def test_an_image_is_found_by_its_id(
    image: modal.Image, create: Create, client: modal.Client
) -> None:
    await create(image=modal.Image.from_id(image.object_id, client=client))
    with pytest.raises(modal.exception.NotFoundError):
        await create(image=modal.Image.from_id("im-nowhere", client=client))


async def test_polling_and_waiting_tell_how_a_box_ended(sandbox: modal.Sandbox) -> None:
    assert await sandbox.poll.aio() is None
    await sandbox.terminate.aio()
    await sandbox.wait.aio(raise_on_termination=False)
    assert await sandbox.poll.aio() == 137


async def test_an_entrypoint_ends_its_box_with_its_own_code(
    loopback: LoopbackModal, create: Create
) -> None:
    box = await create("python3", "-c", "print('out'); print(input()); raise SystemExit(5)")
    box.stdin.write("in\n")
    await box.stdin.drain.aio()
    await box.wait.aio(raise_on_termination=False)
    assert (box.returncode, await box.stdout.read.aio()) == (5, "out\nin\n")
    assert loopback.state.boxes[box.object_id].status is Status.FAILURE


async def test_a_box_ends_at_its_timeout(loopback: LoopbackModal, create: Create) -> None:
    box = await create(timeout=1)
    with pytest.raises(modal.exception.SandboxTimeoutError):
        await box.wait.aio()
    assert loopback.state.boxes[box.object_id].status is Status.TIMEOUT


async def test_an_idle_box_ends(loopback: LoopbackModal, create: Create) -> None:
    box = await create(idle_timeout=1)
    await loopback.state.boxes[box.object_id].ended.wait()
    assert loopback.state.boxes[box.object_id].status is Status.IDLE_TIMEOUT


@pytest.mark.parametrize("status", [10, 9, 8, 7, 6, 3])
async def test_a_box_is_killed_with_any_status(
    loopback: LoopbackModal, sandbox: modal.Sandbox, call: Call, status: int
) -> None:
    loopback.kill_box(sandbox.object_id, status)
    await sandbox.wait.aio(raise_on_termination=False)
    request = api_pb2.SandboxWaitRequest(sandbox_id=sandbox.object_id, timeout=0)
    answer = await call("SandboxWaitV2", request)
    assert answer.result.status == status


async def test_a_forgotten_box_was_never_there(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    loopback.forget_box(sandbox.object_id)
    with pytest.raises(modal.exception.NotFoundError):
        await sandbox.poll.aio()


async def test_a_box_is_billed(sandbox: modal.Sandbox) -> None:
    stats = await sandbox._experimental_stats.aio()
    assert math.isfinite(stats.billed_cpu_core_seconds)
