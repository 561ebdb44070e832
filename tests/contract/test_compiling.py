"""What a compiler leaves is looked at by nobody who could be led astray."""

from dataclasses import replace

import pytest

from app.domain.execution import Status
from app.domain.language import Language
from app.domain.ports import Executor
from app.languages import all_languages
from tests.contract.runs import Box, Result

PYTHON = all_languages()["PYTHON"]

TRICKS = {
    "nothing": "",
    "no folder": "os.rmdir('/box/.build')",
    "a link to a file": "os.symlink('/bin/true', '/box/.build/main')",
    "a link instead of the folder": "os.rmdir('/box/.build'); os.symlink('/bin', '/box/.build')",
    "a link to a folder": "os.symlink('/bin', '/box/.build/bin')",
    "a pipe": "os.mkfifo('/box/.build/main')",
    "a socket": "import socket; socket.socket(socket.AF_UNIX).bind('/box/.build/main')",
    "a folder": "os.mkdir('/box/.build/main', 0o755)",
    "a file that is not executable": "open('/box/.build/main', 'w').write('x')",
    "a file that nobody may read": "open('/box/.build/main', 'w'); os.chmod('/box/.build/main', 0)",
    "another name": "open('/box/.build/mine', 'w'); os.chmod('/box/.build/mine', 0o755)",
    "too much": "open('/box/.build/main', 'w').truncate(65 << 20)",
    "too many": "[open(f'/box/.build/{n}', 'w') for n in range(600)]",
}


def compiler(source: str) -> Language:
    """Return a language whose compiler is a Python program."""
    return replace(
        PYTHON,
        compile=lambda _sources, _limits: ("-c", f"import os\n{source}"),
        run=lambda _sources, _limits: (),
        runs_product=True,
    )


async def compiled(executor: Executor, source: str) -> Result:
    return await Box(executor, compiler(source))("")


@pytest.mark.parametrize("trick", TRICKS.values(), ids=TRICKS)
async def test_what_is_no_executable_file_is_no_program(executor: Executor, trick: str) -> None:
    result = await compiled(executor, trick)
    assert result.status is Status.COMPILE_ERROR, result
    assert result.outcome.message
    assert "compiler ended well" in result.outcome.message


async def test_a_process_that_is_left_behind_does_not_change_the_product(
    executor: Executor,
) -> None:
    result = await compiled(
        executor,
        """
with open('/box/.build/main', 'w') as file: file.write('#!/bin/sh\\necho good\\n')
os.chmod('/box/.build/main', 0o755)
if os.fork() == 0:
    os.setsid()
    while True: open('/box/.build/main', 'r+').write('#!/bin/sh\\necho evil\\n')
while open('/box/.build/main').read() != '#!/bin/sh\\necho evil\\n': pass
""",
    )
    assert result.status is Status.SUCCEEDED, result
    assert result.text == "evil\n"


async def test_a_product_of_several_files_arrives_with_its_folders(executor: Executor) -> None:
    result = await compiled(
        executor,
        """
os.mkdir('/box/.build/data')
open('/box/.build/data/words', 'w').write('from below\\n')
open('/box/.build/main', 'w').write('#!/bin/sh\\ncat /box/.build/data/words\\n')
os.chmod('/box/.build/main', 0o755)
""",
    )
    assert result.text == "from below\n", result


async def test_a_compiler_has_limits_and_an_end_of_its_own(executor: Executor) -> None:
    result = await compiled(executor, "os.kill(os.getpid(), 11)")
    assert result.status is Status.COMPILE_ERROR, result
    assert result.end.compilation
    assert result.end.compilation.outcome.signal == "SIGSEGV"
