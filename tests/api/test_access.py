"""Who may do what, and to whose: callers of two tenants and three roles before one server."""

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from graphql import GraphQLObjectType, is_leaf_type

from app.api.access import RULES
from app.api.entrance import address_of
from app.api.ids import decode_id
from app.api.schema import schema
from app.domain.access import Role
from app.domain.execution import Exit, File
from app.domain.language import BUILD
from app.domain.ports import Emit
from app.storage.store import Store

from .callers import (
    SECRET,
    candidate,
    interviewer,
    new_key,
    service,
    token,
    with_token,
)
from .client import Api, Json
from .conftest import Open
from .fake import SUCCESS, FakeExecutor, Gate

PROGRAM = "print('the candidate and nobody else own words')"
PAGE = "{ executions { totalCount nodes { id stdout source } } executionStats { totalCount } }"
VIEWER = """
{ viewer { owner role subject sessionId expiresAt
           rateLimit { limit remaining resetAt } executionRateLimit { limit } } }
"""


@pytest.fixture
async def api(open_api: Open) -> AsyncIterator[Api]:
    """Open a server that asks who one is."""
    async with open_api(FakeExecutor(), jwt_secret=SECRET) as api:
        yield api


@pytest.fixture
async def store(database: Path) -> AsyncIterator[Store]:
    store = Store(f"sqlite:///{database}")
    yield store
    await store.close()


async def test_whoever_does_not_say_who_it_is_gets_nothing(api: Api) -> None:
    for headers in ({}, {"authorization": "Basic x"}, {"authorization": "Bearer "}):
        answer = await api.http.post("/graphql", json={"query": PAGE}, headers=headers)
        assert answer.status_code == 401
        assert answer.headers["www-authenticate"].startswith("Bearer")
        [error] = answer.json()["errors"]
        assert error["extensions"]["code"] == "UNAUTHENTICATED"
        assert "data" not in answer.json()


@pytest.mark.parametrize(
    "credential",
    [
        "grk_",
        "grk_000000000000_" + "A" * 43,
        "a.b.c",
        "é",
        token(secret="not the secret of it" * 2),
    ],
)
async def test_a_wrong_credential_is_not_told_apart_from_another(api: Api, credential: str) -> None:
    headers = {b"authorization": f"Bearer {credential}".encode()}
    answer = await api.http.post("/graphql", json={"query": PAGE}, headers=headers)
    assert answer.status_code == 401
    assert "not valid here" in answer.json()["errors"][0]["message"]


async def test_the_page_for_browsers_and_the_probes_are_for_everybody(api: Api) -> None:
    page = await api.http.get("/graphql", headers={"accept": "text/html"})
    assert page.status_code in {200, 503}  # 503 where it could not be built
    assert (await api.http.get("/healthz")).status_code == 200
    assert (await api.http.get("/readyz")).status_code == 200


async def test_a_key_opens_its_owners_executions_until_it_is_revoked(
    api: Api, store: Store
) -> None:
    made = await new_key(store, "acme")
    with_key = with_token(api, made.text.get_secret_value())
    run = await with_key.run(PROGRAM, sessionId="interview-1")
    assert (await with_key.ask(VIEWER))["viewer"]["role"] == "SERVICE"
    assert run["id"] == (await service(api).ask(PAGE))["executions"]["nodes"][0]["id"]
    await store.registry.revoke_key(made.key.id, datetime.now(UTC))
    answer = await with_key.post(PAGE)
    assert answer.status_code == 401
    assert "revoked" in answer.json()["errors"][0]["message"]


async def test_a_key_ends_when_it_was_to_end(api: Api, store: Store) -> None:
    ended = await new_key(store, expires_at=datetime.now(UTC) - timedelta(seconds=1))
    answer = await with_token(api, ended.text.get_secret_value()).post(PAGE)
    assert answer.status_code == 401


async def test_the_prefix_of_a_key_is_not_the_key(api: Api, store: Store) -> None:
    text = (await new_key(store)).text.get_secret_value()
    for wrong in (text[:-1], text[:-1] + ("A" if text[-1] != "A" else "B"), text[:16]):
        assert (await with_token(api, wrong).post(PAGE)).status_code == 401


