"""Public keys of whoever makes tokens elsewhere: a JWKS (RFC 7517), kept for a while.

A key that is not known may be a new one, so it is looked for; but not more often than every few
seconds, whatever names strangers put into their tokens. While the keys cannot be had, those that
were had last are good for a day.
"""

import json
import logging
import time
from contextlib import suppress
from typing import Any

import anyio
import httpx
import jwt

log = logging.getLogger(__name__)

FRESH = 300.0  # s; after that the keys are read again, so that a withdrawn one opens nothing
AGAIN = 10.0  # s between two looks
KEPT = 86_400.0  # s, while the keys cannot be had
_PATIENCE = 5.0  # s
_MOST_SIZE = 1024 * 1024  # bytes; a set of keys has 5 KiB


class Keyring:
    """The keys at an address."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._keys: dict[tuple[str | None, str], jwt.PyJWK] = {}
        self._had = self._looked = -KEPT
        self._turn = anyio.Lock()

    async def find(self, name: object, algorithm: str) -> jwt.PyJWK:
        """Return the key of a name, for an algorithm.

        Raises:
            jwt.InvalidKeyError: there is none.
        """
        wanted = (name if isinstance(name, str) else None, algorithm)
        if not self._has(wanted, FRESH) and not (self._has(wanted, KEPT) and self._turn.locked()):
            # One looks; meanwhile nobody waits who comes with a key that we know.
            await self._look()
        if not self._has(wanted, KEPT):
            message = "no key of this name"
            raise jwt.InvalidKeyError(message)
        return self._keys[wanted]

    def _has(self, wanted: tuple[str | None, str], age: float) -> bool:
        return wanted in self._keys and time.monotonic() - self._had <= age

    async def _look(self) -> None:
        async with self._turn:
            if time.monotonic() - self._looked < AGAIN:
                return
            self._looked = time.monotonic()
            try:
                self._keys = _read(await self._fetch())
                self._had = time.monotonic()
            except (
                httpx.HTTPError,
                OSError,
                ValueError,
                LookupError,
                TypeError,
                AttributeError,
            ) as error:
                log.warning("the keys of tokens cannot be had", extra={"reason": str(error)})

    async def _fetch(self) -> bytes:
        async with (
            httpx.AsyncClient(timeout=_PATIENCE, trust_env=False) as client,
            client.stream("GET", self._url) as answer,
        ):
            answer.raise_for_status()
            text = bytearray()
            async for piece in answer.aiter_bytes():
                text += piece
                if len(text) > _MOST_SIZE:
                    message = "it is too large"
                    raise ValueError(message)
            return bytes(text)


def _read(text: bytes) -> dict[tuple[str | None, str], jwt.PyJWK]:
    """Read the public keys that prove signatures; what we do not know is left out."""
    keys = {}
    for entry in json.loads(text)["keys"]:
        for algorithm in _algorithms(entry):
            with suppress(jwt.PyJWTError):  # the others are good all the same
                keys[entry.get("kid"), algorithm] = jwt.PyJWK(entry, algorithm)
    return keys


def _algorithms(entry: dict[str, Any]) -> tuple[str, ...]:
    """Say what a key proves; one that is not public, or for something else, proves nothing."""
    if entry.get("use", "sig") != "sig":
        return ()
    usual = _USUAL.get(entry.get("kty", ""), ())
    named = entry.get("alg")
    return usual if named is None else tuple(each for each in usual if each == named)


_USUAL = {"RSA": ("RS256", "PS256"), "EC": ("ES256",), "OKP": ("EdDSA",)}
