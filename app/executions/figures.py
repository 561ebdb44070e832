"""Counts and durations of what this process has run, for Prometheus.

A label is a language or a status, never an owner or a text: their number stays small for ever.
"""

from datetime import UTC, datetime

from prometheus_client import CollectorRegistry, Counter, Histogram

from app.domain.execution import Execution

_SECONDS = (0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 60, 300)


class Figures:
    """Hears of each execution; `registry` has the sums."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        self._ended = Counter(
            "greenroom_executions",
            "Executions that this process has seen to their end.",
            ("language", "status"),
            registry=self.registry,
        )
        self._first_output = Histogram(
            "greenroom_first_output_seconds",
            "From the acceptance of an execution to the first that it wrote.",
            ("language",),
            buckets=_SECONDS,
            registry=self.registry,
        )
        self._total = Histogram(
            "greenroom_execution_seconds",
            "From the acceptance of an execution to its stored end.",
            ("language",),
            buckets=_SECONDS,
            registry=self.registry,
        )

    def first_output(self, execution: Execution) -> None:
        """Take note that an execution has written something for the first time."""
        self._first_output.labels(execution.language).observe(_since(execution.created_at))

    def ended(self, execution: Execution) -> None:
        """Take note that an execution has ended."""
        self._ended.labels(execution.language, execution.status.value).inc()
        self._total.labels(execution.language).observe(_since(execution.created_at))


def _since(moment: datetime) -> float:
    # Another host's clock may have accepted it, and be ahead of ours.
    return max((datetime.now(UTC) - moment).total_seconds(), 0.0)