async def test_a_candidate_runs_and_reads_in_its_own_session(api: Api) -> None:
    ada = candidate(api)
    run = await ada.run(PROGRAM)
    assert run["sessionId"] == "interview-1"
    assert (await ada.look(run["id"]))["stdout"] == "42\n"
    assert (await ada.ask(PAGE))["executions"]["totalCount"] == 1
    assert (await interviewer(api).look(run["id"]))["source"] == PROGRAM
    [error] = await ada.refuse(PROGRAM, sessionId="interview-2")
    assert (error["code"], error["path"]) == ("INVALID_INPUT", ["sessionId"])


async def test_an_interviewer_reads_and_does_nothing(api: Api) -> None:
    run = await candidate(api).run(PROGRAM)
    ivan = interviewer(api)
    for query in (
        'mutation { executeCode(input: { language: PYTHON, source: "1" }) { errors { code } } }',
        f'mutation {{ cancelExecution(input: {{ id: "{run["id"]}" }}) {{ errors {{ code }} }} }}',
        f'mutation {{ sendInput(input: {{ id: "{run["id"]}" }}) {{ errors {{ code }} }} }}',
        f'mutation {{ rerunExecution(input: {{ id: "{run["id"]}" }}) {{ errors {{ code }} }} }}',
    ):
        error = await ivan.fail(query)
        assert error["extensions"]["code"] == "FORBIDDEN"
    assert (await service(api).ask(PAGE))["executions"]["totalCount"] == 1


FOREIGNERS = {
    "another tenant's back end": lambda api: service(api, "umbrella"),
    "another tenant's candidate of the same session": lambda api: candidate(api, owner="umbrella"),
    "a candidate of another session": lambda api: candidate(api, "interview-2"),
    "an interviewer of another session": lambda api: interviewer(api, "interview-2"),
}
UNKNOWN = "RXhlY3V0aW9uOjAxOTNlYjYwLTAwMDAtNzAwMC04MDAwLTAwMDAwMDAwMDAwMA=="
BY_ID = {
    "node": "query Q($id: ID!) { node(id: $id) { id } }",
    "execution": "query Q($id: ID!) { execution(id: $id) { id status stdout source } }",
    "cancel": """mutation Q($id: ID!) { cancelExecution(input: { id: $id }) {
        execution { id } errors { __typename code message path } } }""",
    "input": """mutation Q($id: ID!) { sendInput(input: { id: $id, text: "x" }) {
        execution { id } errors { __typename code message path } } }""",
    "rerun": """mutation Q($id: ID!) { rerunExecution(input: { id: $id }) {
        execution { id } errors { __typename code message path } } }""",
    "delete": """mutation Q($id: ID!) { deleteExecutions(input: { ids: [$id] }) {
        deletedCount hasMore errors { __typename code message path } } }""",
}


@pytest.mark.parametrize("who", FOREIGNERS.values(), ids=FOREIGNERS.keys())
@pytest.mark.parametrize("query", BY_ID.values(), ids=BY_ID.keys())
async def test_what_is_another_s_is_not_there(open_api: Open, who: Any, query: str) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), jwt_secret=SECRET) as api:
        run = await candidate(api).run(PROGRAM, waitMs=0, interactive=True)
        await gate.started.wait()
        foreigner = who(api)
        theirs = (await foreigner.post(query, {"id": run["id"]})).json()
        nothing = (await foreigner.post(query, {"id": UNKNOWN})).json()
        assert theirs == nothing
        assert (await candidate(api).look(run["id"]))["status"] == "RUNNING"
        gate.ends.set()


