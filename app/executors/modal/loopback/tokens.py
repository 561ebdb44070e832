"""Who may call: token pairs for the control plane, signed short-lived tokens for the rest.

The client reads only `exp` of a signed token. The server checks everything, so that a test
which passes here sent the right one to the right place.
"""

import base64
import hashlib
import hmac
import json
import secrets
import time
from collections.abc import Mapping
from typing import NamedTuple

from grpclib.const import Status
from grpclib.exceptions import GRPCError

_CONTROL = "/modal.client.ModalClient/"
_SIGNED = ("V2", "SandboxGetCommandRouterAccess", "SandboxSetName")


class Token(NamedTuple):
    """What a person makes on modal.com: `ak-…` and `as-…`."""

    id: str
    secret: str


def new_token() -> Token:
    """Make a pair that nobody accepts yet."""
    return Token(f"ak-{secrets.token_urlsafe(16)}", f"as-{secrets.token_urlsafe(24)}")


class Tokens:
    """The pairs that are accepted, and the key that signs what they are exchanged for."""

    def __init__(self, lifetime: float) -> None:
        self._accepted: set[Token] = set()
        self._key = secrets.token_bytes(32)
        self.lifetime = lifetime
        """Seconds that a signed token is good for."""

    def accept(self, token: Token) -> None:
        """Let calls with this pair in."""
        self._accepted.add(token)

    def revoke(self, token: Token) -> None:
        """Refuse calls with this pair from now on; signed tokens live until they expire."""
        self._accepted.discard(token)

    def sign(self, subject: str) -> str:
        """Return a JWT for a task's router (its task id), or for V2 calls (`auth`)."""
        payload = {"sub": subject, "exp": time.time() + self.lifetime}
        signed = f"{_HEADER}.{_encode(json.dumps(payload).encode())}"
        return f"{signed}.{self._signature(signed)}"

    def check(self, method: str, metadata: Mapping[str, object]) -> None:
        """Let a call in, or not.

        Raises:
            GRPCError: UNAUTHENTICATED, with what is wrong.
        """
        if method.startswith(_CONTROL):
            self._check_pair(metadata)
            if method.endswith(_SIGNED):
                self._check_signed(metadata.get("x-modal-auth-token"), "auth")
            if sandbox := metadata.get("x-modal-sandbox-token"):
                self._check_signed(sandbox, "sb-")
        else:
            bearer = str(metadata.get("authorization", ""))
            self._check_signed(bearer.removeprefix("Bearer "), "ta-")

    def _check_pair(self, metadata: Mapping[str, object]) -> None:
        given = (metadata.get("x-modal-token-id"), metadata.get("x-modal-token-secret"))
        if given not in self._accepted:
            raise GRPCError(Status.UNAUTHENTICATED, f"Token ID {given[0]} is malformed or revoked")

    def _check_signed(self, token: object, subject: str) -> None:
        signed, _, signature = str(token).rpartition(".")
        if not hmac.compare_digest(signature.encode(), self._signature(signed).encode()):
            raise GRPCError(Status.UNAUTHENTICATED, "the signed token is not ours")
        payload = json.loads(base64.urlsafe_b64decode(signed.partition(".")[2] + "=="))
        if not payload["sub"].startswith(subject) or payload["exp"] < time.time():
            raise GRPCError(Status.UNAUTHENTICATED, "the signed token is of another kind or old")

    def _signature(self, signed: str) -> str:
        return _encode(hmac.digest(self._key, signed.encode(), hashlib.sha256))


def _encode(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


_HEADER = _encode(b'{"alg":"HS256","typ":"JWT"}')
