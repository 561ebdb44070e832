"""A program against its tests: compiled once, and run in a fresh sandbox for each.

Theory of operation. One test after the other runs in the slot that the execution has; beside it,
others run in slots that nobody else wants at the moment, up to a bound. Such a slot is asked for
anew for each test, so whoever waits for one gets it before long. What a test expects never comes
near a sandbox: the program's output is compared here, when it has ended.
"""

import json
import secrets
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Protocol

import anyio
import anyio.abc
import anyio.to_thread

from app.domain.execution import Exit, Outcome, Output, Program, Stream
from app.domain.limits import KIB, MIB
from app.domain.results import CaseResult, CaseRun
from app.domain.testing import Call, Case, Suite, Verdict
from app.domain.verdict import judge, judge_case, judge_suite
from app.executions.calling import Called, NotReturned, called
from app.executions.run import Input, Prepared, Workplace, prepare, run_prepared

AT_ONCE = 4  # tests of one execution: with more, one submission would fill a machine
KEPT = 64 * KIB  # of each stream of a test
ALL_KEPT = 8 * MIB  # of all tests together, for each stream
_NONCE = 16  # bytes


class SpareSlots(Protocol):
    """Slots that nobody else wants at the moment."""

    def may_start_now(self) -> bool:
        """Take one, if there is one."""

    def give_back(self) -> None:
        """Give one back."""


class Heard:
    """What a program writes during a test: its output whole, of its errors the beginning."""

    def __init__(self, kept: int) -> None:
        self._kept = kept
        self.stdout, self._stderr = bytearray(), bytearray()
        self._errors = 0

    async def __call__(self, output: Output) -> None:
        """Take a piece."""
        if output.stream is Stream.STDOUT:
            self.stdout += output.data
        else:
            self._stderr += output.data[: self._kept - len(self._stderr)]
            self._errors += len(output.data)

    @property
    def beginnings(self) -> dict[str, bytes]:
        """What is kept of each stream."""
        return {"stdout": bytes(self.stdout[: self._kept]), "stderr": bytes(self._stderr)}

    @property
    def cut(self) -> frozenset[Stream]:
        """The streams of which not all is kept."""
        sizes = {Stream.STDOUT: len(self.stdout), Stream.STDERR: self._errors}
        return frozenset(stream for stream, size in sizes.items() if size > self._kept)


class Examination:
    """The tests of one execution, from the first to the last; to be called once.

    Args:
        record: keeps what came of tests.
        comparing: lets so many compare at one time.
        done: tests that another process has carried out already.
    """

    def __init__(  # noqa: PLR0913 - all that tests need
        self,
        *,
        place: Workplace,
        prepared: Prepared,
        program: Program,
        suite: Suite,
        slots: SpareSlots,
        record: Callable[[Sequence[CaseResult]], Awaitable[None]],
        comparing: anyio.CapacityLimiter,
        done: Sequence[CaseRun],
    ) -> None:
        self._place, self._prepared, self._program = place, prepared, program
        self._suite, self._slots, self._record = suite, slots, record
        self._comparing = comparing
        self._kept = min(KEPT, ALL_KEPT // len(suite.cases))
        self._ended = [(run.verdict, run.outcome) for run in done if run.verdict and run.outcome]
        known = {run.position for run in done}
        self._waiting = deque(each for each in range(len(suite.cases)) if each not in known)
        self._unwritten: list[CaseResult] = []
        self._writing = anyio.Lock()
        self._helpers = 0

    async def __call__(self) -> tuple[Outcome, Verdict]:
        """Carry them out, and return what is to be said of all of them together.

        Raises:
            ExecutorError: a sandbox could not be had; it may come in an `ExceptionGroup`.
        """
        self._heed_failure()
        async with anyio.create_task_group() as helpers:
            while self._waiting:
                self._call_helpers(helpers)
                await self._try(self._waiting.popleft())
        return judge_suite(self._ended, self._prepared.compilation)

    def _call_helpers(self, tasks: anyio.abc.TaskGroup) -> None:
        # Which tests are skipped must not depend on which of two was faster.
        most = 0 if self._suite.stops_on_failure else AT_ONCE - 1
        # One is left for who calls.
        while len(self._waiting) > 1 and self._helpers < most and self._slots.may_start_now():
            self._helpers += 1
            tasks.start_soon(self._help, tasks, self._waiting.popleft())

    async def _help(self, tasks: anyio.abc.TaskGroup, position: int) -> None:
        try:
            await self._try(position)
        finally:
            self._helpers -= 1
            self._slots.give_back()
        self._call_helpers(tasks)

    async def _try(self, position: int) -> None:
        case, heard = self._suite.cases[position], Heard(self._kept)
        if case.call:
            outcome, answer = await self._call(case, case.call, heard)
            returned = answer
        else:
            outcome = await self._run(case, heard)
            answer, returned = bytes(heard.stdout), None
        # In a thread: what a hostile program has written may take long to compare.
        verdict, where = await anyio.to_thread.run_sync(
            judge_case, case, outcome, answer, limiter=self._comparing
        )
        self._ended.append((verdict, outcome))
        self._heed_failure()
        self._unwritten.append(
            CaseResult(
                position=position,
                rank=len(self._ended),
                at=datetime.now(UTC),
                verdict=verdict,
                outcome=replace(outcome, truncated=outcome.truncated | heard.cut),
                difference=where,
                returned=returned if returned and len(returned) <= self._kept else None,
                **heard.beginnings,
            )
        )
        await self._write()

    async def _run(self, case: Case, heard: Heard) -> Outcome:
        program = self._program
        given = Input(
            stdin=program.stdin if case.stdin is None else case.stdin,
            args=program.args if case.args is None else case.args,
            files=case.files,
        )
        return judge(await run_prepared(self._place, self._prepared, given, case.limits, heard))

    async def _call(self, case: Case, call: Call, heard: Heard) -> tuple[Outcome, bytes | None]:
        """Call a function of the program, and return what that returned, as JSON."""
        language = self._prepared.language
        going = called(language, self._program, call, secrets.token_hex(_NONCE))
        prepared = await prepare(self._place, language, going.program)
        given = Input(
            stdin=going.program.stdin,
            args=self._program.args if case.args is None else case.args,
            files=case.files,
            collect=going.collect,
        )
        end = await run_prepared(self._place, prepared, given, case.limits, heard)
        # What is collected is the answer, and no artifact of which some may be left out.
        outcome = replace(judge(end), left_out=0)
        # In a thread: a megabyte of empty lists takes a quarter of a second to read.
        answer = await anyio.to_thread.run_sync(_read, going, end, limiter=self._comparing)
        if isinstance(answer, NotReturned):
            return replace(outcome, message=outcome.message or answer.message), None
        return outcome, answer

    async def _write(self) -> None:
        """Write down what came of this test, together with those that ended meanwhile."""
        async with self._writing:
            results, self._unwritten = self._unwritten, []
            if results:
                await self._record(results)

    def _heed_failure(self) -> None:
        failed = any(verdict is not Verdict.PASSED for verdict, _ in self._ended)
        if failed and self._suite.stops_on_failure:
            self._waiting.clear()


def _read(going: Called, end: Exit) -> bytes | NotReturned:
    """Return what a function returned, as JSON."""
    answer = going.answer(end)
    if isinstance(answer, NotReturned):
        return answer
    return json.dumps(answer.value, ensure_ascii=False).encode()
