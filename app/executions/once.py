"""The same wish, sent twice, is one execution.

A client that got no answer sends its request again, and does not know whether it was heard. With
a key of its own in it, the second request has the first one's execution for an answer, whichever
process it comes to, for a day. Another wish under the same key is a mistake of the client's.
"""

import hashlib
import json
from dataclasses import asdict
from datetime import UTC, datetime, timedelta

from app.domain.errors import IdempotencyConflict, Rejected
from app.domain.execution import Execution, Kind, Submission
from app.storage.store import Earlier, Store, Wish

REMEMBERED = timedelta(hours=24)
_NO_PART = ("owner", "subject", "idempotency_key", "key_scope")
_UNSAID = (None, Kind.RUN)
_BETWEEN = "\x1f"  # no session of a token has it: no two scopes make the same key


class TakenError(Exception):
    """Somebody came first, while we were about to write."""

    def __init__(self, earlier: Earlier) -> None:
        super().__init__("the key is taken")
        self.earlier = earlier


def wish_of(submission: Submission) -> Wish | None:
    """Return what makes a submission the same as another one, if it has a key."""
    if submission.idempotency_key is None:
        return None
    return Wish(
        key=_key(submission.idempotency_key, submission.key_scope),
        fingerprint=fingerprint(submission),
        since=datetime.now(UTC) - REMEMBERED,
    )


def _key(name: str, scope: str | None) -> str:
    return f"{scope or ''}{_BETWEEN}{name}"


def fingerprint(submission: Submission) -> bytes:
    """Return a digest of all that is asked for, the same on every process and version."""
    fields = asdict(submission, dict_factory=_said)
    text = json.dumps(fields, sort_keys=True, separators=(",", ":"), default=_plain)
    return hashlib.sha256(text.encode()).digest()


async def find_earlier(store: Store, submission: Submission) -> Execution | None:
    """Return the execution that a submission has led to before.

    Raises:
        Rejected: another submission had its key.
    """
    wish = wish_of(submission)
    earlier = await store.earlier(submission.owner, wish) if wish else None
    return the_same(earlier, submission) if earlier else None


def the_same(earlier: Earlier, submission: Submission) -> Execution:
    """Return the earlier execution, if it is what was asked for again.

    Raises:
        Rejected: it is another one.
    """
    if earlier.fingerprint == fingerprint(submission):
        return earlier.execution
    message = (
        "This `idempotencyKey` was used for another input in the last 24 hours. "
        "Send the same input, or another key."
    )
    path = ("idempotency_key",)
    raise Rejected(IdempotencyConflict(path=path, message=message, earlier=earlier.execution))


def _said(fields: list[tuple[str, object]]) -> dict[str, object]:
    """Leave out what was left out: who does not know a field yet agrees with who does."""
    return {name: value for name, value in fields if name not in _NO_PART and value not in _UNSAID}


def _plain(value: object) -> str:
    """Write what JSON has no word for."""
    return value.hex() if isinstance(value, bytes) else str(value)
