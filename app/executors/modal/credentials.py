"""A Modal token, as its users write it down.

A token has two parts, an id (`ak-…`) and a secret (`as-…`). Modal's own variables name them
`MODAL_TOKEN_ID` and `MODAL_TOKEN_SECRET`; ours accepts both in one, `MODAL_API_KEY="ak-…:as-…"`.
"""

from dataclasses import dataclass
from ipaddress import ip_address
from urllib.parse import urlsplit

from pydantic import SecretStr

MODAL_SERVER = "https://api.modal.com"
WHERE = "make one at https://modal.com/settings/tokens, or with `modal token new`"


class BadToken(Exception):
    """What was written down is no token; the message says what is wrong, never the secret."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """Both parts of a token; its repr shows neither."""

    id: SecretStr
    secret: SecretStr


def read_token(
    *, id: SecretStr | None, secret: SecretStr | None, both: SecretStr | None
) -> Token | None:
    """Return the token that the variables give, or None when they give none.

    Raises:
        BadToken: they give half of one, two different ones, or something else.
    """
    parts = _parts(id, secret)
    joined = _joined(both)
    if parts and joined and parts != joined:
        raise BadToken(
            "MODAL_API_KEY and MODAL_TOKEN_ID with MODAL_TOKEN_SECRET name two different tokens: "
            "remove one of them."
        )
    chosen = parts or joined
    if chosen is None:
        return None
    return Token(
        id=SecretStr(_checked(chosen[0], "ak-")), secret=SecretStr(_checked(chosen[1], "as-"))
    )


def is_trusted(server: str, *, allow_loopback: bool) -> bool:
    """Whether a token may be sent there: to Modal, or to this machine when that is allowed."""
    if server.rstrip("/") == MODAL_SERVER:
        return True
    if set(server) & set(",@\\"):
        # Modal's client takes a list of addresses for several, and tries each of them.
        return False
    host = urlsplit(server).hostname or ""
    try:
        is_loopback = host == "localhost" or ip_address(host).is_loopback
    except ValueError:
        is_loopback = False
    return allow_loopback and is_loopback


def _parts(id: SecretStr | None, secret: SecretStr | None) -> tuple[str, str] | None:
    first, second = _text(id), _text(secret)
    if bool(first) != bool(second):
        missing = "MODAL_TOKEN_SECRET" if first else "MODAL_TOKEN_ID"
        raise BadToken(f"{missing} is not set: Modal tokens have two parts; {WHERE}.")
    return (first, second) if first else None


def _joined(both: SecretStr | None) -> tuple[str, str] | None:
    text = _text(both)
    if not text:
        return None
    first, colon, second = (part.strip() for part in text.partition(":"))
    if not colon or not first or not second:
        raise BadToken(
            "MODAL_API_KEY has no `:`. Modal tokens have two parts: write "
            f'MODAL_API_KEY="ak-…:as-…"; {WHERE}.'
        )
    return first, second


def _text(value: SecretStr | None) -> str:
    return value.get_secret_value().strip() if value else ""


def _checked(part: str, prefix: str) -> str:
    if not part.startswith(prefix) or not part.isascii() or any(c.isspace() for c in part):
        kind = "id" if prefix == "ak-" else "secret"
        raise BadToken(f"The {kind} of the Modal token does not look like `{prefix}…`; {WHERE}.")
    return part