@pytest.mark.parametrize("who", FOREIGNERS.values(), ids=FOREIGNERS.keys())
async def test_what_is_another_s_is_in_no_list_and_in_no_number(api: Api, who: Any) -> None:
    run = await candidate(api).run(PROGRAM, label="mine")
    foreigner = who(api)
    for where in ("", '(filter: { label: "mine" })', '(filter: { sessionId: "interview-1" })'):
        query = PAGE.replace("executions {", f"executions{where} {{", 1)
        found = await foreigner.ask(query)
        assert found["executions"] == {"totalCount": 0, "nodes": []}
        assert found["executionStats"]["totalCount"] == 0
        assert run["id"] not in str(found)
    cursor = (await candidate(api).ask("{ executions { edges { cursor } } }"))["executions"]
    [edge] = cursor["edges"]
    page = """query Q($at: String) { executions(after: $at) {
        nodes { id } pageInfo { hasNextPage hasPreviousPage } } }"""
    assert (await foreigner.ask(page, at=edge["cursor"]))["executions"] == {
        "nodes": [],
        "pageInfo": {"hasNextPage": False, "hasPreviousPage": False},
    }


async def test_an_idempotency_key_means_nothing_to_others(api: Api) -> None:
    first = await candidate(api).run(PROGRAM, idempotencyKey="k")
    again = await candidate(api).run(PROGRAM, idempotencyKey="k")
    assert again["id"] == first["id"]
    for other in (
        candidate(api, "interview-2"),
        candidate(api, owner="umbrella"),
        service(api, "umbrella"),
        service(api),
    ):
        run = await other.run("print('other')", idempotencyKey="k")
        assert run["id"] != first["id"]


async def compiles(emit: Emit) -> Exit:
    del emit
    return replace(SUCCESS, product=(File(path=f"{BUILD}/main", data=b"x", is_executable=True),))


async def test_nobody_learns_that_others_have_compiled_the_same(open_api: Open) -> None:
    query = """mutation C($session: String) { executeCode(input: {
        language: C, source: "int main() {}", sessionId: $session }) {
        execution { compile { isCached } } } }"""

    async def is_cached(api: Api, session: str | None = None) -> bool:
        payload = (await api.ask(query, session=session))["executeCode"]
        cached: bool = payload["execution"]["compile"]["isCached"]
        return cached

    async with open_api(FakeExecutor(compiles), jwt_secret=SECRET) as api:
        for owner in ("acme", "umbrella"):
            for session in ("interview-1", "interview-2"):
                asks = candidate(api, session, owner=owner)
                assert [await is_cached(asks) for _ in range(2)] == [False, True]
        # A person of the same session sees its source anyway.
        assert await is_cached(candidate(api, "interview-1", subject="bob"))


async def test_no_key_of_a_back_end_is_a_candidate_s(api: Api) -> None:
    run = await candidate(api).run(PROGRAM, idempotencyKey="k")
    for guess in ("k", "interview-1\x1fk", "\x1fk", "interview-1k"):
        other = await service(api).run(PROGRAM, idempotencyKey=guess)
        assert other["id"] != run["id"]


async def test_a_rerun_is_in_the_session_and_by_who_wants_it(api: Api) -> None:
    run = await candidate(api).run(PROGRAM)
    query = """mutation R($id: ID!) { rerunExecution(input: { id: $id }) {
        execution { id subject sessionId rerunOf { id subject } } errors { message } } }"""
    payload = (await service(api, subject="platform").ask(query, id=run["id"]))["rerunExecution"]
    assert payload["execution"]["sessionId"] == "interview-1"
    assert payload["execution"]["subject"] == "platform"
    assert payload["execution"]["rerunOf"] == {"id": run["id"], "subject": "ada"}


