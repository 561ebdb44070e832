"""Every touch of a part of Modal's client that is not public, and why it is needed.

The client is pinned to the version that was tried; another one is refused at start, and a test
fails on upgrade, so that each line here is looked at again.

* The status of a result tells an out-of-memory kill (10) from an eviction (9, 8, 7); the public
  `returncode` is 137 for both and for our own terminate.
* The names of workspace and token make the start-up line worth reading.
* The public way to open a client returns nothing to close where it is given up: that would go on
  connecting for 63 s and then complain in the log.
* The ids of a process, and reading its output again from the start, let another server take over
  a run whose server has died.
"""

from collections.abc import AsyncGenerator
from dataclasses import dataclass

import modal
from modal._utils.async_utils import synchronize_api, synchronizer
from modal.client import _Client
from modal.sandbox._sandbox import _Sandbox
from modal_proto import api_pb2

TRIED = "1.6.4"

OOM_KILLED = 10  # GENERIC_STATUS_KERNEL_OOM_KILL
EVICTED = frozenset({7, 8, 9})  # idle timeout, memory manager, memory thrashing
_STDOUT = api_pb2.FILE_DESCRIPTOR_STDOUT


class UnknownVersion(Exception):
    """Modal's client is not the one that this file was written for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessIds:
    """How to find a process in a sandbox again."""

    task: str
    exec: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Identity:
    """Whose token it is: names, for people."""

    workspace: str = "-"
    token: str = "-"  # noqa: S105 - a name


def require_tried_version() -> None:
    """Make sure that the client is the one that was tried.

    Raises:
        UnknownVersion: it is another.
    """
    if modal.__version__ != TRIED:
        raise UnknownVersion(
            f"Modal's client is {modal.__version__}, but Greenroom was tried with {TRIED}: "
            f"`pip install modal=={TRIED}`."
        )


async def _result_status(sandbox: _Sandbox) -> int | None:
    await sandbox._impl.poll()
    result = sandbox._impl.result
    return result.status if result is not None and result.status else None


async def _identity(client: _Client) -> Identity:
    answer = await client._stub.TokenInfoGet(api_pb2.TokenInfoGetRequest())
    return Identity(workspace=answer.workspace_name or "-", token=answer.token_name or "-")


async def _opened(server: str, token_id: str, token_secret: str) -> _Client:
    client = _Client(server, api_pb2.CLIENT_TYPE_CLIENT, (token_id, token_secret))
    try:
        await client._open()
    except BaseException:
        await client.close()
        raise
    return client


async def _output_again(sandbox: _Sandbox, task: str, exec: str) -> AsyncGenerator[bytes, None]:
    router = await sandbox._impl.get_command_router_client(task)
    async for message in router.exec_stdio_read(task, exec, _STDOUT):
        yield message.data


result_status = synchronize_api(_result_status)
identity = synchronize_api(_identity)
opened = synchronize_api(_opened)
output_again = synchronize_api(_output_again)


def process_ids(process: object) -> ProcessIds:
    """Return the ids by which a process can be found after a restart."""
    inner = synchronizer._translate_in(process)
    return ProcessIds(task=inner._task_id, exec=inner._process_id)
