"""What comes out of a sandbox after its program's end, read as if whoever sends it were hostile."""

from app.domain.errors import ExecutorError
from app.domain.execution import File
from app.domain.paths import is_tame
from app.domain.ports import Collect

_MOST_LEFT_OUT = 1_000_000  # more than any sandbox has room for


class Collected:
    """The files that have come so far: never more than was asked for."""

    def __init__(self, collect: Collect) -> None:
        self._folder = collect.folder
        self._room, self._files_left = collect.size, collect.files
        self._files: dict[str, File] = {}
        self.left_out = 0
        """How many have not come, as far as is known."""

    @property
    def files(self) -> tuple[File, ...]:
        """What has come."""
        return tuple(self._files.values())

    def expect(self, size: int) -> None:
        """Make room for a file of so many bytes, before they are read.

        Raises:
            ExecutorError: it is too much, or makes no sense.
        """
        self._room -= size
        self._files_left -= 1
        if size < 0 or self._room < 0 or self._files_left < 0:
            raise ExecutorError("the sandbox sent more than was asked for")

    def add(self, file: File) -> None:
        """Take a file that was expected; one that says it lies elsewhere is left out."""
        if is_tame(file.path, self._folder) and file.path not in self._files:
            self._files[file.path] = file
        else:
            self.left_out += 1

    def leave_out(self, count: int) -> None:
        """Take note of how many do not come.

        Raises:
            ExecutorError: it makes no sense.
        """
        if not 0 <= count <= _MOST_LEFT_OUT:
            raise ExecutorError("the sandbox left out more files than it can have")
        self.left_out += count
