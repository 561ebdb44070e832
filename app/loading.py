"""Loading much code quickly."""

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def loading() -> Iterator[None]:
    """Import in here what a process keeps until its end.

    All that is loaded stays: to look for garbage meanwhile takes nearly half of a start, and a
    server need not look through it again and again later.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
