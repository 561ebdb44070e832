"""What Modal's client raises, as the rest of the house hears of it."""

import traceback

import modal.exception
import pytest

from app.domain.errors import ExecutorError
from app.executors.modal.errors import ModalError, Unauthorized, translated

TOKEN = "ak-Ab1.c=2/x:as-Zz9~y+3"


def test_no_traceback_shows_a_token_that_modal_named() -> None:
    error = modal.exception.AuthError(f"Token {TOKEN} is revoked")
    with pytest.raises(Unauthorized) as caught, translated("verify the token"):
        raise error
    said = "".join(traceback.format_exception(caught.value))
    assert "revoked" in said
    assert not any(part in said for part in ("Ab1", "c=2", "Zz9", "y+3"))


def test_other_causes_are_kept() -> None:
    error = OSError("no route")
    with pytest.raises(ModalError) as caught, translated("connect"):
        raise error
    assert caught.value.__cause__ is error


@pytest.mark.parametrize("error", [AssertionError("odd url"), AttributeError("x"), KeyError("y")])
def test_whatever_the_client_raises_is_its_failure(error: Exception) -> None:
    with pytest.raises(ModalError), translated("connect"):
        raise error


def test_what_is_ours_passes_through() -> None:
    error = ExecutorError("no frame")
    with pytest.raises(ExecutorError) as caught, translated("read"):
        raise error
    assert caught.value is error
