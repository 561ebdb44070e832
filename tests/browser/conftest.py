"""GraphiQL in a real browser, served by a real server."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from playwright.async_api import Browser, Page

from scripts.install import build_page
from tests.processes.server import serving
from tests.servers.chromium import ChromiumMissing, browser

ROOT = Path(__file__).parents[2]
PAGE = ROOT / "app/api/graphiql/index.html"


@pytest.fixture(scope="session")
def graphiql() -> None:
    """Build the page as `make run` does; what is up to date is left alone."""
    build_page(again=False)
    if not PAGE.exists():
        pytest.skip("GraphiQL could not be built; `make install` says why")


@pytest.fixture(scope="module")
async def chrome(graphiql: None) -> AsyncIterator[Browser]:
    try:
        async with browser() as chrome:
            yield chrome
    except ChromiumMissing as reason:
        pytest.skip(str(reason))


@pytest.fixture(scope="module")
async def address(chrome: Browser, tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[str]:
    folder = tmp_path_factory.mktemp("browser")
    async with serving(folder, "--migrate") as (_, api):
        yield str(api.http.base_url)


@pytest.fixture
async def page(chrome: Browser, address: str) -> AsyncIterator[Page]:
    """Open GraphiQL as on a first visit; it may ask nobody else and must not complain."""
    context = await chrome.new_context(viewport={"width": 1400, "height": 900})
    page = await context.new_page()
    asked, complaints = list[str](), list[str]()
    page.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    page.on(
        "console",
        lambda message: complaints.append(message.text) if message.type == "error" else None,
    )
    await page.goto(f"{address}/graphql")
    await page.locator(".graphiql-query-editor .view-line").first.wait_for()
    yield page
    await context.close()
    assert complaints == []
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []
