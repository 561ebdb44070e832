"""A connection to Modal with one token: every public call that we make, each with an end.

Three defaults of Modal's client are unfit for a request: connecting blocks for up to 63 s,
throttled calls are repeated for ever, and waiting for a process never ends when its worker is
gone. So each call here has a time limit, throttling is told to give up, and we never wait for a
process: the supervisor's report, the end of its output and our own clock decide.
"""

import logging
import os
from collections.abc import Mapping
from contextlib import aclosing, suppress
from dataclasses import dataclass

import anyio
import modal

from app.executors.modal.calls import within
from app.executors.modal.credentials import Token
from app.executors.modal.errors import ModalError, translated
from app.executors.modal.private import Identity, identity, opened, result_status

CONNECT_TIMEOUT = 5.0  # s
CALL_TIMEOUT = 10.0  # s; control plane calls take a tenth of that
LIST_TIMEOUT = 60.0  # s; a list comes in pages
CREATE_TIMEOUT = 90.0  # s; a cold start took 22 s at the 99th percentile in public measurements
# Below this level these write the headers of each call, and one of them is the token.
_TALKATIVE = ("hpack", "hyperframe", "h2", "grpclib")
# Read by the client at each call: give up throttling after a second, and keep to the protocol
# that this code was tried with.
ENVIRONMENT = {"MODAL_MAX_THROTTLE_WAIT": "1", "MODAL_SANDBOX_V2": "1"}


@dataclass(frozen=True, slots=True, kw_only=True)
class BoxSize:
    """What a box may use. Memory in bytes, processors in cores, lifetime in seconds."""

    memory: int
    cpu: float
    lifetime: int


class Account:
    """One token's connection; boxes keep the account that made them until they end."""

    def __init__(
        self, client: modal.Client, app: modal.App, image: modal.Image, identity: Identity
    ) -> None:
        self._client, self._app, self._image = client, app, image
        self.identity = identity
        self.left: set[str] = set()
        """Boxes of ours that have served, but that a refused token could not end."""
        self._boxes = 0
        self._idle = anyio.Event()
        self._idle.set()

    def box_began(self) -> None:
        """Count a box: the connection is needed until it ends."""
        self._boxes += 1
        self._idle = anyio.Event()

    def box_ended(self) -> None:
        """Count a box that has ended."""
        self._boxes -= 1
        if self._boxes == 0:
            self._idle.set()

    async def until_idle(self) -> None:
        """Wait until none of the boxes that this account made is left."""
        await self._idle.wait()

    async def create(self, size: BoxSize, tags: Mapping[str, str]) -> modal.Sandbox:
        """Create a box without network, secrets or identity.

        Never cancelled half way: a sandbox that nobody knows of would live until its lifetime
        ends. The caller must shield this.
        """
        mebibytes = -(-size.memory // 2**20)
        with translated("create a sandbox"):
            return await within(
                CREATE_TIMEOUT,
                modal.Sandbox.create.aio(
                    app=self._app,
                    client=self._client,
                    image=self._image,
                    timeout=size.lifetime,
                    cpu=(size.cpu, size.cpu),
                    memory=(mebibytes, mebibytes),
                    block_network=True,
                    secrets=[],
                    include_oidc_identity_token=False,
                    tags=dict(tags),
                ),
            )

    async def find(self, sandbox: str) -> modal.Sandbox:
        """Find a box that another process made."""
        with translated("find a sandbox"):
            found: modal.Sandbox = await within(
                CALL_TIMEOUT, modal.Sandbox.from_id.aio(sandbox, client=self._client)
            )
            return found

    async def boxes(self, tags: Mapping[str, str]) -> list[modal.Sandbox]:
        """List the running boxes of our app that have these tags."""
        with translated("list sandboxes"):
            return await within(LIST_TIMEOUT, self._listed(tags))

    async def _listed(self, tags: Mapping[str, str]) -> list[modal.Sandbox]:
        listed = modal.Sandbox.list.aio(
            app_id=self._app.app_id, tags=dict(tags), client=self._client
        )
        async with aclosing(listed):
            return [sandbox async for sandbox in listed]

    async def hello(self) -> None:
        """Ask whether the token is still good."""
        with translated("verify the token"):
            await within(CALL_TIMEOUT, self._client.hello.aio())

    async def close(self) -> None:
        """Hang up."""
        await hang_up(self._client)


async def connect(token: Token, *, server: str, app: str, image: str) -> Account:
    """Verify the token and look up what boxes are made from.

    Raises:
        Unauthorized: the token is refused.
        Unreachable: Modal does not answer.
        Missing: the image has not been built.
    """
    client = await open_client(token, server=server)
    try:
        found = await find_app(client, app)
        named = await find_image(found, image)
        return Account(client, found, named, await identity_of(client))
    except BaseException:
        await hang_up(client)
        raise


async def find_app(client: modal.Client, name: str) -> modal.App:
    """Look the app up that boxes belong to, and make it where there is none."""
    with translated(f"look up the app {name}"):
        found: modal.App = await within(
            CALL_TIMEOUT, modal.App.lookup.aio(name, client=client, create_if_missing=True)
        )
        return found


async def find_image(app: modal.App, name: str) -> modal.Image:
    """Look the image up that boxes are made from; one with a name is never built by this."""
    with translated(f"look up the image {name} (`greenroom modal build` makes it)"):
        named: modal.Image = await within(CALL_TIMEOUT, modal.Image.from_name(name).build.aio(app))
        return named


async def open_client(token: Token, *, server: str) -> modal.Client:
    """Connect and prove the token with one cheap call."""
    os.environ.update(ENVIRONMENT, MODAL_SERVER_URL=server)
    for name in _TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    with translated("connect"):
        client: modal.Client = await within(
            CONNECT_TIMEOUT,
            opened.aio(server, token.id.get_secret_value(), token.secret.get_secret_value()),
        )
    try:
        with translated("verify the token"):
            await within(CALL_TIMEOUT, client.hello.aio())
    except BaseException:
        await hang_up(client)
        raise
    return client


async def hang_up(client: modal.Client) -> None:
    """Close a client, even if cancelled; what it still has to say interests nobody."""
    with anyio.CancelScope(shield=True), suppress(ModalError), translated("hang up"):
        await within(CALL_TIMEOUT, client.close.aio())


async def identity_of(client: modal.Client) -> Identity:
    """Return whose token it is; nothing depends on it, so what cannot be asked is a dash."""
    try:
        with translated("ask whose token it is"):
            found: Identity = await within(CALL_TIMEOUT, identity.aio(client))
            return found
    except ModalError:
        return Identity()


async def status_of(sandbox: modal.Sandbox) -> int | None:
    """Return Modal's own status of a box that has ended, or None while it has none."""
    with translated("ask how a sandbox ended"):
        return await within(CALL_TIMEOUT, result_status.aio(sandbox))


async def end(sandbox: modal.Sandbox) -> None:
    """Terminate a box and let go of its connection."""
    with translated("terminate a sandbox"):
        await within(CALL_TIMEOUT, sandbox.terminate.aio())
    await leave(sandbox)


async def leave(sandbox: modal.Sandbox) -> None:
    """Let go of the connection to a box, which goes on."""
    with translated("leave a sandbox"):
        await within(CALL_TIMEOUT, sandbox.detach.aio())
