"""The files that a program has left in a box, as its supervisor sends them."""

from app.domain.errors import ExecutorError
from app.domain.execution import File
from app.domain.limits import MIB
from app.executors.modal.frames import Frame, Kind

MOST_FILES, MOST_BYTES = 500, 64 * MIB
_HEADS = MIB  # beside, for the names of its files


class Product:
    """The files that have come so far; no more than was asked for."""

    def __init__(self) -> None:
        self._files: list[tuple[str, bool, bytearray]] = []
        self._left = MOST_BYTES + _HEADS

    def take(self, frame: Frame) -> None:
        """Take the head or a piece of a file.

        Raises:
            ExecutorError: it makes no sense, or is too much.
        """
        if frame.kind is Kind.FILE:
            head = frame.details()
            self._files.append((str(head.get("path")), bool(head.get("executable")), bytearray()))
        elif self._files:
            self._files[-1][2].extend(frame.data)
        self._left -= len(frame.data)
        if self._left < 0 or len(self._files) > MOST_FILES:
            raise ExecutorError("the supervisor sent more than was asked for")

    def files(self) -> tuple[File, ...]:
        """Return what has come."""
        return tuple(
            File(path=path, data=bytes(data), is_executable=x) for path, x, data in self._files
        )