def operations() -> list[tuple[str, str]]:
    """Write a small document for each root field, with arguments that are valid."""
    values = {
        "id": f'"{UNKNOWN}"',
        "sessionId": '"interview-1"',
        "input": None,
        "filter": None,
    }
    inputs = {
        "executeCode": '{ language: PYTHON, source: "1" }',
        "executeCodeBatch": '{ executions: [{ language: PYTHON, source: "" }] }',
        "rerunExecution": f'{{ id: "{UNKNOWN}" }}',
        "cancelExecution": f'{{ id: "{UNKNOWN}" }}',
        "sendInput": f'{{ id: "{UNKNOWN}", eof: true }}',
        "deleteExecutions": f'{{ ids: ["{UNKNOWN}"] }}',
        "createAccessToken": '{ role: CANDIDATE, sessionId: "interview-1", subject: "ada" }',
        "createApiKey": '{ owner: "acme", name: "x", role: SERVICE }',
        "revokeApiKey": '{ id: "x" }',
    }
    found = []
    for kind in ("Query", "Mutation"):
        root = schema._schema.type_map[kind]
        assert isinstance(root, GraphQLObjectType)
        for name, field in root.fields.items():
            arguments = [
                f"{argument}: {inputs[name] if argument == 'input' else values[argument]}"
                for argument, definition in field.args.items()
                if argument in values
                and (argument == "input" or values[argument])
                and str(definition.type).endswith("!")
            ]
            call = f"{name}({', '.join(arguments)})" if arguments else name
            answer = field.type
            while hasattr(answer, "of_type"):
                answer = answer.of_type
            selection = "" if is_leaf_type(answer) else " { __typename }"
            found.append((f"{kind}.{name}", f"{kind.lower()} {{ {call}{selection} }}"))
    return found


@pytest.mark.parametrize("role", Role)
@pytest.mark.parametrize(("field", "document"), operations(), ids=lambda value: str(value)[:30])
async def test_each_operation_is_open_to_whom_the_table_says(
    api: Api, store: Store, role: Role, field: str, document: str
) -> None:
    if role is Role.ADMIN:
        made = await new_key(store, role=Role.ADMIN)
        caller = with_token(api, made.text.get_secret_value())
    else:
        session = "interview-1" if role.is_of_a_session else None
        caller = with_token(api, token(role=role.value, session_id=session))
    answer: Json = (await caller.post(document)).json()
    codes = [error.get("extensions", {}).get("code") for error in answer.get("errors", ())]
    assert ("FORBIDDEN" in codes) is (role not in RULES[field]), answer
    assert not set(codes) - {"FORBIDDEN"}, answer


async def test_a_field_deep_inside_is_looked_at_too(api: Api) -> None:
    query = "query { health { ...Full } } fragment Full on Health { status load { slots } }"
    error = await candidate(api).fail(query)
    assert error["message"] == "`Health.load` is not for CANDIDATE."
    assert await candidate(api).ask("{ health { status } }")
    answer = (await candidate(api).post(query)).json()
    assert "data" not in answer


async def test_a_back_end_lets_a_browser_in(api: Api, store: Store) -> None:
    made = await new_key(store)
    key = with_token(api, made.text.get_secret_value())
    query = """mutation T($input: CreateAccessTokenInput!) { createAccessToken(input: $input) {
        accessToken expiresAt errors { code message path } } }"""
    wanted = {"role": "CANDIDATE", "sessionId": "interview-7", "subject": "ada"}
    payload = (await key.ask(query, input=wanted))["createAccessToken"]
    assert payload["errors"] == []
    ada = with_token(api, payload["accessToken"])
    viewer = (await ada.ask(VIEWER))["viewer"]
    assert (viewer["owner"], viewer["role"], viewer["subject"], viewer["sessionId"]) == (
        "acme",
        "CANDIDATE",
        "ada",
        "interview-7",
    )
    assert viewer["expiresAt"] == payload["expiresAt"]
    assert (await ada.run(PROGRAM))["sessionId"] == "interview-7"
    await store.registry.revoke_key(made.key.id, datetime.now(UTC))
    assert (await ada.post(VIEWER)).status_code == 401


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"expiresInSeconds": 0}, "expiresInSeconds"),
        ({"expiresInSeconds": -5}, "expiresInSeconds"),
        ({"expiresInSeconds": 86_401}, "expiresInSeconds"),
        ({"subject": ""}, "subject"),
        ({"subject": "a\n"}, "subject"),
        ({"sessionId": "a" * 201}, "sessionId"),
    ],
)
async def test_a_token_that_makes_no_sense_is_not_made(api: Api, change: Json, path: str) -> None:
    query = """mutation T($input: CreateAccessTokenInput!) { createAccessToken(input: $input) {
        accessToken errors { code path } } }"""
    wanted = {"role": "CANDIDATE", "sessionId": "s", "subject": "ada"} | change
    payload = (await service(api).ask(query, input=wanted))["createAccessToken"]
    assert payload == {
        "accessToken": None,
        "errors": [{"code": "INVALID_INPUT", "path": [path]}],
    }


