"""GraphiQL, built into this package and served without the internet."""

import mimetypes
from pathlib import Path

import anyio
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, HTMLResponse, Response
from starlette.staticfiles import StaticFiles
from starlette.types import Scope

# Now, because it reads files; and none of the host's, whose idea of `.js` may be another.
mimetypes.init(files=())

FOLDER = Path(__file__).with_name("graphiql")
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; "
    "font-src 'self' data:; img-src 'self' data:; worker-src 'self' blob:; connect-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_HEADERS = {"Content-Security-Policy": _POLICY, "Vary": "Accept"}
_MISSING = """<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Greenroom</title>
<body><h1>Greenroom</h1>
<p>The API works, but GraphiQL has not been built.
<p>Run <code>make install</code> where the npm registry can be reached, then reload this page.
<p>Until then, send GraphQL here with any client: <code>POST /graphql</code>.
"""


async def graphiql_page(folder: Path = FOLDER) -> Response:
    """Return the page, or one that says how to build it."""
    page = folder / "index.html"
    if not await anyio.Path(page).is_file():
        return HTMLResponse(_MISSING, status_code=503, headers=_HEADERS)
    return FileResponse(page, headers={**_HEADERS, "Cache-Control": "no-cache"})


class GraphiQLFiles(StaticFiles):
    """The page's scripts and styles, whose names change with their content."""

    def __init__(self, folder: Path = FOLDER) -> None:
        super().__init__(directory=folder, check_dir=False)
        self._folder = anyio.Path(folder)

    async def check_config(self) -> None:
        """Answer 404, not 500, for as long as nothing has been built."""
        if not await self._folder.is_dir():
            raise HTTPException(status_code=404)

    async def get_response(self, path: str, scope: Scope) -> Response:
        """Add what keeps browsers from asking again, and the page's own policy for workers."""
        response = await super().get_response(path, scope)
        response.headers["Content-Security-Policy"] = _POLICY
        if path.startswith("assets/"):
            response.headers["Cache-Control"] = "public, max-age=31536000, immutable"
        return response
