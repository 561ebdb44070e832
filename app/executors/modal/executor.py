"""Modal as the rest of the house knows it."""

import json
import logging
import math
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass
from functools import partial
from itertools import chain, repeat
from typing import Self

import anyio
import anyio.abc

from app.domain.errors import Check, ExecutorError, Unavailable
from app.domain.execution import Exit, Output, Stream
from app.domain.language import Language
from app.domain.limits import MIB, Limits
from app.domain.ports import (
    NOT_OFFERED,
    Collect,
    Command,
    Emit,
    EnvironmentState,
    ExecutorState,
    Placed,
    Placement,
    Sandbox,
    Support,
)
from app.executors.modal.account import Account, BoxSize, connect, end
from app.executors.modal.attempt import Attempt
from app.executors.modal.box import Box, find_box, open_box
from app.executors.modal.bucket import Bucket
from app.executors.modal.credentials import WHERE, Token
from app.executors.modal.errors import Lost, Missing, ModalError, NoBox, Unauthorized, Unreachable
from app.executors.modal.images import APP, recipe_for
from app.executors.modal.pool import Pool, open_pool
from app.executors.modal.private import require_tried_version
from app.executors.modal.reaper import ROUND, Registry, Replica
from app.executors.modal.sandbox import ModalSandbox, disown_if_lost
from app.executors.modal.support import ASK, questions, support_of

log = logging.getLogger(__name__)

_OVERHEAD = 128 * MIB  # of a box beside the program: the supervisor, and what is on its way
_SPARE_LIFE = 60  # s that a box has beside its age and its run, for what is between them
_LONGEST_LIFE = 24 * 3600  # s; Modal allows no more
_LAST_CREATE = 5.0  # s that a stopping server waits for boxes that are being made
_RETRY = (1.0, 2.0, 5.0, 15.0, 30.0)  # s between tries of what has to succeed one day


@dataclass(frozen=True, slots=True, kw_only=True)
class ModalOptions:
    """What an operator decides. Times in seconds, rates in a second."""

    server: str
    cpu: float
    warm_floor: int
    warm_ceiling: int
    box_age: float
    create_rate: float
    create_burst: int
    budget: float
    """How long a run may wait for a box."""
    offered: frozenset[str]
    """The ids of the languages that programs may be in."""
    longest_run: float
    """How long the longest run goes on that may be asked for."""