async def test_nobody_hands_on_more_time_than_it_has(open_api: Open) -> None:
    query = """mutation { createAccessToken(input: {
        role: CANDIDATE, sessionId: "s", subject: "a" }) { expiresAt errors { message } } }"""
    async with open_api(FakeExecutor(), jwt_secret=SECRET, jwt_longest=900) as api:
        brief = service(api, exp=datetime.now(UTC) + timedelta(seconds=60))
        usual = service(api, exp=datetime.now(UTC) + timedelta(seconds=900))
        ends = [
            datetime.fromisoformat((await each.ask(query))["createAccessToken"]["expiresAt"])
            for each in (brief, usual)
        ]
    left = [(end - datetime.now(UTC)).total_seconds() for end in ends]
    assert left[0] <= 60
    assert 60 < left[1] <= 900


async def test_without_a_secret_no_token_is_made(open_api: Open, store: Store) -> None:
    made = await new_key(store)
    async with open_api(FakeExecutor()) as api:
        key = with_token(api, made.text.get_secret_value())
        query = """mutation { createAccessToken(input: {
            role: CANDIDATE, sessionId: "s", subject: "a" }) { accessToken errors { message } } }"""
        payload = (await key.ask(query))["createAccessToken"]
    assert payload["accessToken"] is None
    assert "GREENROOM_JWT_SECRET" in payload["errors"][0]["message"]


async def test_an_administrator_manages_keys_and_reads_the_log(api: Api, store: Store) -> None:
    root = with_token(api, (await new_key(store, role=Role.ADMIN)).text.get_secret_value())
    query = """mutation K($input: CreateApiKeyInput!) { createApiKey(input: $input) {
        secret apiKey { id owner name role prefix } errors { path } } }"""
    wanted = {"owner": "umbrella", "name": "their back end", "role": "SERVICE"}
    made = (await root.ask(query, input=wanted))["createApiKey"]
    assert made["secret"].startswith(made["apiKey"]["prefix"])
    umbrella = with_token(api, made["secret"])
    run = await umbrella.run(PROGRAM)
    listed = await root.ask("{ apiKeys { prefix owner } serverInfo { version isGuarded } }")
    assert {"prefix": made["apiKey"]["prefix"], "owner": "umbrella"} in listed["apiKeys"]
    assert made["secret"] not in str(listed)
    drop = """mutation D($id: ID!) { revokeApiKey(input: { id: $id }) {
        apiKey { revokedAt } errors { code } } }"""
    dropped = (await root.ask(drop, id=made["apiKey"]["id"]))["revokeApiKey"]
    assert dropped["apiKey"]["revokedAt"] is not None
    assert (await umbrella.post(VIEWER)).status_code == 401
    assert (await root.ask(drop, id="nothing"))["revokeApiKey"]["errors"] == [{"code": "NOT_FOUND"}]
    log = '{ auditLog(filter: { owner: "umbrella" }) { nodes { action target role } } }'
    [entry] = (await root.ask(log))["auditLog"]["nodes"]
    assert (entry["action"], entry["role"]) == ("EXECUTE", "SERVICE")
    assert entry["target"] == str(decode_id(run["id"]))


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"owner": "a b"}, "owner"),
        ({"owner": ""}, "owner"),
        ({"name": ""}, "name"),
        ({"name": "a\0"}, "name"),
        ({"role": "CANDIDATE"}, "role"),
        ({"expiresInDays": 0}, "expiresInDays"),
        ({"expiresInDays": 2**31 - 1}, "expiresInDays"),
    ],
)
async def test_a_key_that_makes_no_sense_is_not_made(
    api: Api, store: Store, change: Json, path: str
) -> None:
    root = with_token(api, (await new_key(store, role=Role.ADMIN)).text.get_secret_value())
    query = """mutation K($input: CreateApiKeyInput!) { createApiKey(input: $input) {
        secret errors { path } } }"""
    wanted = {"owner": "acme", "name": "x", "role": "SERVICE"} | change
    payload = (await root.ask(query, input=wanted))["createApiKey"]
    assert payload == {"secret": None, "errors": [{"path": [path]}]}


