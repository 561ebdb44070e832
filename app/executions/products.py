"""What compilers have made, kept for as long as the server lives.

A folder of files, each named by a digest of all that its content depends on, and of whose it is:
nobody learns from a hit that somebody else has compiled the same. What was used longest ago goes
first when there is no room. A file appears under its name when it is whole.
"""

import hashlib
import marshal
import os
import shutil
import tempfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

from app.domain.execution import File

_VERSION = 4  # of marshal's format
Kept = tuple[tuple[File, ...], bytes, bytes]
"""A product, and what its compiler said on stdout and stderr."""


class Products:
    """At most so many bytes of products; used from one thread at a time.

    What a server that was killed has left is removed with its cells' folder, by the same name.
    """

    def __init__(self, size: int) -> None:
        self._most = size
        self._sizes: OrderedDict[str, int] = OrderedDict()
        self._made: Path | None = None

    @property
    def _folder(self) -> Path:
        if self._made is None:
            self._made = Path(tempfile.mkdtemp(prefix=f"greenroom-{os.getpid()}-"))  # 0700
        return self._made

    def close(self) -> None:
        """Remove all of it."""
        if self._made is not None:
            shutil.rmtree(self._made, ignore_errors=True)

    def get(self, key: str) -> Kept | None:
        """Return what is kept under a key; whatever cannot be read is not there."""
        if key not in self._sizes:
            return None
        try:
            files, stdout, stderr = marshal.loads((self._folder / key).read_bytes())  # noqa: S302 - ours
        except (OSError, ValueError, EOFError, TypeError):
            self._forget(key)
            return None
        self._sizes.move_to_end(key)
        product = tuple(File(path=path, data=data, is_executable=x) for path, data, x in files)
        return product, stdout, stderr

    def put(self, key: str, kept: Kept) -> None:
        """Keep something, unless it is larger than all that may be kept."""
        product, stdout, stderr = kept
        files = [(each.path, each.data, each.is_executable) for each in product]
        content = marshal.dumps((files, stdout, stderr), _VERSION)
        if len(content) > self._most:
            return
        try:
            self._write(key, content)
        except OSError:
            return  # a full disk makes us slower, not wrong
        while sum(self._sizes.values()) > self._most:
            self._forget(next(iter(self._sizes)))

    def clear(self) -> None:
        """Forget all of it."""
        for key in tuple(self._sizes):
            self._forget(key)

    def _write(self, key: str, content: bytes) -> None:
        new = self._folder / f"{key}.new"
        new.write_bytes(content)
        new.replace(self._folder / key)
        self._sizes[key] = len(content)
        self._sizes.move_to_end(key)

    def _forget(self, key: str) -> None:
        self._sizes.pop(key, None)
        (self._folder / key).unlink(missing_ok=True)


def key_of(*parts: Any) -> str:
    """Return a digest of plain values, in which none can stand for another.

    Of their text, for marshal writes equal values in more than one way.
    """
    return hashlib.sha256(repr(parts).encode()).hexdigest()
