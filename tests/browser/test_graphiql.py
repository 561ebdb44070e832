"""GraphiQL runs programs, shows the history, and its samples work."""

import re
from pathlib import Path
from typing import Any

import anyio
from playwright.async_api import Page, Response, expect

QUESTIONS = [
    *("RunPython", "RunJavaScript", "StartOnly", "OneExecution", "History"),
    *("Statistics", "Languages", "Limits", "Health", "AnyNode"),
]
SUBSCRIPTIONS = ["WatchSession", "Events"]
ACTIONS = [
    *("SeveralFiles", "RunAgain", "Stop", "StartInteractive", "TypeInto", "Erase"),
    *("WhoAmI", "LetIn", "Administration", "MakeKey", "RevokeKey"),
    *("Submit", "CallFunction", "FilesBack", "Batch"),
]
TABS = QUESTIONS + SUBSCRIPTIONS + ACTIONS


REMEMBERED = """name => {
  const { tabs, activeTabIndex } = JSON.parse(localStorage.getItem("graphiql:tabState") ?? "{}");
  return tabs?.[activeTabIndex]?.operationName === name;
}"""


async def choose(page: Page, name: str) -> None:
    """Go to a tab, and wait until the page has followed: pressed sooner, its button names the
    operation of the tab before."""
    await page.get_by_role("tab", name=re.compile(f"^{name}")).click()
    await page.wait_for_function(REMEMBERED, arg=name)


async def execute(page: Page) -> dict[str, Any]:
    """Press the button; return what the server answered."""

    def is_answer(response: Response) -> bool:
        return response.url.endswith("/graphql") and response.request.method == "POST"

    async with page.expect_response(is_answer) as answered:
        await page.locator(".graphiql-execute-button").click()
    answer: dict[str, Any] = await (await answered.value).json()
    return answer


async def test_the_page_has_its_policy_and_its_samples(page: Page, address: str) -> None:
    response = await page.request.get(f"{address}/graphql", headers={"Accept": "text/html"})
    assert "default-src 'none'" in response.headers["content-security-policy"]
    assert await page.locator(".graphiql-tab-button").all_text_contents() == TABS


async def test_the_button_runs_python_and_the_history_remembers(page: Page, tmp_path: Path) -> None:
    await choose(page, "RunPython")
    answer = await execute(page)
    assert answer["data"]["executeCode"]["execution"]["stdout"] == "42\n"
    lines = page.locator("section.result-window .view-lines")
    await expect(lines).to_contain_text("42\\n")
    await expect(lines).to_contain_text("SUCCEEDED")
    await page.get_by_label("Show History").click()
    await expect(page.locator(".graphiql-history")).to_contain_text("RunPython")
    await page.screenshot(path=tmp_path / "graphiql.png")


async def test_every_sample_runs_from_its_tab(page: Page) -> None:
    lines = page.locator("section.result-window .view-lines")
    for name in QUESTIONS + ACTIONS:
        await choose(page, name)
        answer = await execute(page)
        assert "errors" not in answer, name
        await expect(lines).to_contain_text('"data"')


async def test_the_documentation_knows_the_schema(page: Page) -> None:
    await page.get_by_label("Show Documentation Explorer").click()
    explorer = page.locator(".graphiql-doc-explorer")
    await expect(explorer).to_contain_text("Query")
    await explorer.get_by_text("Mutation", exact=True).last.click()
    await expect(explorer).to_contain_text("executeCode")
    await expect(explorer).to_contain_text("Run a program")


async def test_a_subscription_shows_what_happens_while_it_happens(
    page: Page, address: str, tmp_path: Path
) -> None:
    await choose(page, "WatchSession")
    answered = anyio.Event()
    page.on("websocket", lambda socket: socket.on("framereceived", lambda _: answered.set()))
    await page.locator(".graphiql-execute-button").click()
    await answered.wait()
    source = "import time\nprint('live', flush=True)\ntime.sleep(2)"
    run = {"language": "PYTHON", "source": source, "sessionId": "interview-1", "waitMs": 0}
    query = "mutation R($i: ExecuteCodeInput!) { executeCode(input: $i) { execution { id } } }"
    body = {"query": query, "variables": {"i": run}}
    lines = page.locator("section.result-window .view-lines")
    await page.request.post(f"{address}/graphql", data=body)
    await expect(lines).to_contain_text("RUNNING")
    await expect(lines).to_contain_text("SUCCEEDED")
    await expect(lines).to_contain_text("live\\n")
    await page.screenshot(path=tmp_path / "subscription.png")
    await page.locator(".graphiql-execute-button").click()  # it stops the subscription
