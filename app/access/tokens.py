"""Access tokens: short-lived JWTs (RFC 7519, RFC 8725) of a platform's users.

    owner      the tenant
    sub        who it is, in the platform's own words
    role       CANDIDATE, INTERVIEWER or SERVICE; an administrator comes with a key
    sessionId  the one session that a candidate or an interviewer may see
    aud, exp   demanded; nbf, iat and iss are checked where they are there or configured
    key        the API key that it was made with here: it dies with that key

The algorithm is never the token's choice: a secret of ours proves HS256 alone, and a public key of
a JWKS only what it was made for. So nothing passes for a secret that everybody can read.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import jwt
from pydantic import SecretStr

from app.access.keyring import Keyring
from app.domain.access import Caller, Role
from app.domain.errors import Unknown

MOST_LENGTH = 8 * 1024  # characters; a token of ours has 400
OWNER = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:@-]{0,99}", re.ASCII)
MOST_NAME = 200  # characters of a subject or a session, as of a session id of an execution
_SYMMETRIC = "HS256"
_ASYMMETRIC = frozenset({"RS256", "PS256", "ES256", "EdDSA"})
_ROLES = frozenset({Role.CANDIDATE, Role.INTERVIEWER, Role.SERVICE})
_INVALID = "The access token is not valid here."
_EXPIRED = "The access token has expired."


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenRules:
    """What a token must say. Times in seconds."""

    audience: str = "greenroom"
    issuer: str | None = None
    leeway: float = 30.0
    """How far clocks may differ."""
    longest: float = 86_400.0
    """The longest time that a token may still have."""


class Tokens:
    """Reads tokens, and makes them where there is a secret.

    Args:
        secrets: the first makes tokens, all prove them.
        keyring: public keys of those who make tokens elsewhere.
    """

    def __init__(
        self, secrets: Sequence[SecretStr], keyring: Keyring | None, rules: TokenRules
    ) -> None:
        self._secrets, self._keyring = tuple(secrets), keyring
        self.rules = rules

    @property
    def can_make(self) -> bool:
        """Whether there is a secret to make tokens with."""
        return bool(self._secrets)

    @property
    def can_read(self) -> bool:
        """Whether any token can be valid."""
        return self.can_make or self._keyring is not None

    async def read(self, text: str) -> Caller:
        """Return who comes with a token.

        Raises:
            Unknown: it opens nothing.
        """
        if len(text) > MOST_LENGTH:
            raise Unknown(_INVALID)
        try:
            claims = await self._claims(text, jwt.get_unverified_header(text))
        except jwt.ExpiredSignatureError as error:
            raise Unknown(_EXPIRED) from error
        except (jwt.PyJWTError, ValueError) as error:
            raise Unknown(_INVALID) from error
        return self._caller(claims)

    def make(self, caller: Caller, *, lifetime: timedelta) -> tuple[SecretStr, datetime]:
        """Make a token for somebody; return it, and when it ends."""
        now = datetime.now(UTC).replace(microsecond=0)
        ends = (now + lifetime).replace(microsecond=0)
        claims: dict[str, Any] = {
            "owner": caller.owner,
            "sub": caller.subject,
            "role": caller.role.value,
            "sessionId": caller.session_id,
            "key": caller.key_id and str(caller.key_id),
            "aud": self.rules.audience,
            "iss": self.rules.issuer,
            "iat": now,
            "exp": ends,
        }
        claims = {name: value for name, value in claims.items() if value is not None}
        text = jwt.encode(claims, self._secrets[0].get_secret_value(), algorithm=_SYMMETRIC)
        return SecretStr(text), ends

    async def _claims(self, text: str, header: Mapping[str, Any]) -> dict[str, Any]:
        algorithm = str(header.get("alg"))
        if algorithm == _SYMMETRIC and self._secrets:
            return self._proved_by_secret(text)
        if algorithm in _ASYMMETRIC and self._keyring:
            key = await self._keyring.find(header.get("kid"), algorithm)
            return self._decode(text, key, algorithm)
        message = "no key for its algorithm"
        raise jwt.InvalidAlgorithmError(message)

    def _proved_by_secret(self, text: str) -> dict[str, Any]:
        *older, last = self._secrets[::-1]
        for secret in (last, *reversed(older)):
            try:
                return self._decode(text, secret.get_secret_value(), _SYMMETRIC)
            except jwt.InvalidSignatureError:
                continue
        raise jwt.InvalidSignatureError

    def _decode(self, text: str, key: Any, algorithm: str) -> dict[str, Any]:
        return jwt.decode(
            text,
            key,
            algorithms=[algorithm],
            audience=self.rules.audience,
            issuer=self.rules.issuer,
            leeway=self.rules.leeway,
            options={"require": ["exp", "aud", "sub"]},
        )

    def _caller(self, claims: Mapping[str, Any]) -> Caller:
        expires_at = _moment(claims["exp"])
        if expires_at > datetime.now(UTC) + timedelta(
            seconds=self.rules.longest + self.rules.leeway
        ):
            raise Unknown(f"The access token lives too long: {self.rules.longest:g} s is the most.")
        role = _role(claims.get("role"))
        session_id = _text(claims, "sessionId") if role.is_of_a_session else None
        owner = claims.get("owner")
        if not isinstance(owner, str) or not OWNER.fullmatch(owner):
            raise Unknown("The access token names no `owner`, or one that cannot be.")
        return Caller(
            owner=owner,
            role=role,
            subject=_text(claims, "sub"),
            session_id=session_id,
            key_id=_key_id(claims.get("key")),
            expires_at=expires_at,
        )


def is_name(text: str) -> bool:
    """Whether a text can be a subject or a session of a token."""
    return 0 < len(text) <= MOST_NAME and text.isprintable()


def _moment(seconds: object) -> datetime:
    try:
        return datetime.fromtimestamp(float(str(seconds)), UTC)
    except (ValueError, OverflowError, OSError) as error:
        raise Unknown(_INVALID) from error


def _role(value: object) -> Role:
    if isinstance(value, str) and value in _ROLES:
        return Role(value)
    raise Unknown("The access token has no `role`, or one that a token cannot have.")


def _text(claims: Mapping[str, Any], name: str) -> str:
    value = claims.get(name)
    if not isinstance(value, str) or not is_name(value):
        raise Unknown(f"The access token needs `{name}`: 1 to {MOST_NAME} printable characters.")
    return value


def _key_id(value: object) -> UUID | None:
    if value is None:
        return None
    try:
        return UUID(str(value))
    except ValueError as error:
        raise Unknown(_INVALID) from error
