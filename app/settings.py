"""Every setting, read once: from the environment, then from `.env`."""

import os
from dataclasses import fields, replace
from datetime import timedelta
from ipaddress import ip_network
from pathlib import Path
from typing import Annotated, Literal
from urllib.parse import urlsplit

from limits import parse as parse_rate
from pydantic import (
    AfterValidator,
    BeforeValidator,
    ByteSize,
    Field,
    SecretStr,
    TypeAdapter,
    ValidationInfo,
    field_validator,
)
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from app.access.keyring import Keyring
from app.access.rates import Rates
from app.access.tokens import TokenRules, Tokens
from app.domain.access import Shares
from app.domain.limits import COMPILE_LIMITS, DEFAULT_LIMITS, MAXIMUM_LIMITS, MIB, Limits
from app.executions.rules import Rules
from app.executors.modal.credentials import MODAL_SERVER, Token, read_token
from app.languages import LanguageId

_CPUS = len(os.sched_getaffinity(0))
_RULES = Rules()
_SECRETS = frozenset(
    {"MODAL_TOKEN_ID", "MODAL_TOKEN_SECRET", "MODAL_API_KEY", "GREENROOM_JWT_SECRET"}
)
_SHORTEST_SECRET = 32  # characters; as long as the digest of HS256 (RFC 7518, 3.2)
_NO_RATE = "off"
_MAXIMUMS = tuple(f"max_{field.name}" for field in fields(Limits))

Positive = Annotated[int, Field(gt=0)]
# A plain integer for the house, which a person may write as `64MiB`.
Bytes = Annotated[int, BeforeValidator(TypeAdapter(ByteSize).validate_python), Field(gt=0)]
Seconds = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Names = Annotated[tuple[str, ...], NoDecode]


def _require_rate(text: str) -> str:
    if text != _NO_RATE:
        try:
            parse_rate(text)
        except ValueError as error:
            message = "it looks like `100/minute`, or `off`"
            raise ValueError(message) from error
    return text


Rate = Annotated[str, AfterValidator(_require_rate)]


