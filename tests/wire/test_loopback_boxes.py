"""The loopback server, seen through Modal's own client: what happens inside a box."""

import asyncio
import hashlib
import json
import signal
from collections.abc import Awaitable, Callable
from typing import Any

import modal
import modal.exception
import pytest
from grpclib.client import Channel
from grpclib.const import Status as Code
from grpclib.exceptions import GRPCError
from modal_proto import api_pb2, task_command_router_pb2
from modal_proto.task_command_router_grpc import TaskCommandRouterStub

from app.executors.modal.loopback import LoopbackModal, Status

Create = Callable[..., Awaitable[modal.Sandbox]]
Call = Callable[[str, Any], Awaitable[Any]]

MEGABYTE = 1_000_000
LINES = b"".join(b"%d\n" % n for n in range(20_000))
COUNT = "for n in range(20_000): print(n)"


async def python(sandbox: modal.Sandbox, source: str, *args: str, stdin: bytes = b"") -> Any:
    process = await sandbox.exec.aio("python3", "-c", source, *args, text=False)
    if stdin:
        process.stdin.write(stdin)
        process.stdin.write_eof()
        await process.stdin.drain.aio()
    return process


async def said(sandbox: modal.Sandbox, source: str) -> str:
    process = await python(sandbox, source)
    return str((await process.stdout.read.aio()).decode().strip())


async def test_a_program_gets_input_and_gives_output_and_a_code(sandbox: modal.Sandbox) -> None:
    source = "import sys; print(input()); print('err', file=sys.stderr); sys.exit(3)"
    process = await python(sandbox, source, stdin=b"in\n")
    assert await process.stdout.read.aio() == b"in\n"
    assert await process.stderr.read.aio() == b"err\n"
    assert await process.wait.aio() == 3


async def test_bytes_arrive_as_they_are(sandbox: modal.Sandbox) -> None:
    process = await python(sandbox, "import os; os.write(1, bytes(range(256)))")
    assert await process.stdout.read.aio() == bytes(range(256))


async def test_a_signal_is_told_as_the_shell_does(sandbox: modal.Sandbox) -> None:
    process = await python(sandbox, "import os; os.kill(os.getpid(), 11)")
    assert await process.wait.aio() == 128 + signal.SIGSEGV


