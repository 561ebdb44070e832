"""What the server knows: for the server to work with, and for tests to look at."""

import secrets
import string
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2

from app.executors.modal.loopback.box import Box

_ALPHABET = string.ascii_letters + string.digits
_TICK = 1e-6  # s; lists are paged by the time of creation, so no two are the same


@dataclass(slots=True)
class Image:
    """A recipe that counts as built once somebody has waited for it."""

    id: str
    definition: api_pb2.Image
    is_built: bool = False


@dataclass(slots=True)
class State:
    """Everything by its id."""

    rpcs: Counter[str] = field(default_factory=Counter)
    """Calls by name, refused and failed ones too."""
    unimplemented: list[str] = field(default_factory=list)
    """Calls that this server has no answer to, in order."""
    boxes: dict[str, Box] = field(default_factory=dict)
    tasks: dict[str, str] = field(default_factory=dict)
    """Box ids by task id."""
    images: dict[str, Image] = field(default_factory=dict)
    tags: dict[str, str] = field(default_factory=dict)
    """Image ids by the name and tag that they were published under."""
    apps: dict[str, str] = field(default_factory=dict)
    """App ids by name."""
    created: dict[str, str] = field(default_factory=dict)
    """Box ids by the idempotency key of the call that made them."""
    _latest: float = 0.0

    def reset(self) -> None:
        """Count from zero, and forget the boxes that have ended."""
        self.rpcs.clear()
        self.unimplemented.clear()
        self.boxes = {id: box for id, box in self.boxes.items() if not box.ended.is_set()}

    def running(self) -> list[Box]:
        """Return the boxes that live."""
        return [box for box in self.boxes.values() if box.is_running]

    def box(self, id: str) -> Box:
        """Find a box.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return _found(self.boxes.get(id), f"Sandbox {id}")

    def box_of_task(self, task_id: str) -> Box:
        """Find the box that a task is.

        Raises:
            GRPCError: NOT_FOUND.
        """
        return _found(self.boxes.get(self.tasks.get(task_id, "")), f"Task {task_id}")

    def add(self, box: Box, key: str) -> None:
        """Remember a box by all that it is asked for by."""
        self.boxes[box.id] = box
        self.tasks[box.task_id] = box.id
        if key:
            self.created[key] = box.id

    def named(self, app_id: str, name: str) -> Iterator[Box]:
        """Find the boxes of an app that have a name, from the newest on; one may be running."""
        for box in reversed(self.boxes.values()):
            if (box.app_id, box.name) == (app_id, name) and not box.is_forgotten:
                yield box

    def now(self) -> float:
        """Return a time that is later than any before."""
        self._latest = max(time.time(), self._latest + _TICK)
        return self._latest


def _found(box: Box | None, what: str) -> Box:
    if box is None or box.is_forgotten:
        raise GRPCError(Code.NOT_FOUND, f"{what} not found")
    return box


def new_id(prefix: str, length: int = 22, kind: str = "") -> str:
    """Make an id; V2 sandboxes and tasks end in a V, by which the client knows them."""
    return f"{prefix}-{''.join(secrets.choice(_ALPHABET) for _ in range(length))}{kind}"
