"""The files of a program."""

import base64

import strawberry

from app.api.context import Info
from app.api.output import MaxBytes, read
from app.api.scalars import BigInt


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