async def log_of(store: Store, api: Api) -> list[tuple[str, str | None, str]]:
    root = with_token(api, (await new_key(store, role=Role.ADMIN)).text.get_secret_value())
    entries = (await root.ask("{ auditLog { nodes { action subject target } } }"))["auditLog"]
    return [(each["action"], each["subject"], each["target"]) for each in entries["nodes"][::-1]]


async def test_the_log_says_who_did_what(api: Api, store: Store) -> None:
    run = await candidate(api).run(PROGRAM)
    id = str(decode_id(run["id"]))
    for _ in range(3):
        await interviewer(api).look(run["id"])
    await candidate(api).cancel(run["id"])
    await service(api).ask(
        'mutation E { deleteExecutions(input: { sessionId: "interview-1" }) { deletedCount } }'
    )
    assert await log_of(store, api) == [
        ("EXECUTE", "ada", id),
        ("READ", "ivan", id),
        ("CANCEL", "ada", id),
        ("ERASE", "back end", "session interview-1"),
    ]


async def test_who_runs_another_s_program_again_has_read_it(api: Api, store: Store) -> None:
    run = await candidate(api).run(PROGRAM)
    query = """mutation R($id: ID!) { rerunExecution(input: { id: $id }) {
        execution { id } errors { code } } }"""
    again = (await service(api).ask(query, id=run["id"]))["rerunExecution"]["execution"]["id"]
    await candidate(api).ask(query, id=run["id"])
    ids = [str(decode_id(id)) for id in (run["id"], again)]
    assert (await log_of(store, api))[:3] == [
        ("EXECUTE", "ada", ids[0]),
        ("READ", "back end", ids[0]),
        ("EXECUTE", "back end", ids[1]),
    ]
    assert [action for action, *_ in (await log_of(store, api))[3:]] == ["EXECUTE"]


async def test_the_log_says_for_whom_a_token_is_and_what_was_to_be_erased(
    api: Api, store: Store
) -> None:
    for query in (
        """mutation T { createAccessToken(input: {
            role: CANDIDATE, sessionId: "s 1", subject: "ada" }) { expiresAt } }""",
        """mutation E { deleteExecutions(input: {
            filter: { statusIn: [FAILED, CRASHED], label: "x" } }) { deletedCount } }""",
    ):
        await service(api).ask(query)
    assert [(action, target) for action, _, target in await log_of(store, api)] == [
        ("CREATE_TOKEN", "CANDIDATE ada in s 1"),
        ("ERASE", "filter statuses=CRASHED,FAILED label=x"),
    ]


@pytest.mark.parametrize("text", ["\0", "\ud800"])
@pytest.mark.parametrize("name", ["owner", "subject", "sessionId"])
async def test_what_no_log_can_hold_is_not_looked_for(
    api: Api, store: Store, name: str, text: str
) -> None:
    root = with_token(api, (await new_key(store, role=Role.ADMIN)).text.get_secret_value())
    query = "query L($filter: AuditFilter) { auditLog(filter: $filter) { nodes { target } } }"
    error = await root.fail(query, filter={name: text})
    assert name in error["message"]


async def test_who_only_looks_at_a_status_has_not_read(api: Api, store: Store) -> None:
    await candidate(api).run(PROGRAM)
    await interviewer(api).ask("{ executions { nodes { id status usage { wallTimeMs } } } }")
    assert [action for action, *_ in await log_of(store, api)] == ["EXECUTE"]