class ModalExecutor:
    """Runs programs in Modal sandboxes; used within `async with`."""

    name = "modal"

    def __init__(
        self,
        languages: Mapping[str, Language],
        token: Token,
        options: ModalOptions,
        limits: Limits,
        registry: Registry,
    ) -> None:
        self._languages, self._token, self._options = languages, token, options
        self._usual = limits
        self._replica = Replica(registry)
        self._account: Account | None = None
        self._reason = "Modal has not been reached yet"
        self._reached = anyio.Event()
        self._support: dict[str, Support] = {}
        self._pool: Pool | None = None
        self._tasks: anyio.abc.TaskGroup | None = None
        self._creating: set[anyio.CancelScope] = set()
        self._resources = AsyncExitStack()

    async def __aenter__(self) -> Self:
        require_tried_version()
        # Before the task group, which would wrap a refusal in a group.
        account = await self._first_account()
        # Before the first box: a box of somebody unknown is never reaped.
        await self._replica.live()
        async with AsyncExitStack() as resources:
            self._tasks = await resources.enter_async_context(anyio.create_task_group())
            resources.push_async_callback(self._stop)
            self._tasks.start_soon(self._replica.beat)
            self._tasks.start_soon(self._reap)
            if account is None:
                self._tasks.start_soon(self._retry)
            else:
                await self._begin(account)
            self._resources = resources.pop_all()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._resources.aclose()
        with anyio.CancelScope(shield=True):
            await self._replica.leave()
        if self._account is not None:
            await self._account.close()

    async def check(self) -> None:
        """Ask Modal whether it is there and the token is good; what else is wrong, `state` says.

        Raises:
            ModalError: it is not.
        """
        if self._account is not None:
            await self._account.hello()

    def supports(self, language: Language) -> Support:
        """Tell whether the language runs; its version was asked in a box."""
        if self._account is None:
            return Support(reason=self._reason)
        if language.id not in self._options.offered:
            return NOT_OFFERED
        return self._support.get(language.id, Support())

    def state(self) -> ExecutorState:
        """Tell how it is, and look at the pool."""
        # Memory is looked at by the supervisor; Modal's own limit is the backstop.
        return ExecutorState(
            counts_exactly=False,
            problem=None if self._account else self._reason,
            retry_after=self._pool.busy_for(self._options.budget) if self._pool else None,
            pool=self._pool.figures() if self._pool else None,
        )

    @asynccontextmanager
    async def sandbox(
        self,
        language: Language,
        limits: Limits,
        placed: Placed | None = None,
        *,
        version: str | None = None,
        environment: str | None = None,
    ) -> AsyncIterator[Sandbox]:
        """Prepare a run; its box is claimed when the program is ready to go."""
        del version  # an image has one of each language
        variables = self._variables_of(language, environment)
        yield ModalSandbox(
            language, limits, self._claim, self._release, placed, variables=variables
        )

    def _variables_of(self, language: Language, environment: str | None) -> Mapping[str, str]:
        if environment is None:
            return {}
        chosen = next((each for each in language.environments if each.id == environment), None)
        state = self.supports(language).environments.get(environment, EnvironmentState())
        if chosen is None or not state.is_available:
            raise ExecutorError(state.reason or f"{language.name} has no {environment}")
        return chosen.variables

    async def reattach(  # noqa: PLR0913 - all that a run is
        self,
        placement: Placement,
        limits: Limits,
        emit: Emit,
        *,
        skip: Mapping[Stream, int],
        placed: Placed | None = None,
        collect: Collect | None = None,
    ) -> Exit | None:
        """Replay what the supervisor has reported since the beginning; see `Executor.reattach`.

        Raises:
            ModalError: it cannot be told now, or the box was lost after output was emitted.
        """
        await self._until_reached()
        if self._account is None:
            raise Unreachable(f"Modal: no run can be found again: {self._reason}")
        attempt = Attempt(limits, emit, collect=collect, skip=skip)
        try:
            box = await find_box(self._account, placement)
        except Missing:
            return None
        try:
            return await self._resume(box, attempt)
        except (Lost, Missing):
            if attempt.was_seen:
                raise
            return None
        except BaseException:
            await disown_if_lost(box, placed)
            raise
        finally:
            self._release(box)

    async def _resume(self, box: Box, attempt: Attempt) -> Exit | None:
        try:
            return await attempt.resume(box)
        except Missing:
            # Its output is gone with it, but Modal knows how it ended.
            return Exit(oom_killed=await box.ran_out_of_memory())

    async def rotate(self, token: Token) -> None:
        """Go over to another token without losing a run.

        Raises:
            ModalError: the new token does not work; the old one stays.
        """
        fresh = await self._connect(token)
        self._token = token
        if self._account is None:
            await self._begin(fresh)
            return
        old, self._account = self._account, fresh
        _say_hello(fresh)
        if self._pool is not None:
            await self._pool.renew()
        if self._tasks is not None:
            self._tasks.start_soon(self._close_when_idle, old)

    async def _close_when_idle(self, old: Account) -> None:
        await old.until_idle()
        for id in old.left:
            if self._account is not None:
                with suppress(ModalError):
                    await end(await self._account.find(id))
        await old.close()

    async def _stop(self) -> None:
        """End all tasks; a create that hangs is given up, and its box ends with its lifetime."""
        assert self._tasks is not None  # noqa: S101 - entered before
        self._tasks.cancel_scope.cancel()
        self._tasks.start_soon(self._give_up_creating)

    async def _give_up_creating(self) -> None:
        with anyio.CancelScope(shield=True):
            with anyio.move_on_after(_LAST_CREATE):
                while self._creating:  # noqa: ASYNC110 - seconds at the most, once
                    await anyio.sleep(0.05)
        for scope in self._creating:
            scope.shield = False

    async def _claim(self, limits: Limits) -> Box:
        await self._until_reached()
        if self._pool is None:
            raise NoBox(f"Modal: no sandbox: {self._reason}")
        if limits.memory <= self._usual.memory:
            return await self._pool.claim(self._options.budget)
        # Larger than what is kept ready.
        return await self._pool.claim_apart(partial(self._create, limits), self._options.budget)

    async def _until_reached(self) -> None:
        """Give a Modal that does not answer a while, before runs fail that wait since long."""
        with anyio.move_on_after(self._options.budget):
            await self._reached.wait()

    def _release(self, box: Box) -> None:
        assert self._tasks is not None  # noqa: S101 - boxes come from its tasks
        self._tasks.start_soon(self._end, box)

    async def _end(self, box: Box) -> None:
        await box.end(lambda: self._account)

    async def _create(self, limits: Limits) -> Box:
        account = self._account
        if account is None:
            raise NoBox(f"Modal: no sandbox: {self._reason}")
        # Whoever claims it, as late as may be, has to have ended before it does.
        lifetime = self._options.box_age + _SPARE_LIFE + self._options.longest_run
        size = BoxSize(
            memory=limits.memory + _OVERHEAD,
            cpu=self._options.cpu,
            lifetime=min(math.ceil(lifetime), _LONGEST_LIFE),
        )
        # Shielded: a box that was created must come to be known.
        with anyio.CancelScope(shield=True) as scope:
            self._creating.add(scope)
            try:
                return await open_box(account, size, self._replica.tags)
            finally:
                self._creating.discard(scope)
        raise NoBox("Modal: the server stopped while a sandbox was being made")

    async def _reap(self) -> None:
        while True:
            if self._account is not None:
                await self._replica.reap(self._account)
            await anyio.sleep(ROUND)

    async def _first_account(self) -> Account | None:
        """Connect; None when Modal does not answer, which may change.

        Raises:
            Unavailable: the token or the image is refused, which does not change by itself.
        """
        try:
            return await self._connect(self._token)
        except (Unauthorized, Missing) as error:
            raise Unavailable(_refused(error)) from error
        except ModalError as error:
            self._reason = str(error)
            log.warning("modal: degraded", extra={"reason": self._reason})
            return None

    async def _retry(self) -> None:
        for pause in chain(_RETRY, repeat(_RETRY[-1])):
            with anyio.move_on_after(pause):
                await self._reached.wait()
                return
            try:
                account = await self._connect(self._token)
            except ModalError as error:
                self._reason = str(error)
                continue
            if self._account is None:
                await self._begin(account)
            else:
                await account.close()  # a new token was quicker
            return

    async def _begin(self, account: Account) -> None:
        self._account = account
        _say_hello(account)
        assert self._tasks is not None  # noqa: S101 - entered before
        await self._tasks.start(self._keep_pool)
        self._reached.set()
        self._tasks.start_soon(self._find_versions)

    async def _connect(self, token: Token) -> Account:
        return await connect(
            token,
            server=self._options.server,
            app=APP,
            image=recipe_for(self._languages.values()).name,
        )

    async def _keep_pool(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        options = self._options
        async with open_pool(
            partial(self._create, self._usual),
            floor=options.warm_floor,
            ceiling=options.warm_ceiling,
            age=options.box_age,
            bucket=Bucket(rate=options.create_rate, burst=options.create_burst),
        ) as self._pool:
            task_status.started()
            await anyio.sleep_forever()

    async def _find_versions(self) -> None:
        # Until they are known, programs that ask for a version wait.
        for pause in chain(_RETRY, repeat(_RETRY[-1])):
            try:
                answers = await self._ask_versions()
            except (ExecutorError, ValueError) as error:
                log.warning("modal: no versions yet", extra={"reason": str(error)})
                await anyio.sleep(pause)
            else:
                for each in self._languages.values():
                    self._support[each.id] = support_of(each, answers)
                return

    async def _ask_versions(self) -> Mapping[str, str]:
        """Ask in one box what it has of every language."""
        said = bytearray()

        async def listen(output: Output) -> None:
            if output.stream is Stream.STDOUT:
                said.extend(output.data)

        offered = (self._languages[id] for id in self._options.offered)
        asked = dict(chain.from_iterable(map(questions, offered)))
        python = self._languages["PYTHON"]
        sandbox = ModalSandbox(python, self._usual, self._claim, self._release, variables={})
        await sandbox.run(Command(arguments=("-c", ASK, json.dumps(asked))), listen)
        answers: dict[str, str] = json.loads(said)
        return answers


def _say_hello(account: Account) -> None:
    log.info("modal: workspace %s token %s ok", account.identity.workspace, account.identity.token)


def _refused(error: ModalError) -> Check:
    is_token = isinstance(error, Unauthorized)
    return Check(
        name="modal",
        passed=False,
        detail=str(error),
        remedy=f"check the token in .env; {WHERE}" if is_token else "run `greenroom modal build`",
    )
