"""Calls about the account: hello, tokens, environments, apps, images."""

import hashlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.executors.modal.loopback.proto import Timestamp
from app.executors.modal.loopback.rpc import Streaming, Unary
from app.executors.modal.loopback.state import Image, State, new_id
from app.executors.modal.loopback.tokens import Tokens

WORKSPACE = "loopback"
_ENVIRONMENT = "main"
_BUILDER = "2025.06"
_SUCCESS = api_pb2.GenericResult(status=api_pb2.GenericResult.GENERIC_STATUS_SUCCESS)
_MAY_CREATE = (
    api_pb2.OBJECT_CREATION_TYPE_CREATE_IF_MISSING,
    api_pb2.OBJECT_CREATION_TYPE_CREATE_OVERWRITE_IF_EXISTS,
)
Metadata = Mapping[str, Any]


class Account:
    """One workspace with one environment."""

    def __init__(self, state: State, tokens: Tokens, expires_at: float | None) -> None:
        self._state, self._tokens, self._expires_at = state, tokens, expires_at
        self.unary: Mapping[str, Unary] = {
            "ClientHello": self.hello,
            "TokenInfoGet": self.token_info,
            "AuthTokenGet": self.auth_token,
            "EnvironmentGetOrCreate": self.environment,
            "AppGetOrCreate": self.app,
            "ImageGetOrCreate": self.image,
            "ImageFromId": self.image_from_id,
            "ImageGetByTag": self.image_by_tag,
            "ImagePublish": self.publish_image,
        }
        self.streaming: Mapping[str, Streaming] = {"ImageJoinStreaming": self.join_image}

    async def hello(self, *_: object) -> api_pb2.ClientHelloResponse:
        """Say that the token is good; the door has looked."""
        return api_pb2.ClientHelloResponse(image_builder_version=_BUILDER)

    async def token_info(self, _: object, metadata: Metadata) -> api_pb2.TokenInfoGetResponse:
        """Say whose token it is."""
        expires = None
        if self._expires_at is not None:
            expires = Timestamp()
            expires.FromSeconds(int(self._expires_at))
        return api_pb2.TokenInfoGetResponse(
            token_id=metadata["x-modal-token-id"],
            workspace_id="ac-loopback",
            workspace_name=WORKSPACE,
            token_name="loopback token",  # noqa: S106 - a name
            expires_at=expires,
        )

    async def auth_token(self, *_: object) -> api_pb2.AuthTokenGetResponse:
        """Exchange the pair for a signed token."""
        return api_pb2.AuthTokenGetResponse(token=self._tokens.sign("auth"))

    async def environment(
        self, request: api_pb2.EnvironmentGetOrCreateRequest, _: Metadata
    ) -> api_pb2.EnvironmentGetOrCreateResponse:
        """Return the one environment, whatever it is called."""
        settings = api_pb2.EnvironmentSettings(image_builder_version=_BUILDER)
        name = request.deployment_name or _ENVIRONMENT
        return api_pb2.EnvironmentGetOrCreateResponse(
            environment_id="en-loopback",
            metadata=api_pb2.EnvironmentMetadata(name=name, settings=settings),
        )

    async def app(
        self, request: api_pb2.AppGetOrCreateRequest, _: Metadata
    ) -> api_pb2.AppGetOrCreateResponse:
        """Look an app up, and make it if the caller says so."""
        name = request.app_name
        if name not in self._state.apps:
            if request.object_creation_type not in _MAY_CREATE:
                raise GRPCError(Code.NOT_FOUND, f"App '{name}' not found in environment 'main'")
            self._state.apps[name] = new_id("ap")
        id = self._state.apps[name]
        handle = api_pb2.AppHandleMetadata(description=name, app_id=id)
        return api_pb2.AppGetOrCreateResponse(app_id=id, handle_metadata=handle)

    async def image(
        self, request: api_pb2.ImageGetOrCreateRequest, _: Metadata
    ) -> api_pb2.ImageGetOrCreateResponse:
        """Find the image of a recipe; a new one has no result yet, so its caller joins."""
        recipe = request.image.SerializeToString(deterministic=True)
        id = f"im-{hashlib.sha256(recipe).hexdigest()[:22]}"
        image = self._state.images.setdefault(id, Image(id, request.image))
        return api_pb2.ImageGetOrCreateResponse(
            image_id=id,
            result=_SUCCESS if image.is_built else None,
            metadata=_image_metadata(),
        )

    async def join_image(
        self, request: api_pb2.ImageJoinStreamingRequest, _: Metadata
    ) -> AsyncIterator[api_pb2.ImageJoinStreamingResponse]:
        """Build: every recipe becomes the same image, which is what boxes look like."""
        image = self._image(request.image_id)
        logged = api_pb2.TaskLogs(data="=> the loopback server builds nothing\n")
        yield api_pb2.ImageJoinStreamingResponse(entry_id="1-0", task_logs=[logged])
        image.is_built = True
        yield api_pb2.ImageJoinStreamingResponse(
            entry_id="2-0", result=_SUCCESS, metadata=_image_metadata(), eof=True
        )

    async def image_from_id(
        self, request: api_pb2.ImageFromIdRequest, _: Metadata
    ) -> api_pb2.ImageFromIdResponse:
        """Look an image up by its id."""
        image = self._image(request.image_id)
        return api_pb2.ImageFromIdResponse(image_id=image.id, metadata=_image_metadata())

    async def image_by_tag(
        self, request: api_pb2.ImageGetByTagRequest, _: Metadata
    ) -> api_pb2.ImageGetByTagResponse:
        """Look an image up by the name that it was published under."""
        if request.tag not in self._state.tags:
            raise GRPCError(Code.NOT_FOUND, f"Image '{request.tag}' not found")
        return api_pb2.ImageGetByTagResponse(image_id=self._state.tags[request.tag])

    async def publish_image(
        self, request: api_pb2.ImagePublishRequest, _: Metadata
    ) -> api_pb2.ImagePublishResponse:
        """Give an image a name, or give the name to another image."""
        self._state.tags[request.tag] = self._image(request.image_id).id
        return api_pb2.ImagePublishResponse(image_id=request.image_id, revision_id=new_id("ir"))

    def _image(self, id: str) -> Image:
        if id not in self._state.images:
            raise GRPCError(Code.NOT_FOUND, f"Image {id} not found")
        return self._state.images[id]


def _image_metadata() -> api_pb2.ImageMetadata:
    return api_pb2.ImageMetadata(image_builder_version=_BUILDER, workdir="/root")
