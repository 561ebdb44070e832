"""The files that a program has left in a box, as its supervisor sends them."""

from app.domain.errors import ExecutorError
from app.domain.execution import File
from app.domain.ports import Collect
from app.executors.collecting import Collected
from app.executors.modal.frames import Frame, Kind


class Product:
    """The files that have come so far, and the one that is coming."""

    def __init__(self, collect: Collect) -> None:
        self._collected = Collected(collect)
        self._head: tuple[str, int, bool] | None = None
        self._data = bytearray()

    def take(self, frame: Frame) -> None:
        """Take the head of a file, or a piece of it.

        Raises:
            ExecutorError: it makes no sense, or is more than was asked for or announced.
        """
        if frame.kind is Kind.FILE:
            self._begin(frame)
        else:
            self._data += frame.data
        self._end_if_whole()

    def end(self, left_out: object) -> Collected:
        """Return all that has come, when the supervisor says what has not.

        Raises:
            ExecutorError: it makes no sense, or a file is not whole.
        """
        if self._head is not None or not isinstance(left_out, int):
            raise ExecutorError("the supervisor sent a part of the files")
        self._collected.leave_out(left_out)
        return self._collected

    def _begin(self, frame: Frame) -> None:
        head = frame.details()
        path, size = head.get("path"), head.get("size")
        if self._head is not None or not isinstance(path, str) or not isinstance(size, int):
            raise ExecutorError("the supervisor sent a file that makes no sense")
        self._collected.expect(size)
        self._head = path, size, bool(head.get("executable"))

    def _end_if_whole(self) -> None:
        path, size, is_executable = self._head or ("", 0, False)
        if len(self._data) > size:
            raise ExecutorError("the supervisor sent more than it had announced")
        if self._head is not None and len(self._data) == size:
            data, self._data, self._head = bytes(self._data), bytearray(), None
            self._collected.add(File(path=path, data=data, is_executable=is_executable))