async def test_a_command_that_is_not_there(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio("no-such-thing")
    assert await process.wait.aio() == 127
    assert "No such file" in await process.stderr.read.aio()


async def test_a_file_that_is_no_program(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio("/etc/passwd")
    assert await process.wait.aio() == 126


async def test_output_that_nobody_wants_goes_nowhere(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio(
        "sh", "-c", "echo lost; echo kept >&2", stdout=modal.stream_type.StreamType.DEVNULL
    )
    assert await process.stderr.read.aio() == "kept\n"


async def test_polling_a_program(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio("cat")
    assert await process.poll.aio() is None
    process.stdin.write_eof()
    await process.stdin.drain.aio()
    await process.wait.aio()
    assert await process.poll.aio() == 0


async def test_input_for_a_program_that_has_ended_is_refused(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio("true")
    await process.wait.aio()
    process.stdin.write("late")
    with pytest.raises(modal.exception.ConflictError):
        await process.stdin.drain.aio()


async def test_terminals_are_not_there(sandbox: modal.Sandbox) -> None:
    with pytest.raises(modal.exception.UnimplementedError):
        await sandbox.exec.aio("true", pty=True)


async def test_a_box_whose_process_1_dies_has_failed(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    box = loopback.state.boxes[sandbox.object_id]
    assert box._cell is not None
    box._cell.kill()
    await box.ended.wait()
    assert box.status is Status.INTERNAL_FAILURE


async def test_node_and_the_tools_of_usr_are_on_the_path(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio("sh", "-c", "node -p 6*7; echo ok | tr a-z A-Z")
    assert await process.stdout.read.aio() == "42\nOK\n"


async def test_variables_of_the_box_and_of_the_program(create: Create) -> None:
    box = await create(env={"A": "box", "B": "box"})
    process = await box.exec.aio("sh", "-c", "echo $A $B $PWD", env={"B": "exec"}, workdir="/tmp")
    assert await process.stdout.read.aio() == "box exec /tmp\n"


async def test_much_output_arrives_whole(sandbox: modal.Sandbox) -> None:
    source = f"import os; print('x' * {20 * MEGABYTE}, end='')"
    process = await python(sandbox, source)
    assert len(await process.stdout.read.aio()) == 20 * MEGABYTE


async def test_much_input_arrives_whole(sandbox: modal.Sandbox) -> None:
    data = bytes(range(256)) * 40_000
    source = "import sys, hashlib; print(hashlib.sha256(sys.stdin.buffer.read()).hexdigest())"
    process = await python(sandbox, source, stdin=data)
    assert (await process.stdout.read.aio()).decode().strip() == hashlib.sha256(data).hexdigest()


async def test_a_write_that_is_repeated_is_not_doubled(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    loopback.faults.set("TaskExecStdinWrite:after", status=Code.UNAVAILABLE, times=3)
    process = await python(sandbox, "print(input())", stdin=b"once\n")
    assert await process.stdout.read.aio() == b"once\n"


async def test_several_programs_run_at_once(sandbox: modal.Sandbox) -> None:
    processes = [await python(sandbox, "print(input())", stdin=b"%d\n" % n) for n in range(5)]
    outputs = await asyncio.gather(*(process.stdout.read.aio() for process in processes))
    assert outputs == [b"%d\n" % n for n in range(5)]


async def test_a_lost_answer_starts_one_program(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    loopback.faults.set("TaskExecStart:after", status=Code.UNAVAILABLE, times=2)
    process = await python(sandbox, "open('/tmp/runs', 'a').write('x')")
    await process.wait.aio()
    assert await said(sandbox, "print(open('/tmp/runs').read())") == "x"
    assert loopback.state.rpcs["TaskExecStart"] == 4


@pytest.mark.parametrize("how", ["error", "reset"])
async def test_a_cut_stream_resumes_at_the_byte(
    loopback: LoopbackModal, sandbox: modal.Sandbox, how: Any
) -> None:
    status = Code.UNAVAILABLE if how == "error" else None
    loopback.faults.set("TaskExecStdioRead", how=how, status=status, after_bytes=10_001, times=3)
    process = await python(sandbox, COUNT)
    assert await process.stdout.read.aio() == LINES
    assert not loopback.faults.pending()


async def test_a_stream_may_only_be_slow(loopback: LoopbackModal, sandbox: modal.Sandbox) -> None:
    loopback.faults.set("TaskExecStdioRead", delay=0.1, after_bytes=10_001)
    process = await python(sandbox, COUNT)
    assert await process.stdout.read.aio() == LINES
    assert not loopback.faults.pending()


async def test_a_program_is_killed_at_its_deadline(sandbox: modal.Sandbox) -> None:
    process = await sandbox.exec.aio("sleep", "60", timeout=1)
    assert await process.wait.aio() in {-1, 137}


async def test_reading_again_from_the_start_replays_all(
    sandbox: modal.Sandbox, client: modal.Client
) -> None:
    process = await python(sandbox, COUNT)
    await process.wait.aio()
    again = await modal.Sandbox.from_id.aio(sandbox.object_id, client=client)
    assert await said(again, "print('still here')") == "still here"
    assert await process.stdout.read.aio() == LINES


async def test_exec_ids_are_the_clients(loopback: LoopbackModal, sandbox: modal.Sandbox) -> None:
    await python(sandbox, "pass")
    (exec_id,) = loopback.state.boxes[sandbox.object_id].programs
    assert len(exec_id) == 36


@pytest.mark.parametrize("loopback", ["with cgroups", "without cgroups"], indirect=True)
async def test_a_box_that_takes_too_much_dies_as_a_whole(
    loopback: LoopbackModal, create: Create
) -> None:
    box = await create(memory=(128, 160))
    await box.exec.aio("sh", "-c", "sleep 60; echo lived")
    await python(box, f"import time; b = bytearray({400 * MEGABYTE}); time.sleep(60)")
    await box.wait.aio(raise_on_termination=False)

    dead = loopback.state.boxes[box.object_id]
    assert dead.status is Status.OUT_OF_MEMORY
    assert box.returncode == 137
    # Nobody in it has seen the other end.
    assert [program.status for program in dead.programs.values()] == [None, None]


async def test_files_in_memory_count_as_memory(loopback: LoopbackModal, create: Create) -> None:
    if not loopback.counts_exactly:
        pytest.skip("without cgroups only processes are looked at")
    box = await create(memory=(128, 160))
    await box.exec.aio("sh", "-c", "head -c 400000000 /dev/zero > /tmp/x; sleep 60")
    await box.wait.aio(raise_on_termination=False)
    assert loopback.state.boxes[box.object_id].status is Status.OUT_OF_MEMORY


async def test_output_ends_when_the_box_is_taken_away(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    process = await python(sandbox, "import time; print('a', flush=True); time.sleep(60)")
    reader = aiter(process.stdout)
    assert await anext(reader) == b"a\n"
    loopback.kill_box(sandbox.object_id, Status.EVICTED)
    with pytest.raises(StopAsyncIteration):
        await anext(reader)
    with pytest.raises(modal.exception.NotFoundError):
        await process.wait.aio()


async def test_output_breaks_when_the_box_is_forgotten(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    process = await python(sandbox, "import time; print('a', flush=True); time.sleep(60)")
    reader = aiter(process.stdout)
    assert await anext(reader) == b"a\n"
    loopback.forget_box(sandbox.object_id)
    with pytest.raises(modal.exception.NotFoundError):
        await anext(reader)


async def test_nothing_starts_in_a_box_that_has_ended(sandbox: modal.Sandbox) -> None:
    process = await python(sandbox, "pass")
    await process.wait.aio()
    await sandbox.terminate.aio(wait=True)
    with pytest.raises((modal.exception.NotFoundError, modal.exception.ConflictError)):
        await python(sandbox, "pass")


async def test_a_router_token_is_renewed(loopback: LoopbackModal, create: Create) -> None:
    # The client renews only what ends within half a minute; else it takes a refusal for final.
    loopback._tokens.lifetime = 20
    sandbox = await create()
    loopback.faults.set("TaskExecStart", status=Code.UNAUTHENTICATED)
    assert await said(sandbox, "print(1)") == "1"
    assert loopback.state.rpcs["SandboxGetCommandRouterAccess"] == 1


async def test_a_router_token_of_nobody_is_refused(loopback: LoopbackModal) -> None:
    host, port = loopback.url.removeprefix("http://").split(":")
    async with Channel(host, int(port)) as channel:
        request = task_command_router_pb2.TaskExecPollRequest(task_id="ta-x", exec_id="x")
        with pytest.raises(GRPCError) as caught:
            await TaskCommandRouterStub(channel).TaskExecPoll(request)
    assert caught.value.status is Code.UNAUTHENTICATED


async def test_the_box_has_no_network_no_host_files_and_little_to_write(
    sandbox: modal.Sandbox,
) -> None:
    source = """
import os, socket, json
def fails(call):
    try: call()
    except OSError as error: return type(error).__name__
found = {
    "network": fails(lambda: socket.create_connection(("1.1.1.1", 53), 1)),
    "host": [path for path in ("/var/log", "/proc/1/root/var/log", "/etc/shadow", "/sys") \
        if os.path.exists(path)],
    "root": fails(lambda: open("/x", "w")), "usr": fails(lambda: open("/usr/x", "w")),
    "mount": fails(lambda: os.chroot("/tmp")),
    "environment": sorted(os.environ),
}
for folder in ("/tmp", "/root", "/box", "/var/tmp", "/home", "/dev/shm"):
    open(folder + "/x", "w").close()
print(json.dumps(found))
"""
    found = json.loads(await said(sandbox, source))
    assert found["network"]
    assert found["host"] == []
    assert found["root"]
    assert found["usr"]
    assert found["mount"] == "PermissionError"
    assert not {"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET"} & set(found["environment"])


async def test_root_of_a_box_may_become_another_user_who_cannot_touch_it(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    if not loopback.has_two_uids:
        pytest.skip("only the host's root can map a second uid")
    source = """
import os, json, signal, sys
parent = os.getpid()
reader, writer = os.pipe()
if os.fork() == 0:
    os.setgroups([]); os.setgid(1000); os.setuid(1000)
    def tried(call):
        try: call(); return "could"
        except OSError as error: return type(error).__name__
    tries = {
        "uid": os.getuid(),
        "list": tried(lambda: os.listdir(f"/proc/{parent}/fd")),
        "forge": tried(lambda: open(f"/proc/{parent}/fd/1", "wb")),
        "memory": tried(lambda: open(f"/proc/{parent}/mem", "r+b")),
        "kill": tried(lambda: os.kill(parent, signal.SIGKILL)),
        "kill 1": tried(lambda: os.kill(1, signal.SIGKILL)),
        "init": tried(lambda: os.listdir("/proc/1/fd")),
        "back": tried(lambda: os.setuid(0)),
        "write": tried(lambda: open("/root/x", "w")),
    }
    os.write(writer, json.dumps(tries).encode())
    os._exit(0)
os.wait()
print(os.read(reader, 65536).decode())
"""
    tries = json.loads(await said(sandbox, source))
    assert tries.pop("uid") == 1000
    assert set(tries.values()) == {"PermissionError"}


async def test_root_of_a_box_may_kill_and_own_what_is_another_users(
    loopback: LoopbackModal, sandbox: modal.Sandbox
) -> None:
    if not loopback.has_two_uids:
        pytest.skip("only the host's root can map a second uid")
    source = """
import os, signal
os.mkdir("/box/a"); os.chown("/box/a", 1000, 1000)
child = os.fork()
if child == 0:
    os.setgid(1000); os.setuid(1000); os.execvp("sleep", ["sleep", "60"])
os.kill(child, signal.SIGKILL)
print(os.WTERMSIG(os.waitpid(child, 0)[1]), os.stat("/box/a").st_uid)
"""
    assert await said(sandbox, source) == "9 1000"


async def test_the_entrypoints_output_outlives_the_box(create: Create, call: Call) -> None:
    box = await create("sh", "-c", "echo out; echo err >&2")
    await box.wait.aio()
    assert (await box.stdout.read.aio(), await box.stderr.read.aio()) == ("out\n", "err\n")
    request = api_pb2.SandboxGetTaskIdRequest(sandbox_id=box.object_id)
    assert (await call("SandboxGetTaskIdV2", request)).task_result.status == Status.SUCCESS
