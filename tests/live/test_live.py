"""Every test of the contract, on real Modal.

    GREENROOM_MODAL_LIVE=1 MODAL_TOKEN_ID=ak-… MODAL_TOKEN_SECRET=as-… pytest tests/live -s

It costs some cents. The image has to be there: `greenroom modal build`.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.settings import Settings
from tests.contract.subjects import IS_LIVE

REPOSITORY = Path(__file__).parents[2]


@pytest.mark.timeout(3600)
def test_the_contract_holds_on_real_modal() -> None:
    if not IS_LIVE:
        pytest.skip("GREENROOM_MODAL_LIVE is not 1: real Modal costs money")
    token = Settings().modal_token()
    if token is None:
        pytest.skip("there is no Modal token, in the environment or in .env")
    ended = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "tests/contract", "-k", "live"],
        cwd=REPOSITORY,
        env=os.environ
        | {
            "MODAL_TOKEN_ID": token.id.get_secret_value(),
            "MODAL_TOKEN_SECRET": token.secret.get_secret_value(),
        },
        check=False,
    )
    assert ended.returncode == 0
