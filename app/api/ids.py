"""Opaque ids and cursors. A malformed one, or one of another kind, stands for nothing."""

import base64
import binascii
from uuid import UUID

_EXECUTION = "Execution:"
_CURSOR = "cursor:"


def encode_id(id: UUID) -> str:
    """Return the global id of an execution."""
    return _encode(_EXECUTION, id)


def decode_id(text: str) -> UUID | None:
    """Return the execution's UUID."""
    return _decode(_EXECUTION, text)


def encode_cursor(id: UUID) -> str:
    """Return the cursor that stands at an execution."""
    return _encode(_CURSOR, id)


def decode_cursor(text: str) -> UUID | None:
    """Return the UUID at which a cursor stands."""
    return _decode(_CURSOR, text)


def _encode(kind: str, id: UUID) -> str:
    return base64.urlsafe_b64encode(f"{kind}{id}".encode()).decode()


def _decode(kind: str, text: str) -> UUID | None:
    try:
        decoded = base64.b64decode(text.encode(), altchars=b"-_", validate=True).decode()
        found, id = decoded[: len(kind)], UUID(decoded[len(kind) :])
    except (binascii.Error, ValueError):
        return None
    # Only the one way in which we write an id is that id.
    return id if found == kind and _encode(kind, id) == text else None
