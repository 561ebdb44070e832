"""A client as people write them: it asks, and is told."""

import json
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import httpx

Json = dict[str, Any]

JSON = {"content-type": "application/json"}
PATIENCE = 30  # s; what is waited for takes less than one
LOOK_EVERY = 0.01  # s

EXECUTE = """
mutation Execute($input: ExecuteCodeInput!) {
  executeCode(input: $input) {
    execution { ...All }
    errors {
      __typename code message path
      ... on LimitTooHigh { limit requested maximum }
      ... on LanguageUnavailable { available }
      ... on ServerBusy { retryAfterMs }
      ... on IdempotencyConflict { execution { id } }
    }
  }
}
"""
CANCEL = """
mutation Cancel($id: ID!) {
  cancelExecution(input: { id: $id }) {
    execution { ...All }
    errors { __typename code message path }
  }
}
"""
FIND = "query Find($id: ID!) { execution(id: $id) { ...All } }"
ALL = """
fragment All on Execution {
  id status language { id name version } languageVersion source stdin args stdout stderr
  stdoutStream { base64 byteSize isTruncated isLossy }
  stderrStream { base64 byteSize isTruncated isLossy }
  exitCode signal timeLimit message
  usage { wallTimeMs cpuTimeMs peakMemoryBytes coreSeconds gibSeconds }
  limits { wallTimeMs cpuTimeMs memoryBytes outputBytes processes diskBytes }
  sessionId label metadata executor attempt createdAt startedAt finishedAt
}
"""


class Api:
    """Asks one server over HTTP, with a key or a token or without."""

    def __init__(self, http: httpx.AsyncClient, credential: str | None = None) -> None:
        self.http = http
        self.headers = {} if credential is None else {"authorization": f"Bearer {credential}"}

    async def post(self, query: str, variables: Mapping[str, Any] | None = None) -> httpx.Response:
        """Send one document and return the answer as it is."""
        # In ASCII, so that half a surrogate pair can be sent as well.
        body = json.dumps({"query": query, "variables": variables or {}})
        return await self.http.post("/graphql", content=body, headers=JSON | self.headers)

    async def ask(self, query: str, **variables: Any) -> Json:
        """Send one document and return its data; there must be no errors."""
        answer: Json = (await self.post(query, variables)).json()
        assert "errors" not in answer, answer["errors"]
        data: Json = answer["data"]
        return data

    async def fail(self, query: str, **variables: Any) -> Json:
        """Send one document and return its first error; there must be one."""
        error: Json = (await self.post(query, variables)).json()["errors"][0]
        return error

    async def execute(self, source: str, language: str = "PYTHON", **input: Any) -> Json:
        """Ask for a run and return the whole payload."""
        input |= {"language": language, "source": source}
        data = await self.ask(EXECUTE + ALL, input=input)
        payload: Json = data["executeCode"]
        return payload

    async def run(self, source: str, language: str = "PYTHON", **input: Any) -> Json:
        """Run a program that must be accepted, and return its execution."""
        payload = await self.execute(source, language, **input)
        assert payload["errors"] == []
        execution: Json = payload["execution"]
        return execution

    async def refuse(self, source: str = "", language: str = "PYTHON", **input: Any) -> list[Json]:
        """Ask for a run that must be refused, and return why."""
        payload = await self.execute(source, language, **input)
        assert payload["execution"] is None
        errors: list[Json] = payload["errors"]
        return errors

    async def find(self, id: str) -> Json | None:
        """Return the execution with this id."""
        found: Json | None = (await self.ask(FIND + ALL, id=id))["execution"]
        return found

    async def look(self, id: str) -> Json:
        """Return the execution with this id, which must exist."""
        found = await self.find(id)
        assert found is not None
        return found

    async def until(self, id: str, condition: Callable[[Json], bool]) -> Json:
        """Look again and again, as a client without subscriptions does."""
        with anyio.fail_after(PATIENCE):
            while True:
                execution = await self.look(id)
                if condition(execution):
                    return execution
                await anyio.sleep(LOOK_EVERY)

    async def end_of(self, id: str) -> Json:
        """Return an execution when it has ended."""
        return await self.until(id, lambda execution: execution["finishedAt"] is not None)

    async def metrics(self) -> dict[str, float]:
        """Return every sample of the metrics by its name and labels."""
        text = (await self.http.get("/metrics")).text
        lines = [line for line in text.splitlines() if not line.startswith("#")]
        return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}

    async def cancel(self, id: str) -> Json:
        """Stop an execution and return the whole payload."""
        payload: Json = (await self.ask(CANCEL + ALL, id=id))["cancelExecution"]
        return payload
