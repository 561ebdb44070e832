"""Modal's own client and a Modal of our own for it to talk to."""

from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from typing import Any

import modal
import pytest
from modal._utils.async_utils import synchronize_api
from modal.client import _Client

from app.domain.language import Toolchain
from app.executors.local.cgroups import Cgroups
from app.executors.modal.account import hang_up
from app.executors.modal.loopback import LoopbackModal, host
from app.languages import all_languages
from tests.hosted import hosted
from tests.wire.adapter import pinned_client

Create = Callable[..., Awaitable[modal.Sandbox]]
Call = Callable[[str, Any], Awaitable[Any]]


async def _call(client: _Client, name: str, request: object) -> object:
    assert client._auth_token_manager is not None
    signed = await client._auth_token_manager.get_token()
    return await getattr(client._stub, name)(request, metadata=[("x-modal-auth-token", signed)])


_call_in_its_loop = synchronize_api(_call)  # type: ignore[no-untyped-call]


@pytest.fixture(scope="session")
def tools() -> Mapping[str, Toolchain]:
    languages = all_languages()
    return {
        "python3": languages["PYTHON"].find(None)[0],
        "node": languages["JAVASCRIPT"].find(None)[0],
    }


@pytest.fixture
def pinned() -> Iterator[pytest.MonkeyPatch]:
    with pinned_client() as patch:
        yield patch


@pytest.fixture
async def loopback(
    tools: Mapping[str, Toolchain],
    pinned: pytest.MonkeyPatch,
    request: pytest.FixtureRequest,
) -> AsyncIterator[LoopbackModal]:
    if getattr(request, "param", "") == "without cgroups":
        pinned.setattr(host, "find_cgroups", _no_cgroups)
    async with hosted(LoopbackModal(tools)) as server:
        pinned.setenv("MODAL_SERVER_URL", server.url)
        yield server


def _no_cgroups() -> Cgroups:
    raise FileNotFoundError("none for this test")


@pytest.fixture
async def client(loopback: LoopbackModal) -> AsyncIterator[modal.Client]:
    client = await modal.Client.from_credentials.aio(loopback.token_id, loopback.token_secret)
    yield client
    await hang_up(client)


@pytest.fixture
async def call(client: modal.Client) -> Call:
    """Make a call that the client makes by itself, but shows to nobody."""

    async def call(name: str, request: object) -> object:
        return await _call_in_its_loop.aio(client, name, request)

    return call


@pytest.fixture
async def app(client: modal.Client) -> modal.App:
    return await modal.App.lookup.aio("greenroom", client=client, create_if_missing=True)


@pytest.fixture
async def image(app: modal.App, client: modal.Client) -> modal.Image:
    image = modal.Image.debian_slim("3.13")
    await image.build.aio(app)
    return image


@pytest.fixture
async def create(app: modal.App, image: modal.Image, client: modal.Client) -> Create:
    async def create(*entrypoint: str, **options: Any) -> modal.Sandbox:
        asked: dict[str, Any] = {
            "app": app,
            "client": client,
            "image": image,
            "timeout": 60,
            "cpu": (0.125, 1.0),
        }
        asked |= {"memory": (128, 256), "block_network": True}
        return await modal.Sandbox.create.aio(*entrypoint, **(asked | options))

    return create


@pytest.fixture
async def sandbox(create: Create) -> modal.Sandbox:
    return await create()