async def test_the_log_is_paged(api: Api, store: Store) -> None:
    root = with_token(api, (await new_key(store, role=Role.ADMIN)).text.get_secret_value())
    ids = [str(decode_id((await candidate(api).run(PROGRAM))["id"])) for _ in range(3)]
    query = """query L($after: String) { auditLog(first: 2, after: $after) {
        nodes { target } pageInfo { hasNextPage endCursor } } }"""
    first = (await root.ask(query))["auditLog"]
    second = (await root.ask(query, after=first["pageInfo"]["endCursor"]))["auditLog"]
    found = [each["target"] for each in (*first["nodes"], *second["nodes"])]
    assert found == ids[::-1]
    assert (first["pageInfo"]["hasNextPage"], second["pageInfo"]["hasNextPage"]) == (True, False)
    assert "first" in (await root.fail("{ auditLog(first: 0) { nodes { target } } }"))["message"]


async def test_requests_are_limited_for_each_person(open_api: Open) -> None:
    async with open_api(
        FakeExecutor(), jwt_secret=SECRET, rate_requests_per_subject="3/minute"
    ) as api:
        ada = candidate(api)
        answers = [await ada.post("{ __typename }") for _ in range(4)]
        assert [answer.status_code for answer in answers] == [200, 200, 200, 429]
        assert [answer.headers["ratelimit-remaining"] for answer in answers[:3]] == ["2", "1", "0"]
        last = answers[3]
        assert [last.headers[f"ratelimit-{name}"] for name in ("limit", "remaining", "reset")] == [
            "3",
            "0",
            last.headers["retry-after"],
        ]
        assert 0 < int(last.headers["retry-after"]) <= 60
        [error] = last.json()["errors"]
        assert error["extensions"]["code"] == "RATE_LIMITED"
        assert 0 < error["extensions"]["retryAfterMs"] <= 60_000
        assert (await candidate(api, subject="bob").post("{ __typename }")).status_code == 200


async def test_requests_are_limited_for_each_address_also_of_nobody(open_api: Open) -> None:
    async with open_api(
        FakeExecutor(), jwt_secret=SECRET, rate_requests_per_address="2/minute"
    ) as api:
        codes = [(await api.post("{ __typename }")).status_code for _ in range(3)]
        assert codes == [401, 401, 429]


@pytest.mark.parametrize(
    ("host", "counted_as"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("fe80::1%eth0", "fe80::/64"),
        ("a name", "a name"),
        (None, "unknown"),
    ],
)
def test_an_address_is_what_one_customer_has(host: str | None, counted_as: str) -> None:
    assert address_of({"client": None if host is None else (host, 1)}) == counted_as


async def test_a_request_that_is_wrong_says_what_is_left_too(open_api: Open) -> None:
    async with open_api(
        FakeExecutor(), jwt_secret=SECRET, rate_requests_per_subject="3/minute"
    ) as api:
        wrong = await api.http.put("/graphql", headers=candidate(api).headers)
        assert (wrong.status_code, wrong.headers["ratelimit-remaining"]) == (405, "2")


async def test_executions_are_limited_and_said_as_data(open_api: Open) -> None:
    async with open_api(
        FakeExecutor(), jwt_secret=SECRET, rate_executions_per_subject="2/hour"
    ) as api:
        ada = candidate(api)
        await ada.run(PROGRAM)
        await ada.run(PROGRAM)
        [error] = await ada.refuse(PROGRAM)
        assert (error["__typename"], error["code"]) == ("RateLimited", "RATE_LIMITED")
        viewer = (await ada.ask(VIEWER))["viewer"]
        assert viewer["executionRateLimit"] == {"limit": 2}
        assert viewer["rateLimit"]["remaining"] < viewer["rateLimit"]["limit"]
        assert (await ada.ask(PAGE))["executions"]["totalCount"] == 2


QUOTA = """
{ viewer { quota { executionsLimit executionsUsed cpuSecondsLimit cpuSecondsUsed resetAt } } }
"""


async def test_a_day_has_so_many_executions_for_an_owner(open_api: Open) -> None:
    async with open_api(FakeExecutor(), jwt_secret=SECRET, quota_executions=2) as api:
        await candidate(api).run(PROGRAM)
        await service(api).run(PROGRAM)
        [error] = await candidate(api, subject="bob").refuse(PROGRAM)
        assert (error["__typename"], error["code"]) == ("QuotaExceeded", "QUOTA_EXCEEDED")
        assert "2 executions a day" in error["message"]
        await service(api, "umbrella").run(PROGRAM)
        quota = (await service(api).ask(QUOTA))["viewer"]["quota"]
        assert (quota["executionsLimit"], quota["executionsUsed"]) == (2, 2)
        # What was erased was had all the same.
        await service(api).ask(
            'mutation { deleteExecutions(input: { sessionId: "interview-1" }) { deletedCount } }'
        )
        assert await service(api).refuse(PROGRAM)


