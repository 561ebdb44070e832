"""What a program wrote, as text and as bytes."""

import base64
import codecs
from typing import Annotated

import strawberry

from app.api.context import Info
from app.api.errors import BadArgumentError
from app.api.scalars import BigInt

MaxBytes = Annotated[
    int | None, strawberry.argument(description="At most so many bytes from the start.")
]


@strawberry.type(description="Everything that a program wrote to one stream.")
class OutputStream:
    data: strawberry.Private[bytes]
    is_truncated: bool = strawberry.field(
        description="Whether the program wrote more than its limit; the rest is not kept."
    )

    @strawberry.field(description="The bytes, exactly as they were written.")
    def base64(self, info: Info) -> str:
        info.context.allow(len(self.data) * 4 // 3)
        return base64.b64encode(self.data).decode()

    @strawberry.field(description="How many bytes are kept.")
    def byte_size(self) -> BigInt:
        return BigInt(len(self.data))

    @strawberry.field(description="Whether the text has U+FFFD where bytes are not UTF-8.")
    def is_lossy(self) -> bool:
        try:
            self.data.decode()
        except UnicodeDecodeError:
            return True
        return False


def enough(max_bytes: int | None) -> int | None:
    """Return how many bytes to read: one more than asked for tells whether they are all.

    Raises:
        BadArgumentError: `max_bytes` makes no sense.
    """
    if max_bytes is None:
        return None
    if max_bytes < 0:
        message = f"`maxBytes` must not be negative, but is {max_bytes}."
        raise BadArgumentError(message)
    return max_bytes + 1


def read(info: Info, data: bytes, max_bytes: int | None) -> str:
    """Return bytes as text, or their beginning.

    Raises:
        BadArgumentError: the answer would be too large.
    """
    most = len(data) if max_bytes is None else max_bytes
    info.context.allow(min(len(data), most))
    return beginning(data, most)


def beginning(data: bytes, max_bytes: int) -> str:
    """Return the first bytes as text."""
    # A character that the cut goes through is left out, not shown as damaged.
    is_whole = max_bytes >= len(data)
    return codecs.getincrementaldecoder("utf-8")("replace").decode(data[:max_bytes], is_whole)