class Settings(BaseSettings):
    """Settings of a server. Times in seconds; sizes in bytes, or written as `64MiB`."""

    model_config = SettingsConfigDict(
        env_prefix="GREENROOM_",
        env_file=".env",
        env_file_encoding="utf-8",
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        populate_by_name=True,
        hide_input_in_errors=True,
    )

    host: str = Field(
        "127.0.0.1",
        description="Address to listen on; others than this machine's own need keys or tokens.",
    )
    port: int = Field(8000, ge=0, le=65535, description="Port to listen on; 0 takes a free one.")
    worker_port: int | None = Field(
        None,
        ge=0,
        le=65535,
        description="Port on which a worker answers `/healthz`, `/readyz` and `/metrics`; "
        "unset: none.",
    )
    database_url: SecretStr = Field(
        SecretStr("sqlite+aiosqlite:///./greenroom.db"),
        description="Where the history is kept: an SQLite file or a PostgreSQL database.",
    )
    executor: Literal["auto", "local", "modal"] = Field(
        "auto",
        description="Where programs run: `local` is the embedded Linux sandbox; `auto` is Modal "
        "when there is a Modal token, and `local` otherwise.",
    )
    languages: Names = Field(
        (),
        description="Languages that programs may be in, such as `PYTHON,C`; unset: all that are "
        "found. A server that looks for fewer starts sooner.",
    )
    executables: dict[str, Path] = Field(
        {}, description='Interpreters of your choice: {"PYTHON": "/usr/bin/python3.12"}.'
    )
    environments: Path = Field(
        Path("environments"), description="Folder in which `greenroom env build` keeps packages."
    )
    allowed_hosts: Names = Field(
        ("localhost", "127.0.0.1", "[::1]"),
        description="Host names under which this server may be asked, separated by commas.",
    )
    cors_origins: Names = Field(
        (), description="Origins of frontends that may ask, separated by commas."
    )
    cors_localhost: bool = Field(
        default=True, description="Whether frontends on localhost, any port, may ask as well."
    )
    graphiql: bool = Field(default=True, description="Whether browsers get GraphiQL at /graphql.")
    trusted_proxies: Names = Field(
        (),
        description="Addresses or networks of proxies whose `X-Forwarded-For` and "
        "`X-Forwarded-Proto` are believed, separated by commas.",
    )
    production: bool = Field(
        default=False,
        description="Switches introspection, suggestions in errors and GraphiQL off, whatever "
        "their settings say.",
    )
    introspection: bool = Field(
        default=True, description="Whether the schema can be asked for (`__schema`, `__type`)."
    )
    suggestions: bool = Field(
        default=True, description='Whether errors in documents say "Did you mean".'
    )
    max_body: Bytes = Field(8 * 2**20, description="The largest request body.")
    body_time: Seconds = Field(30.0, description="How long a request body may take to arrive.")
    max_document: Positive = Field(
        32 * 1024, description="Characters of a GraphQL document; long texts go into variables."
    )
    max_tokens: Positive = Field(1000, description="Tokens of a document.")
    max_depth: Positive = Field(15, description="Fields of a document inside each other.")
    max_aliases: int = Field(
        30, ge=0, description="Aliases of an operation, with fields that it repeats."
    )
    max_fragments: int = Field(
        30, ge=0, description="Fragments of a document, which are compared with each other."
    )
    max_root_fields: Positive = Field(20, description="Fields of an operation's first level.")
    max_directives: int = Field(20, ge=0, description="Directives of an operation.")
    max_cost: Positive = Field(
        20_000, description="Fields that an answer could have, with each page as full as asked for."
    )
    max_errors: int = Field(8, ge=2, description="Errors that are returned of one operation.")
    operation_time: Seconds = Field(
        90.0, description="How long an operation may take, or an event of a subscription."
    )
    document_cache: Bytes = Field(
        4 * MIB, description="Parsed and valid documents that are kept ready."
    )
    slots: Positive = Field(_CPUS, description="Programs that run at one time.")
    queue_size: Positive = Field(2000, description="Programs that wait for a slot, in all.")
    queue_size_per_owner: Positive = Field(1000, description="Programs of one owner that wait.")
    lease: Seconds = Field(
        15.0, description="How long a process may be silent before others take over its programs."
    )
    max_subscribers: int = Field(
        1000, ge=0, description="WebSockets and event streams at one time, of this process."
    )
    max_subscribers_per_owner: int = Field(
        500, ge=0, description="Of these, the most that one tenant may have."
    )
    max_subscribers_per_subject: int = Field(
        20, ge=0, description="And the most that one person of a tenant may have."
    )
    interactive_idle: Seconds = Field(
        120.0, description="How long an interactive program may wait with nothing happening."
    )
    interactive_wall_time: Seconds = Field(
        _RULES.interactive_wall_time,
        description="Wall time of an interactive program: default and highest.",
    )
    warm_cells: Literal["auto", "0"] = Field(
        "auto",
        description="Whether local cells with an interpreter that is up wait for programs; "
        "with `0` each program starts its own.",
    )
    drain: Seconds = Field(10.0, description="How long a stopping server lets programs end.")
    retention_days: Annotated[float, Field(gt=0, le=36_500)] | None = Field(
        None, description="After how many days executions are erased; unset: never."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        "info", description="How much is logged."
    )
    log_format: Literal["console", "json"] = Field(
        "console", description="How the log reads: for people, or `json` for machines."
    )

    jwt_secret: SecretStr | None = Field(
        None,
        description="Secret that access tokens are made and proved with (HS256), at least 32 "
        "characters; several, separated by commas, all prove them and the first makes them.",
    )
    jwks_url: str | None = Field(
        None, description="Where the public keys are of whoever makes access tokens elsewhere."
    )
    jwt_audience: str = Field(
        "greenroom", min_length=1, description="What access tokens must have as `aud`."
    )
    jwt_issuer: str | None = Field(None, description="What they must have as `iss`, if set.")
    jwt_leeway: float = Field(
        30.0, ge=0, le=300, description="How far the clocks of token makers may differ."
    )
    jwt_longest: Seconds = Field(
        86_400.0, description="The longest time that an access token may live."
    )
    rate_requests_per_key: Rate = Field(
        "6000/minute", description="Requests of one API key; `off` for no limit."
    )
    rate_requests_per_subject: Rate = Field(
        "600/minute", description="Requests of one person with access tokens."
    )
    rate_requests_per_address: Rate = Field(
        "6000/minute", description="Requests from one address, whoever sends them."
    )
    rate_executions_per_key: Rate = Field(
        "3000/minute", description="Executions of one API key; `off` for no limit."
    )
    rate_executions_per_subject: Rate = Field("60/minute", description="Of one person.")
    rate_executions_per_address: Rate = Field("3000/minute", description="From one address.")
    quota_executions: Positive | None = Field(
        None, description="Executions of one owner a day, in UTC; unset: any number."
    )
    quota_cpu_seconds: Seconds | None = Field(
        None, description="CPU time of one owner's programs a day; unset: any."
    )
    quota_submissions: Positive | None = Field(
        None, description="Submissions (`kind: SUBMIT`) of one owner a day; unset: any number."
    )
    quota_submissions_per_session: Positive | None = Field(
        100, description="Submissions in one session a day: each tells a bit of hidden tests."
    )
    concurrency_per_owner: Positive | None = Field(
        None, description="Executions of one owner that have not ended; unset: any number."
    )
    concurrency_per_subject: Positive | None = Field(
        8, description="Executions of one person that have not ended."
    )

    modal_token_id: SecretStr | None = Field(
        None, validation_alias="MODAL_TOKEN_ID", description="First part of a Modal token: `ak-…`."
    )
    modal_token_secret: SecretStr | None = Field(
        None, validation_alias="MODAL_TOKEN_SECRET", description="Its second part: `as-…`."
    )
    modal_api_key: SecretStr | None = Field(
        None, validation_alias="MODAL_API_KEY", description="Or both parts in one: `ak-…:as-…`."
    )
    modal_server_url: str = Field(
        MODAL_SERVER,
        validation_alias="MODAL_SERVER_URL",
        description="Where the token is sent; refused if it is not Modal's own.",
    )
    modal_allow_loopback: bool = Field(
        default=False, description="Accept a Modal server on this machine, for development."
    )
    modal_max_boxes: Positive = Field(
        20, description="Programs that run on Modal at one time (instead of `GREENROOM_SLOTS`)."
    )
    modal_warm_min: int = Field(1, ge=0, description="Sandboxes that are always kept ready.")
    modal_warm_max: Positive = Field(10, description="The most that are kept ready under load.")
    modal_box_age: Seconds = Field(600.0, description="When an unused sandbox is retired.")
    modal_create_rate: Annotated[float, Field(gt=0)] = Field(
        4.0, description="Sandboxes created a second, until Modal says that it is too fast."
    )
    modal_create_burst: Positive = Field(8, description="Sandboxes created at once.")
    modal_budget: Seconds = Field(30.0, description="How long a run waits for a sandbox.")
    modal_cpu: Annotated[float, Field(ge=0.125)] = Field(
        1.0, description="Processor cores of a sandbox, as request and as limit."
    )

    default_wall_time: Seconds = Field(DEFAULT_LIMITS.wall_time, description="Default wall time.")
    default_cpu_time: Seconds = Field(DEFAULT_LIMITS.cpu_time, description="Default CPU time.")
    default_memory: Bytes = Field(DEFAULT_LIMITS.memory, description="Default memory.")
    default_output: Bytes = Field(
        DEFAULT_LIMITS.output, description="Default output, for each stream."
    )
    default_processes: Positive = Field(DEFAULT_LIMITS.processes, description="Default processes.")
    default_disk: Bytes = Field(DEFAULT_LIMITS.disk, description="Default scratch disk.")
    max_wall_time: Seconds = Field(MAXIMUM_LIMITS.wall_time, description="Highest wall time.")
    max_cpu_time: Seconds = Field(MAXIMUM_LIMITS.cpu_time, description="Highest CPU time.")
    max_memory: Bytes = Field(MAXIMUM_LIMITS.memory, description="Highest memory.")
    max_output: Bytes = Field(MAXIMUM_LIMITS.output, description="Highest output, for each stream.")
    max_processes: Positive = Field(MAXIMUM_LIMITS.processes, description="Highest processes.")
    max_disk: Bytes = Field(MAXIMUM_LIMITS.disk, description="Highest scratch disk.")
    compile_wall_time: Seconds = Field(
        COMPILE_LIMITS.wall_time, description="How long a compiler may take."
    )
    compile_memory: Bytes = Field(COMPILE_LIMITS.memory, description="Memory of a compiler.")
    compile_cache: Bytes = Field(
        512 * MIB, description="Compiled programs that are kept on disk, to be used again."
    )
    max_source: Bytes = Field(_RULES.source, description="The longest program.")
    max_stdin: Bytes = Field(_RULES.stdin, description="The longest standard input.")
    max_args: Positive = Field(_RULES.args, description="The most arguments.")
    max_args_size: Bytes = Field(_RULES.args_size, description="All arguments together.")
    max_files: Positive = Field(_RULES.files, description="The most files beside the program.")
    max_files_size: Bytes = Field(_RULES.files_size, description="All these files together.")
    max_tests: Positive = Field(_RULES.tests, description="The most tests of a program.")
    max_tests_size: Bytes = Field(
        _RULES.tests_size, description="What all these tests read and expect, together."
    )
    tests_time: Seconds = Field(
        300.0, description="How long all tests of a program may take together."
    )
    max_metadata: Bytes = Field(_RULES.metadata, description="The largest metadata.")

    @field_validator("allowed_hosts", "cors_origins", "languages", "trusted_proxies", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if isinstance(value, str):
            return tuple(name.strip() for name in value.split(",") if name.strip())
        return value

    @field_validator("languages")
    @classmethod
    def _are_languages(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := set(value) - set(LanguageId):
            message = f"there is no {min(unknown)}, but {', '.join(sorted(LanguageId))}"
            raise ValueError(message)
        return value

    @field_validator("trusted_proxies")
    @classmethod
    def _are_networks(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for name in value:
            ip_network(name)  # raises a ValueError that names it
        return value

    @field_validator(*_MAXIMUMS)
    @classmethod
    def _is_above_default(cls, value: float, info: ValidationInfo) -> float:
        name = f"default_{str(info.field_name).removeprefix('max_')}"
        if name in info.data and value < info.data[name]:
            message = "it is lower than the default, so that every run would be refused"
            raise ValueError(message)
        return value

    @field_validator("jwt_secret")
    @classmethod
    def _is_long_enough(cls, value: SecretStr | None) -> SecretStr | None:
        secrets = [] if value is None else _parts(value)
        if value is not None and not secrets:
            message = "it is empty"
            raise ValueError(message)
        if any(len(secret.get_secret_value()) < _SHORTEST_SECRET for secret in secrets):
            message = (
                f"a secret needs at least {_SHORTEST_SECRET} characters: `openssl rand -hex 32`"
            )
            raise ValueError(message)
        return value

    @field_validator("jwks_url")
    @classmethod
    def _is_safe(cls, value: str | None) -> str | None:
        if value is not None:
            url = urlsplit(value)
            is_local = url.hostname in {"localhost", "127.0.0.1", "::1"}
            if url.scheme != "https" and not (url.scheme == "http" and is_local):
                message = "it must begin with https://, or who is in between chooses the keys"
                raise ValueError(message)
        return value

    def tokens(self) -> Tokens:
        """Return what reads and makes access tokens."""
        return Tokens(
            [] if self.jwt_secret is None else _parts(self.jwt_secret),
            None if self.jwks_url is None else Keyring(self.jwks_url),
            TokenRules(
                audience=self.jwt_audience,
                issuer=self.jwt_issuer,
                leeway=self.jwt_leeway,
                longest=self.jwt_longest,
            ),
        )

    def rates(self, of: Literal["requests", "executions"]) -> Rates:
        """Return how often each may do something."""
        rates = (getattr(self, f"rate_{of}_per_{who}") for who in ("key", "subject", "address"))
        return Rates(*(None if rate == _NO_RATE else parse_rate(rate) for rate in rates))

    @property
    def shares(self) -> Shares:
        """How much each owner may have run."""
        return Shares(
            executions_a_day=self.quota_executions,
            cpu_seconds_a_day=self.quota_cpu_seconds,
            submissions_a_day=self.quota_submissions,
            submissions_of_session=self.quota_submissions_per_session,
            at_once_of_owner=self.concurrency_per_owner,
            at_once_of_subject=self.concurrency_per_subject,
        )

    def modal_token(self) -> Token | None:
        """Return the Modal token, if there is one.

        Raises:
            BadToken: what is set is no token.
        """
        return read_token(
            id=self.modal_token_id, secret=self.modal_token_secret, both=self.modal_api_key
        )

    @property
    def retention(self) -> timedelta | None:
        """How long executions are kept, or None for as long as there is room."""
        return None if self.retention_days is None else timedelta(days=self.retention_days)

    @property
    def compile_limits(self) -> Limits:
        """What a compiler may use."""
        return replace(COMPILE_LIMITS, wall_time=self.compile_wall_time, memory=self.compile_memory)

    @property
    def rules(self) -> Rules:
        """The operator's rules for submissions."""
        return Rules(
            defaults=Limits(
                wall_time=self.default_wall_time,
                cpu_time=self.default_cpu_time,
                memory=self.default_memory,
                output=self.default_output,
                processes=self.default_processes,
                disk=self.default_disk,
            ),
            maximums=Limits(
                wall_time=self.max_wall_time,
                cpu_time=self.max_cpu_time,
                memory=self.max_memory,
                output=self.max_output,
                processes=self.max_processes,
                disk=self.max_disk,
            ),
            source=self.max_source,
            stdin=self.max_stdin,
            args=self.max_args,
            args_size=self.max_args_size,
            files=self.max_files,
            files_size=self.max_files_size,
            tests=self.max_tests,
            tests_size=self.max_tests_size,
            metadata=self.max_metadata,
            interactive_wall_time=self.interactive_wall_time,
        )


def _parts(secret: SecretStr) -> list[SecretStr]:
    parts = (part.strip() for part in secret.get_secret_value().split(","))
    return [SecretStr(part) for part in parts if part]


def read_settings(**chosen: object) -> Settings:
    """Read the settings, and take what is secret of them out of the environment.

    Who starts a process, or shows the environment in an error, must not give it away.
    """
    settings = Settings(**chosen)  # type: ignore[arg-type]
    for name in [name for name in os.environ if name.upper() in _SECRETS]:
        del os.environ[name]
    return settings
