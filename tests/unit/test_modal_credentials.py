"""A Modal token, as people write it into `.env`."""

import pytest
from pydantic import SecretStr

from app.executors.modal.credentials import BadToken, Token, is_trusted, read_token

ID, SECRET = "ak-0123456789", "as-abcdefghij"


def read(
    id: str | None = None, secret: str | None = None, both: str | None = None
) -> tuple[str, str] | None:
    wrapped = (SecretStr(each) if each is not None else None for each in (id, secret, both))
    token = read_token(**dict(zip(("id", "secret", "both"), wrapped, strict=True)))
    if token is None:
        return None
    return token.id.get_secret_value(), token.secret.get_secret_value()


@pytest.mark.parametrize(
    "given",
    [
        {"id": ID, "secret": SECRET},
        {"both": f"{ID}:{SECRET}"},
        {"both": f"  {ID} : {SECRET}\n"},
        {"id": f" {ID} ", "secret": f"{SECRET}\n"},
        {"id": ID, "secret": SECRET, "both": f"{ID}:{SECRET}"},
        {"id": "", "secret": " ", "both": f"{ID}:{SECRET}"},
    ],
)
def test_a_token_is_read_in_either_spelling(given: dict[str, str]) -> None:
    assert read(**given) == (ID, SECRET)


@pytest.mark.parametrize("given", [{}, {"both": ""}, {"both": "  "}, {"id": "", "secret": ""}])
def test_without_a_token_there_is_none(given: dict[str, str]) -> None:
    assert read(**given) is None


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({"id": ID}, "MODAL_TOKEN_SECRET is not set: Modal tokens have two parts"),
        ({"secret": SECRET}, "MODAL_TOKEN_ID is not set: Modal tokens have two parts"),
        ({"both": SECRET}, "MODAL_API_KEY has no `:`. Modal tokens have two parts"),
        ({"both": f"{ID}:"}, "Modal tokens have two parts"),
        ({"both": f":{SECRET}"}, "Modal tokens have two parts"),
        ({"both": f"{ID}:{SECRET}", "id": ID, "secret": "as-other"}, "two different tokens"),
        ({"id": "sk-wrong", "secret": SECRET}, "The id of the Modal token does not look like"),
        ({"id": ID, "secret": "wrong"}, "The secret of the Modal token does not look like"),
        ({"id": ID, "secret": "as-a b"}, "The secret of the Modal token does not look like"),
    ],
)
def test_what_is_no_token_is_said_without_the_secret(given: dict[str, str], says: str) -> None:
    with pytest.raises(BadToken) as caught:
        read(**given)
    assert says in str(caught.value)
    for part in (SECRET, ID, "wrong", "other"):
        assert part not in str(caught.value)


def test_a_token_does_not_show_itself() -> None:
    token = Token(id=SecretStr(ID), secret=SecretStr(SECRET))
    assert ID not in repr(token)
    assert SECRET not in f"{token} {token!r}"


@pytest.mark.parametrize(
    ("server", "loopback_allowed", "trusted"),
    [
        ("https://api.modal.com", False, True),
        ("https://api.modal.com/", False, True),
        ("http://api.modal.com", False, False),
        ("https://api.modal.com.evil.example", True, False),
        ("http://127.0.0.1:9000", False, False),
        ("http://127.0.0.1:9000", True, True),
        ("http://localhost:9000", True, True),
        ("http://[::1]:9000", True, True),
        ("http://10.0.0.1:9000", True, False),
        ("http://user@127.0.0.1.evil.example", True, False),
        ("", True, False),
        ("http://127.0.0.1:5,http://modal.example", True, False),
        ("http://modal.example@127.0.0.1:5", True, False),
        ("http://127.0.0.1\\@modal.example", True, False),
    ],
)
def test_a_token_goes_to_modal_or_where_it_was_allowed(
    server: str, *, loopback_allowed: bool, trusted: bool
) -> None:
    assert is_trusted(server, allow_loopback=loopback_allowed) is trusted
