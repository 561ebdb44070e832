"""Programs of several files: they arrive, they are kept, and bad paths are named."""

import base64
from typing import Any

import pytest

from .client import Api, Json

EXECUTE = """mutation($input: ExecuteCodeInput!) { executeCode(input: $input) {
  execution { id status stdout stderr source entryPoint files { path text base64 byteSize }
    compile { status exitCode stdout stderr isCached usage { wallTimeMs } } }
  errors { __typename code message path } } }"""


async def execute(api: Api, language: str, source: str, **input: Any) -> Json:
    asked = {"language": language, "source": source, **input}
    payload: Json = (await api.ask(EXECUTE, input=asked))["executeCode"]
    return payload


async def run(api: Api, language: str, source: str, **input: Any) -> Json:
    payload = await execute(api, language, source, **input)
    assert payload["errors"] == []
    execution: Json = payload["execution"]
    return execution


async def refuse(api: Api, *files: Json, **input: Any) -> list[Json]:
    payload = await execute(api, "PYTHON", "", files=list(files), **input)
    assert payload["execution"] is None
    errors: list[Json] = payload["errors"]
    return errors


async def test_a_program_reads_its_files_and_they_are_kept(api: Api) -> None:
    files = [
        {"path": "data/../data/words.txt", "text": "grün"},
        {"path": "raw", "base64": base64.b64encode(b"\xff\0").decode()},
        {"path": "helper.py", "text": "def shout(text): return text.upper()"},
    ]
    source = (
        "import helper\n"
        "print(helper.shout(open('data/words.txt').read()), open('raw', 'rb').read())"
    )
    execution = await run(api, "PYTHON", source, files=files)
    assert execution["stdout"] == "GRÜN b'\\xff\\x00'\n", execution
    assert [(each["path"], each["text"], each["byteSize"]) for each in execution["files"]] == [
        ("data/words.txt", "grün", 5),
        ("raw", "\ufffd\0", 2),
        ("helper.py", "def shout(text): return text.upper()", 36),
    ]
    assert execution["files"][1]["base64"] == files[1]["base64"]


async def test_another_file_can_be_started(api: Api) -> None:
    files = [{"path": "app/start.py", "text": "import sys; print(__file__, sys.path[0])"}]
    execution = await run(api, "PYTHON", "", files=files, entryPoint="./app/start.py")
    assert execution["stdout"] == "/box/app/start.py /box/app\n", execution
    assert execution["entryPoint"] == "app/start.py"


async def test_the_source_can_have_a_path_of_its_own(api: Api) -> None:
    execution = await run(api, "PYTHON", "print(__file__)", entryPoint="src/tool.py")
    assert execution["stdout"] == "/box/src/tool.py\n", execution


@pytest.mark.parametrize(
    ("path", "says"),
    [("../x", "`../x` leads out"), ("/etc/passwd", "absolute"), ("a\0", "NUL"), ("d/", "folder")],
)
async def test_a_bad_path_is_named(api: Api, path: str, says: str) -> None:
    good = {"path": "good", "text": ""}
    [error] = await refuse(api, good, {"path": path, "text": ""})
    assert error["path"] == ["files", "1", "path"]
    assert says in error["message"]
    assert error["code"] == "INVALID_INPUT"


async def test_all_bad_files_are_named_at_once(api: Api) -> None:
    errors = await refuse(
        api,
        {"path": "../x", "text": ""},
        {"path": "a", "text": "", "base64": ""},
        {"path": "b", "base64": "%"},
        {"path": "c"},
    )
    assert [error["path"] for error in errors] == [
        ["files", "0", "path"],
        ["files", "1", "base64"],
        ["files", "2", "base64"],
        ["files", "3", "base64"],
    ]


async def test_a_file_is_no_folder_and_no_place_is_taken_twice(api: Api) -> None:
    names = ("a", "a/b", "./a", "main.py")
    errors = await refuse(api, *({"path": name, "text": ""} for name in names))
    assert [(error["path"], error["message"]) for error in errors] == [
        (["files", "2", "path"], "`a` is the path of another file already."),
        (["files", "3", "path"], "`main.py` is the path of the source already."),
        (["files", "1", "path"], "`a` is a file, so `a/b` cannot lie in it."),
    ]


async def test_an_entry_point_must_not_lead_out(api: Api) -> None:
    [error] = await refuse(api, entryPoint="../main.py")
    assert error["path"] == ["entryPoint"]


async def test_files_are_few_and_small(api: Api) -> None:
    many = ({"path": str(n), "text": ""} for n in range(21))
    [error] = await refuse(api, *many)
    assert (error["path"], "at most 20" in error["message"]) == (["files"], True)
    [error] = await refuse(api, {"path": "large", "text": "x" * (2 * 2**20 + 1)})
    assert (error["path"], "at most 2 MiB" in error["message"]) == (["files"], True)


async def test_a_program_of_several_files_is_compiled_whole(api: Api) -> None:
    files = [
        {"path": "add.c", "text": "int add(int a, int b) { return a + b; }"},
        {"path": "add.h", "text": "int add(int, int);"},
    ]
    source = '#include <stdio.h>\n#include "add.h"\nint main(void) { printf("%d", add(40, 2)); }'
    execution = await run(api, "C", source, files=files)
    assert execution["stdout"] == "42", execution
    assert execution["compile"]["status"] == "SUCCEEDED"
    assert execution["compile"]["usage"]["wallTimeMs"] > 0
    again = await run(api, "C", source, files=files)
    assert again["compile"]["isCached"]
    assert again["compile"]["usage"] is None


async def test_what_the_compiler_says_is_kept(api: Api) -> None:
    execution = await run(api, "C", "int main(void) { return missing; }")
    assert execution["status"] == "COMPILE_ERROR"
    assert execution["compile"]["status"] == "FAILED"
    assert execution["compile"]["exitCode"] == 1
    assert "missing" in execution["compile"]["stderr"]
    assert (execution["stdout"], execution["stderr"]) == ("", "")
