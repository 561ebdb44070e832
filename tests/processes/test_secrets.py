"""A Modal token is in no log, no answer, no database, and in the environment of no child."""

import signal
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from app.executors.modal.loopback import LoopbackModal, new_token
from app.languages import all_languages
from tests.hosted import hosted

from .server import greenroom, serving

# It tells what it sees, and stays until everybody has been looked at.
CURIOUS = """
import os, time
print(dict(os.environ))
for pid in filter(str.isdigit, os.listdir("/proc")):
    try: print(open(f"/proc/{pid}/environ").read())
    except OSError: pass
print("up", flush=True)
time.sleep(3600)
"""


PYTHON = all_languages()["PYTHON"]
TOOLS = {PYTHON.image.executable: PYTHON.find(None)[0]}


@pytest.fixture(scope="module")
async def modal() -> AsyncIterator[LoopbackModal]:
    async with hosted(LoopbackModal(TOOLS)) as server:
        yield server


@pytest.fixture(scope="module")
async def built(
    modal: LoopbackModal, tmp_path_factory: pytest.TempPathFactory
) -> "subprocess.CompletedProcess[str]":
    """Build the image of programs there, with a token that is written down."""
    folder = tmp_path_factory.mktemp("built")
    (folder / ".env").write_text(written_down(modal))
    built = await anyio.to_thread.run_sync(
        lambda: greenroom("modal", "build", folder=folder, is_measured=True)
    )
    assert built.returncode == 0, built.stderr
    return built


def variables(modal: LoopbackModal) -> dict[str, str]:
    return {
        "MODAL_TOKEN_ID": modal.token_id,
        "MODAL_TOKEN_SECRET": modal.token_secret,
        "MODAL_SERVER_URL": modal.url,
        "GREENROOM_MODAL_ALLOW_LOOPBACK": "true",
    }


def written_down(modal: LoopbackModal) -> str:
    return "".join(f"{name}={value}\n" for name, value in variables(modal).items())


def environments() -> Iterator[tuple[int, bytes]]:
    """Read the environment of every process that there is."""
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            yield int(path.parent.name), path.read_bytes()
        except OSError:
            continue  # it ended while we looked


def who_has(secrets: list[str]) -> list[int]:
    return [pid for pid, found in environments() if any(each.encode() in found for each in secrets)]


def written_in(folder: Path) -> bytes:
    """Read every file of a server but the one in which its token was written down."""
    files = (path for path in folder.rglob("*") if path.is_file() and path.name != ".env")
    return b"".join(path.read_bytes() for path in files)


@pytest.mark.parametrize("written", ["in .env", "in the environment"])
@pytest.mark.parametrize("executor", ["modal", "local"])
async def test_a_token_stays_where_it_was_written(
    folder: Path,
    modal: LoopbackModal,
    built: "subprocess.CompletedProcess[str]",
    written: str,
    executor: str,
) -> None:
    lines = written_down(modal)
    before: tuple[str, ...] = ()
    if written == "in .env":
        (folder / ".env").write_text(lines)
    else:
        before = ("env", *lines.splitlines())

    secrets = [modal.token_id, modal.token_secret]
    async with serving(folder, before=before, log_level="debug", executor=executor) as (
        server,
        api,
    ):
        id = (await api.run(CURIOUS, waitMs=0))["id"]
        seen = await api.until(id, lambda execution: "up" in execution["stdout"])
        holders = await anyio.to_thread.run_sync(who_has, secrets)
        # Whoever writes it into the server's environment shows it there; nobody inherits it.
        assert holders == ([server.pid] if before else [])
        if executor == "modal":
            wrong = new_token()
            secrets += [wrong.id, wrong.secret]
            swapped = lines.replace(modal.token_id, wrong.id).replace(secrets[1], wrong.secret)
            await anyio.Path(folder, ".env").write_text(swapped)
            server.signal(signal.SIGHUP)
            assert "ak-…" in await server.says("the token stays as it was")
        # Beside the database: its write-ahead log, which is gone when the server has stopped.
        kept = await anyio.to_thread.run_sync(written_in, folder)
        ended = await api.cancel(id)
        assert await server.stop() == 0
    kept += await anyio.to_thread.run_sync(written_in, folder)
    for secret in secrets:
        assert secret not in str((seen, ended))
        assert secret not in "\n".join(server.log)
        assert secret not in built.stdout + built.stderr
        assert secret.encode() not in kept


@pytest.mark.usefixtures("built")
async def test_settings_that_cannot_be_read_again_change_nothing(
    folder: Path, modal: LoopbackModal
) -> None:
    (folder / ".env").write_text(written_down(modal))
    async with serving(folder, executor="modal") as (server, api):
        for times, text in enumerate((b"GREENROOM_EXECUTABLES=nonsense\n", b"\xff\n", b""), 1):
            (folder / ".env").write_bytes(text)
            server.signal(signal.SIGHUP)
            await server.says("stays", times=times)
            assert (await api.run("print(1)"))["stdout"] == "1\n", text
        assert await server.stop() == 0


async def test_a_server_that_stands_in_for_modal_is_not_shown_the_token_of_modal(
    folder: Path,
) -> None:
    real = new_token()
    (folder / ".env").write_text(f"MODAL_TOKEN_ID={real.id}\nMODAL_TOKEN_SECRET={real.secret}\n")
    async with serving(folder, "--modal-loopback", log_level="debug") as (server, api):
        await server.says("modal: workspace")
        server.signal(signal.SIGHUP)
        # The one that it has works, and is taken again.
        await server.says("modal: workspace", times=2)
        assert not any("stays" in line for line in server.log)
        assert (await api.run("print(1)"))["stdout"] == "1\n"
        assert await server.stop() == 0