async def test_a_day_has_so_much_processor_time_for_an_owner(open_api: Open) -> None:
    async with open_api(FakeExecutor(), jwt_secret=SECRET, quota_cpu_seconds=0.2) as api:
        ada = candidate(api)
        await ada.run(PROGRAM)  # 0.125 s each
        await ada.run(PROGRAM)
        [error] = await ada.refuse(PROGRAM)
        assert error["code"] == "QUOTA_EXCEEDED"
        quota = (await service(api).ask(QUOTA))["viewer"]["quota"]
        assert (quota["cpuSecondsLimit"], quota["cpuSecondsUsed"]) == (0.2, 0.25)


async def test_a_person_has_only_so_many_at_one_time(open_api: Open) -> None:
    gate = Gate()
    async with open_api(
        FakeExecutor(gate), jwt_secret=SECRET, concurrency_per_subject=2, slots=1
    ) as api:
        ada = candidate(api)
        runs = [await ada.run(PROGRAM, waitMs=0) for _ in range(2)]
        [error] = await ada.refuse(PROGRAM, waitMs=0)
        assert (error["__typename"], error["code"]) == ("RateLimited", "RATE_LIMITED")
        assert (await candidate(api, subject="bob").run(PROGRAM, waitMs=0))["status"] == "QUEUED"
        gate.ends.set()
        for run in runs:
            await ada.end_of(run["id"])
        assert (await ada.run(PROGRAM))["status"] == "SUCCEEDED"


async def test_an_owner_has_only_so_many_at_one_time(open_api: Open) -> None:
    gate = Gate()
    async with open_api(FakeExecutor(gate), jwt_secret=SECRET, concurrency_per_owner=1) as api:
        await candidate(api).run(PROGRAM, waitMs=0)
        assert await service(api).refuse(PROGRAM, waitMs=0)
        assert (await service(api, "umbrella").run(PROGRAM, waitMs=0))["status"] == "RUNNING"
        gate.ends.set()


async def test_metrics_are_for_administrators(api: Api, store: Store) -> None:
    assert (await api.http.get("/metrics")).status_code == 401
    assert (await api.http.get("/metrics", headers=service(api).headers)).status_code == 403
    root = with_token(api, (await new_key(store, role=Role.ADMIN)).text.get_secret_value())
    assert "greenroom_slots" in (await api.http.get("/metrics", headers=root.headers)).text


async def test_where_nobody_asks_everybody_is_the_one_owner(open_api: Open) -> None:
    async with open_api(FakeExecutor()) as api:
        viewer = (await api.ask(VIEWER))["viewer"]
        assert (viewer["owner"], viewer["role"], viewer["rateLimit"]) == ("local", "ADMIN", None)
        run = await api.run(PROGRAM)
        assert run["sessionId"] is None
        log = (await api.ask("{ auditLog { nodes { action } } }"))["auditLog"]
        assert log == {"nodes": []}


async def test_hostile_authorization_headers_are_refused_and_not_repeated(api: Api) -> None:
    for text in ("Bearer " + "a" * 20_000, "Bearer \x7f", "Bearer a b c", "bearer\tx", "\xff"):
        headers = {b"authorization": text.encode("latin-1")}
        answer = await api.http.post("/graphql", json={"query": PAGE}, headers=headers)
        assert answer.status_code == 401
        assert "aaaa" not in answer.text


def test_the_documents_of_the_table_are_real() -> None:
    """Each root field is tried, and none is forgotten."""
    tried = {field for field, _ in operations()}
    roots = {each for each in RULES if each.split(".")[0] in {"Query", "Mutation"}}
    assert tried == roots
