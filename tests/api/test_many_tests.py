"""Hundreds of tests: they are carried out, and one answer holds only so many of them."""

from .client import Api, Json
from .conftest import Open
from .fake import FakeExecutor
from .test_testing import DOUBLE, look, of, refused, submit


async def test_five_hundred_tests_in_one_submission(api: Api) -> None:
    tests: list[Json] = [
        {"stdin": str(n), "expectedStdout": str(2 * n), "hidden": n > 9} for n in range(500)
    ]
    execution = await submit(api, DOUBLE, tests, kind="SUBMIT")
    if execution["verdict"] is None:
        execution = await look(api, execution["id"])
    assert execution["verdict"] == "PASSED"
    assert execution["testSummary"]["passed"] == 500
    assert of(execution, "stdout") == [f"{2 * n}\n" for n in range(500)]


async def test_one_answer_holds_only_so_many_tests(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        for _ in range(3):
            await submit(api, "", [{}] * 400)
        error = await api.fail("{ executions { nodes { tests { name } } } }")
        assert "1000 tests" in error["message"]


async def test_one_answer_holds_only_so_much_of_what_functions_are_given(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        execution = await submit(api, "", [{"call": {"arguments": ["x" * 2**22]}}])
        calls = " ".join(f"a{number}: call {{ arguments }}" for number in range(17))
        query = f"query ($id: ID!) {{ execution(id: $id) {{ tests {{ {calls} }} }} }}"
        error = await api.fail(query, id=execution["id"])
        assert "One answer may hold 64 MiB" in error["message"]


async def test_a_thousand_wrong_tests_are_not_a_thousand_errors(api: Api) -> None:
    for wrong in ({"weight": -1}, {"stdinBase64": "?"}):
        assert len(await refused(api, [wrong] * 1000)) == 20
