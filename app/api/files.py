"""The files of a program: those that it was given, and those that it has left."""

import base64
from mimetypes import MimeTypes

import strawberry

from app.api.context import Info
from app.api.output import MaxBytes, read
from app.api.scalars import BigInt

_TYPES = MimeTypes()  # those of Python, whatever the host has beside them


@strawberry.type(description="A file that a program has left in `out/`.")
class Artifact:
    data: strawberry.Private[bytes]
    path: str = strawberry.field(description="Relative to the program's folder: `out/plot.png`.")

    @strawberry.field(description="What its name says that it is, such as `image/png`.")
    def media_type(self) -> str:
        return _TYPES.guess_type(self.path)[0] or "application/octet-stream"

    @strawberry.field(description="How many bytes are in it.")
    def byte_size(self) -> BigInt:
        return BigInt(len(self.data))

    @strawberry.field(description="What is in it.")
    def base64(self, info: Info) -> str:
        info.context.allow(len(self.data) * 4 // 3)
        return base64.b64encode(self.data).decode()


@strawberry.type(description="A file of a program.")
class File:
    data: strawberry.Private[bytes]
    path: str = strawberry.field(description="Relative to the program's folder, normalised.")

    @strawberry.field(description="What is in it as text, invalid bytes as U+FFFD.")
    def text(self, info: Info, max_bytes: MaxBytes = None) -> str:
        return read(info, self.data, max_bytes)

    @strawberry.field(description="What is in it as bytes.")
    def base64(self, info: Info) -> str:
        info.context.allow(len(self.data) * 4 // 3)
        return base64.b64encode(self.data).decode()

    @strawberry.field(description="How many bytes are in it.")
    def byte_size(self) -> BigInt:
        return BigInt(len(self.data))
