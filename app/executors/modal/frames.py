"""What a supervisor reports, read as if it were hostile; `supervisor.py` is the other end."""

import json
import struct
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from app.domain.errors import ExecutorError

_HEAD = struct.Struct(">cI")
_NUMBER = struct.Struct(">I")
_LONGEST = 128 * 1024  # bytes of one frame; a supervisor of ours sends half of that


class Kind(Enum):
    """What a frame tells."""

    READY = b"R"
    STARTED = b"S"
    STDOUT = b"O"
    STDERR = b"E"
    TAKEN = b"I"
    ENDED = b"X"
    FAILED = b"F"
    FILE = b"P"
    CONTENT = b"D"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One frame."""

    kind: Kind
    data: bytes

    def number(self) -> int:
        """Read the number of a TAKEN frame.

        Raises:
            ExecutorError: it has another size.
        """
        if len(self.data) != _NUMBER.size:
            raise ExecutorError("the supervisor sent no number")
        return int(_NUMBER.unpack(self.data)[0])

    def details(self) -> Mapping[str, Any]:
        """Read the JSON of an ENDED, FAILED or FILE frame.

        Raises:
            ExecutorError: it is not a JSON object.
        """
        try:
            details = json.loads(self.data)
        except ValueError as error:
            raise ExecutorError("the supervisor sent no JSON") from error
        if not isinstance(details, dict):
            raise ExecutorError("the supervisor sent no JSON object")
        return details


class Decoder:
    """Cuts a stream of bytes, however it arrives, into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Take what has arrived and give the frames that are whole.

        Raises:
            ExecutorError: that is not a stream of frames.
        """
        self._rest += data
        while len(self._rest) >= _HEAD.size:
            letter, size = _HEAD.unpack_from(self._rest)
            if size > _LONGEST:
                raise ExecutorError(f"the supervisor announced a frame of {size} bytes")
            end = _HEAD.size + size
            if len(self._rest) < end:
                return
            body, self._rest = self._rest[_HEAD.size : end], self._rest[end:]
            yield Frame(kind=_kind(letter), data=body)


def _kind(letter: bytes) -> Kind:
    try:
        return Kind(letter)
    except ValueError as error:
        raise ExecutorError(f"the supervisor sent a frame of unknown kind {letter!r}") from error
