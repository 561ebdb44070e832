"""The tests of an execution together, as the public API tells them to whom."""

from collections.abc import Iterable
from dataclasses import replace
from typing import Self

import strawberry

from app.api.context import Info
from app.api.testing import TestResult, results_of
from app.domain.access import Caller
from app.domain.execution import Execution, Status
from app.domain.results import Group, told
from app.domain.testing import Verdict


@strawberry.type(description="The tests of an execution together.")
class TestSummary:
    groups: strawberry.Private[tuple[Group, ...]]
    record: strawberry.Private[Execution]

    @classmethod
    def of(cls, record: Execution, groups: tuple[Group, ...], caller: Caller) -> Self:
        """Translate; a candidate does not learn when hidden ones end."""
        if not caller.sees_hidden:
            groups = tuple(_told(each, record.status) for each in groups)
        return cls(groups=groups, record=record)

    @strawberry.field(description="How many there are.")
    def total(self) -> int:
        return _count(self.groups)

    @strawberry.field(description="How many have not ended, as far as you may know.")
    def pending(self) -> int:
        return _count(each for each in self.groups if each.verdict is None)

    @strawberry.field(description="How many were passed.")
    def passed(self) -> int:
        return _count(self._with(Verdict.PASSED))

    @strawberry.field(description="How many were failed.")
    def failed(self) -> int:
        return _count(self._with(Verdict.FAILED))

    @strawberry.field(description="In how many the program did not end well.")
    def errors(self) -> int:
        return _count(self._with(Verdict.ERROR))

    @strawberry.field(description="How many were not run.")
    def skipped(self) -> int:
        return _count(self._with(Verdict.SKIPPED))

    @strawberry.field(description="The weights of all of them together.")
    def weight(self) -> float:
        return _weight(self.groups)

    @strawberry.field(description="The weights of those that were passed.")
    def passed_weight(self) -> float:
        return _weight(self._with(Verdict.PASSED))

    @strawberry.field(
        description="The one that took longest by the clock, of those that are not hidden from you."
    )
    async def slowest(self, info: Info) -> TestResult | None:
        results = await results_of(info, self.record)
        measured = [
            (each.outcome.usage.wall_time, each)
            for each in results
            if each.outcome and each.outcome.usage
        ]
        return max(measured, key=lambda pair: pair[0])[1] if measured else None

    def _with(self, verdict: Verdict) -> list[Group]:
        return [each for each in self.groups if each.verdict is verdict]


def _told(group: Group, status: Status) -> Group:
    return replace(group, verdict=told(group.verdict, status)) if group.is_hidden else group


def _weight(groups: Iterable[Group]) -> float:
    return round(sum(each.weight for each in groups), 9)  # ten tenths are one


def _count(groups: Iterable[Group]) -> int:
    return sum(each.count for each in groups)
