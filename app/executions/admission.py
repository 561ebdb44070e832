"""What is accepted: by the rules, by what there is here, by room and by shares."""

import logging
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TypeAlias

import anyio
from uuid6 import uuid7

from app.domain.access import AuditEntry
from app.domain.errors import Rejected
from app.domain.execution import Execution, Status, Submission
from app.domain.language import Language
from app.executions.files import file_problems
from app.executions.live import Means
from app.executions.once import TakenError, find_earlier, the_same, wish_of
from app.executions.refusing import STOPPING, no_sandboxes, no_share, queue_is_full, unavailable
from app.executions.rules import Rules
from app.executions.runner import Runner
from app.executions.suites import suite_problems
from app.storage.store import Arrival, Bounds, Earlier
from app.storage.usage import NoShareError

log = logging.getLogger(__name__)

Noting: TypeAlias = Callable[[Execution], AuditEntry]
"""Makes the entry of the audit log that is written with an execution's row."""


class Admission:
    """Accepts programs, or says why not; what is accepted has a row.

    Args:
        runner: what runs them here, or None where only others run them.
    """

    def __init__(
        self,
        *,
        means: Means,
        languages: Mapping[str, Language],
        rules: Rules,
        bounds: Bounds,
        runner: Runner | None,
    ) -> None:
        self._means, self._languages, self._rules = means, languages, rules
        self._bounds, self._runner = bounds, runner
        self._slots = runner.slots if runner else None

    async def one(self, submission: Submission, noting: Noting | None) -> Execution:
        """Accept a program, or return the execution that the same wish has led to before.

        Raises:
            Rejected: it breaks a rule or there is no room; nothing was recorded.
        """
        if (earlier := await self._known(submission)) is not None:
            return earlier
        # Shielded: a caller that goes away must not leave a row that nobody looks after.
        with anyio.CancelScope(shield=True):
            try:
                accepted = await self._accept(self._arrival(submission, noting))
            except TakenError as taken:
                accepted = the_same(taken.earlier, submission)
            except NoShareError as error:
                raise Rejected(no_share(error, self._slots)) from error
        return accepted

    async def many(
        self, submissions: Sequence[Submission], noting: Noting | None
    ) -> list[Execution | Rejected]:
        """Accept programs: there is room for all of those that break no rule, or for none."""
        answers: dict[int, Execution | Rejected] = {}
        arrivals: dict[int, Arrival] = {}
        for place, submission in enumerate(submissions):
            try:
                earlier = await self._known(submission)
            except Rejected as rejected:
                answers[place] = rejected
                continue
            if earlier is None:
                arrivals[place] = self._arrival(submission, noting)
            else:
                answers[place] = earlier
        with anyio.CancelScope(shield=True):
            taken = await self._accept_all(list(arrivals.values()))
        for place, answer in zip(arrivals, taken, strict=True):
            answers[place] = _same_or_not(answer, submissions[place])
        return [answers[place] for place in range(len(submissions))]

    async def _known(self, submission: Submission) -> Execution | None:
        """Return what the same wish has led to before.

        Raises:
            Rejected: it breaks a rule, or cannot be run here or now.
        """
        program = submission.program
        language = self._languages[program.language]
        wrong = [
            *self._rules.problems(submission),
            *file_problems(language, program),
            *suite_problems(self._rules, language, submission),
        ]
        missing = unavailable(self._languages, self._means.executor, program)
        if wrong:
            raise Rejected(*wrong, *missing)
        if (earlier := await find_earlier(self._means.store, submission)) is not None:
            return earlier
        if self._means.closing.is_set():
            raise Rejected(STOPPING)
        if missing:
            raise Rejected(*missing)
        if (retry_after := self._means.executor.state().retry_after) is not None:
            raise Rejected(no_sandboxes(retry_after))
        return None

    async def _accept(self, arrival: Arrival) -> Execution:
        execution, program = arrival.execution, arrival.program
        # What is asked for may be somebody else's, or not be known yet.
        is_choosy = program.language_version is not None or program.environment is not None
        is_known = not is_choosy or execution.language_version is not None
        if self._runner and is_known and self._runner.may_start_now():
            return await self._runner.start_now(arrival)
        match await self._means.store.enqueue(arrival, self._bounds):
            case Earlier() as earlier:
                raise TakenError(earlier)
            case False:
                raise Rejected(queue_is_full(self._bounds, self._slots))
        log.info("execution queued", extra={"id": execution.id})
        return execution

    async def _accept_all(
        self, arrivals: Sequence[Arrival]
    ) -> Sequence[Execution | Earlier | Rejected]:
        try:
            answers = await self._means.store.enqueue_all(arrivals, self._bounds)
        except NoShareError as error:
            return [Rejected(no_share(error, self._slots))] * len(arrivals)
        if answers is None:
            return [Rejected(queue_is_full(self._bounds, self._slots))] * len(arrivals)
        log.info("executions queued", extra={"count": len(arrivals)})
        return answers

    def _arrival(self, submission: Submission, noting: Noting | None) -> Arrival:
        execution = self._new(submission)
        return Arrival(
            execution=execution,
            program=submission.program,
            wish=wish_of(submission),
            entry=noting and noting(execution),
        )

    def _new(self, submission: Submission) -> Execution:
        program = submission.program
        support = self._means.executor.supports(self._languages[program.language])
        return Execution(
            id=uuid7(),
            owner=submission.owner,
            status=Status.QUEUED,
            language=program.language,
            language_version=support.choose(program.language_version, program.environment),
            limits=submission.limits,
            executor=self._means.executor.name,
            attempt=1,
            created_at=datetime.now(UTC),
            kind=submission.kind,
            tests=len(program.suite.cases) if program.suite else 0,
            hidden_tests=program.suite.hidden if program.suite else 0,
            subject=submission.subject,
            session_id=submission.session_id,
            label=submission.label,
            metadata=submission.metadata,
            interactive=submission.interactive,
            origin_id=submission.origin_id,
        )


def _same_or_not(
    answer: Execution | Earlier | Rejected, submission: Submission
) -> Execution | Rejected:
    if not isinstance(answer, Earlier):
        return answer
    try:
        return the_same(answer, submission)
    except Rejected as rejected:
        return rejected
