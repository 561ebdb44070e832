"""Which role may use which field: one table, and the check of a document against it.

Every field of the schema stands here; one that does not is nobody's, and a test fails. What an
operation names is known before it begins, so whoever may not use a part of it gets an error and
nothing is done. Which executions there are for a caller is another matter: `Caller.may_see`.

A field of an interface stands for the same field of every type that implements it.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from types import MappingProxyType
from typing import Any, TypeAlias

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLSchema,
    OperationDefinitionNode,
    TypeInfo,
    TypeInfoVisitor,
    Visitor,
    visit,
)

from app.api.refusals import Code, refused
from app.domain.access import Role

EVERYBODY = frozenset(Role)
WHO_RUNS = EVERYBODY - {Role.INTERVIEWER}
OWNERS = frozenset({Role.SERVICE, Role.ADMIN})
ADMINISTRATORS = frozenset({Role.ADMIN})

_MISTAKE = "code message path"
_EVENT = "executionId sequence at"

TABLE: Mapping[str, Mapping[frozenset[Role], str]] = {
    "Query": {
        EVERYBODY: "node execution executions executionStats languages limits health viewer",
        ADMINISTRATORS: "serverInfo apiKeys auditLog",
    },
    "Mutation": {
        WHO_RUNS: "executeCode executeCodeBatch rerunExecution cancelExecution sendInput",
        OWNERS: "deleteExecutions createAccessToken",
        ADMINISTRATORS: "createApiKey revokeApiKey",
    },
    "Subscription": {EVERYBODY: "executionEvents sessionExecutions"},
    # An execution and what belongs to it.
    "Node": {EVERYBODY: "id"},
    "Execution": {
        EVERYBODY: "id status language languageVersion limits limitsHit subject sessionId label "
        "metadata isInteractive executor attempt queue rerunOf createdAt startedAt finishedAt "
        "exitCode signal timeLimit message usage compile source files entryPoint stdin args "
        "stdout stderr stdoutStream stderrStream events kind verdict tests testSummary "
        "environment artifacts artifactsLeftOut"
    },
    "Artifact": {EVERYBODY: "path mediaType byteSize base64"},
    "TestCall": {EVERYBODY: "function arguments expectedValue returnedValue"},
    "TestResult": {
        EVERYBODY: "position name isHidden weight verdict status exitCode signal timeLimit message "
        "endedAt isTruncated usage call stdin args files limits stdout stderr expectedStdout "
        "comparison diff"
    },
    "TestSummary": {
        EVERYBODY: "total pending passed failed errors skipped weight passedWeight slowest"
    },
    "QueuePlace": {EVERYBODY: "position ageMs"},
    "CompilePhase": {EVERYBODY: "status exitCode message isCached stdout stderr usage"},
    "File": {EVERYBODY: "path text base64 byteSize"},
    "Limits": {EVERYBODY: "wallTimeMs cpuTimeMs memoryBytes outputBytes processes diskBytes"},
    "OutputStream": {EVERYBODY: "isTruncated base64 byteSize isLossy"},
    "ResourceUsage": {EVERYBODY: "wallTimeMs cpuTimeMs peakMemoryBytes coreSeconds gibSeconds"},
    "ExecutionEvent": {EVERYBODY: _EVENT},
    "ExecutionStatusChanged": {EVERYBODY: f"{_EVENT} status"},
    "ExecutionOutput": {EVERYBODY: f"{_EVENT} stream text base64"},
    "ExecutionTestFinished": {EVERYBODY: f"{_EVENT} test"},
    "ExecutionFinished": {EVERYBODY: f"{_EVENT} execution"},
    # The history.
    "ExecutionConnection": {EVERYBODY: "edges nodes pageInfo totalCount"},
    "ExecutionEdge": {EVERYBODY: "cursor node"},
    "PageInfo": {EVERYBODY: "hasNextPage hasPreviousPage startCursor endCursor"},
    "ExecutionStats": {EVERYBODY: "totalCount byStatus byLanguage byVerdict wallTime"},
    "StatusCount": {EVERYBODY: "status count"},
    "VerdictCount": {EVERYBODY: "verdict count"},
    "LanguageCount": {EVERYBODY: "language count"},
    "WallTimePercentiles": {EVERYBODY: "p50Ms p95Ms p99Ms"},
    # The service. What it is made of, and how full others make it, is its operator's business.
    "Language": {
        EVERYBODY: "id name version versions isAvailable unavailableReason defaultMemoryBytes "
        "isCompiled hasFunctionTests editorMode fileExtension example environments"
    },
    "Environment": {EVERYBODY: "id isAvailable unavailableReason packages"},
    "Package": {EVERYBODY: "name version"},
    "ServiceLimits": {
        EVERYBODY: "defaults maximums sourceBytes stdinBytes args argsBytes files filesBytes "
        "tests testsBytes metadataBytes metadataDepth textLength defaultWaitMs maxWaitMs pageSize"
    },
    "Health": {EVERYBODY: "version status", OWNERS: "executor database", ADMINISTRATORS: "load"},
    "ExecutorHealth": {OWNERS: "name status memory cpuTime", ADMINISTRATORS: "problem pool"},
    "DatabaseHealth": {OWNERS: "status"},
    "Load": {ADMINISTRATORS: "slots running queueSize queued oldestAgeMs"},
    "PoolHealth": {
        ADMINISTRATORS: "ready starting target createP50Ms createP95Ms warmHitRate isBroken"
    },
    "ServerInfo": {ADMINISTRATORS: "version executor isGuarded canCreateTokens readsTokens"},
    "ApiKey": {ADMINISTRATORS: "id owner name role prefix createdAt expiresAt revokedAt"},
    "AuditConnection": {ADMINISTRATORS: "nodes pageInfo"},
    "AuditEntry": {ADMINISTRATORS: "at owner action target role keyId subject sessionId"},
    # Who asks.
    "Viewer": {
        EVERYBODY: "owner role subject sessionId expiresAt rateLimit executionRateLimit",
        # What others of the same owner have had.
        OWNERS: "quota",
    },
    "RateLimit": {EVERYBODY: "limit remaining resetAt"},
    "Quota": {
        EVERYBODY: "executionsLimit executionsUsed submissionsLimit submissionsUsed "
        "cpuSecondsLimit cpuSecondsUsed resetAt"
    },
    # Answers.
    "ExecuteCodePayload": {WHO_RUNS: "execution errors"},
    "ExecuteCodeBatchPayload": {WHO_RUNS: "payloads errors"},
    "CancelExecutionPayload": {WHO_RUNS: "execution errors"},
    "SendInputPayload": {WHO_RUNS: "execution errors"},
    "DeleteExecutionsPayload": {OWNERS: "deletedCount hasMore errors"},
    "CreateAccessTokenPayload": {OWNERS: "accessToken expiresAt errors"},
    "CreateApiKeyPayload": {ADMINISTRATORS: "apiKey secret errors"},
    "RevokeApiKeyPayload": {ADMINISTRATORS: "apiKey errors"},
    "UserError": {EVERYBODY: _MISTAKE},
    "InvalidInput": {EVERYBODY: _MISTAKE},
    "NotFound": {EVERYBODY: _MISTAKE},
    "NotRunning": {EVERYBODY: _MISTAKE},
    "NotInteractive": {EVERYBODY: _MISTAKE},
    "InputClosed": {EVERYBODY: _MISTAKE},
    "InputBufferFull": {EVERYBODY: _MISTAKE},
    "LimitTooHigh": {EVERYBODY: f"{_MISTAKE} limit requested maximum"},
    "LanguageUnavailable": {EVERYBODY: f"{_MISTAKE} available"},
    "EnvironmentUnavailable": {EVERYBODY: f"{_MISTAKE} available"},
    "VersionUnavailable": {EVERYBODY: f"{_MISTAKE} available"},
    "ServerBusy": {EVERYBODY: f"{_MISTAKE} retryAfterMs"},
    "RateLimited": {EVERYBODY: f"{_MISTAKE} retryAfterMs"},
    "QuotaExceeded": {EVERYBODY: f"{_MISTAKE} retryAfterMs"},
    "IdempotencyConflict": {EVERYBODY: f"{_MISTAKE} execution"},
    "StillRunning": {EVERYBODY: f"{_MISTAKE} executionIds"},
}


def _by_field() -> dict[str, frozenset[Role]]:
    return {
        f"{type}.{field}": roles
        for type, rules in TABLE.items()
        for roles, fields in rules.items()
        for field in fields.split()
    }


RULES: Mapping[str, frozenset[Role]] = MappingProxyType(_by_field())


def require(role: Role, fields: Iterable[str]) -> None:
    """Make sure that a role may use all of these fields.

    Raises:
        RefusedError: it may not.
    """
    if forbidden := [field for field in fields if role not in RULES.get(field, ())]:
        raise refused(Code.FORBIDDEN, f"`{min(forbidden)}` is not for {role}.")


def reachable(schema: GraphQLSchema, document: DocumentNode) -> dict[str | None, frozenset[str]]:
    """Name the fields that each operation of a valid document can reach, as `Type.field`."""
    types = TypeInfo(schema)
    found = _Fields(types)
    visit(document, TypeInfoVisitor(types, found))
    names = (
        each.name.value if each.name else None
        for each in document.definitions
        if isinstance(each, OperationDefinitionNode)
    )
    return {name: found.from_operation(name) for name in names}


_Key: TypeAlias = tuple[str, str | None]
"""A kind of definition and its name."""


class _Fields(Visitor):
    """Collects the fields and the fragments of each definition; each is looked at once."""

    def __init__(self, types: TypeInfo) -> None:
        super().__init__()
        self._types = types
        self._in: _Key = "", None
        self._fields: defaultdict[_Key, set[str]] = defaultdict(set)
        self._spreads: defaultdict[_Key, set[_Key]] = defaultdict(set)

    def from_operation(self, name: str | None) -> frozenset[str]:
        """Return the fields of an operation and of all that it spreads."""
        waiting: list[_Key] = [("operation", name)]
        seen, reached = set(waiting), set[str]()
        while waiting:
            definition = waiting.pop()
            reached |= self._fields[definition]
            more = self._spreads[definition] - seen
            seen |= more
            waiting += more
        return frozenset(reached)

    def enter_operation_definition(self, node: OperationDefinitionNode, *_: Any) -> None:
        self._in = "operation", node.name.value if node.name else None

    def enter_fragment_definition(self, node: FragmentDefinitionNode, *_: Any) -> None:
        self._in = "fragment", node.name.value

    def enter_fragment_spread(self, node: FragmentSpreadNode, *_: Any) -> None:
        self._spreads[self._in].add(("fragment", node.name.value))

    def enter_field(self, node: FieldNode, *_: Any) -> None:
        parent = self._types.get_parent_type()
        name = node.name.value
        # Introspection is for everybody who may read the schema at all.
        if parent and not name.startswith("__") and not parent.name.startswith("__"):
            self._fields[self._in].add(f"{parent.name}.{name}")
