"""What a program leaves in `out/` comes back with it."""

from base64 import b64decode, b64encode

from .client import Api, Json
from .conftest import Open

LOOK = """
query Look($id: ID!) { execution(id: $id) {
  artifactsLeftOut artifacts { path mediaType byteSize base64 } } }
"""
LEAVE = """
import os
os.makedirs('out/deep')
open('out/plot.png', 'wb').write(bytes(range(256)))
open('out/deep/table.csv', 'w').write('a,b')
open('out/unknown', 'w')
os.symlink('/etc/passwd', 'out/passwd')
os.mkfifo('out/pipe')
open('elsewhere', 'w').write('x')
"""


async def artifacts(api: Api, id: str) -> tuple[Json, int]:
    found = (await api.ask(LOOK, id=id))["execution"]
    by_path = {each.pop("path"): each for each in found["artifacts"]}
    return by_path, found["artifactsLeftOut"]


async def test_files_in_out_come_back(api: Api) -> None:
    execution = await api.run(LEAVE)
    assert execution["status"] == "SUCCEEDED"
    found, left_out = await artifacts(api, execution["id"])
    content = b64encode(bytes(range(256))).decode()
    assert found == {
        "out/deep/table.csv": {"mediaType": "text/csv", "byteSize": 3, "base64": "YSxi"},
        "out/plot.png": {"mediaType": "image/png", "byteSize": 256, "base64": content},
        "out/unknown": {
            "mediaType": "application/octet-stream",
            "byteSize": 0,
            "base64": "",
        },
    }
    assert left_out == 0


async def test_a_program_that_fails_leaves_its_files_too(api: Api) -> None:
    execution = await api.run(LEAVE + "exit(3)")
    assert execution["exitCode"] == 3
    assert len((await artifacts(api, execution["id"]))[0]) == 3


async def test_what_is_too_much_is_counted(api: Api) -> None:
    many = "import os\nos.mkdir('out')\nfor n in range(25): open(f'out/{n:02}', 'w').write('x')"
    found, left_out = await artifacts(api, (await api.run(many))["id"])
    assert (sorted(found), left_out) == ([f"out/{n:02}" for n in range(20)], 5)
    large = (
        "import os\nos.mkdir('out')\nfor n in 'abc': open(f'out/{n}', 'wb').write(bytes(5 << 20))"
    )
    found, left_out = await artifacts(api, (await api.run(large))["id"])
    assert (sorted(found), left_out) == (["out/a"], 2)
    assert len(b64decode(found["out/a"]["base64"])) == 5 << 20


async def test_a_program_that_leaves_nothing_has_no_artifacts(api: Api) -> None:
    assert await artifacts(api, (await api.run(""))["id"]) == ({}, 0)


async def test_artifacts_are_erased_with_their_execution(open_api: Open) -> None:
    async with open_api() as api:
        id = (await api.run(LEAVE))["id"]
        query = "mutation($id: ID!) { deleteExecutions(input: { ids: [$id] }) { deletedCount } }"
        assert (await api.ask(query, id=id))["deleteExecutions"]["deletedCount"] == 1
        assert await api.find(id) is None
