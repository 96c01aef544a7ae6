"""Counters of the work of this process, for Prometheus.

They count the work that processes do. How many datasets, tasks and so on exist is counted by the catalog
(`catalog/counts.py`). For workers that are processes of their own, `metrics_server` serves the sums.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from cocu.catalog.states import Outcome
from cocu.pipeline import stages

DONE, FAILED, HANDED_BACK = "done", "failed", "handed_back"
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)

# Without this there is a second series for every counter, with the time of its creation.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Metrics:
    """The counters. All series exist from the start with 0, so that the first event counts as an increase."""

    def __init__(self) -> None:
        registry = self.registry = CollectorRegistry()
        self._samples = Counter(
            "cocu_samples_processed", "Samples that a stage has gone through.", ["stage"], registry=registry
        )
        self._rejected = Counter(
            "cocu_samples_rejected",
            "Samples that were skipped at ingest, or that failed to be embedded.",
            ["outcome"],
            registry=registry,
        )
        self._attempts = Counter(
            "cocu_task_attempts",
            "Attempts at tasks that ended, by how.",
            ["stage", "outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "cocu_task_duration_seconds",
            "Time that the attempts took whose task is done.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._sweeps = Counter(
            "cocu_sweeps", "Looks of the sweeper, by how they ended.", ["outcome"], registry=registry
        )
        self._resent = Counter(
            "cocu_tasks_sent_again",
            "Tasks that a sweeper put into the queue again.",
            ["stage"],
            registry=registry,
        )
        for stage in stages.STAGES:
            self._samples.labels(stage)
            self._duration.labels(stage)
            self._resent.labels(stage)
            for outcome in (DONE, FAILED, HANDED_BACK):
                self._attempts.labels(stage, outcome)
        for rejection in Outcome:
            self._rejected.labels(rejection)
        for outcome in (DONE, FAILED):
            self._sweeps.labels(outcome)

    def processed(self, stage: str, samples: int) -> None:
        """Count samples that a stage has processed."""
        self._samples.labels(stage).inc(samples)

    def rejected(self, outcome: Outcome, samples: int) -> None:
        """Count samples that were not accepted, or could not be embedded."""
        self._rejected.labels(outcome).inc(samples)

    def ended(self, stage: str, outcome: str, *, seconds: float) -> None:
        """Count an attempt at a task that has ended, and its time: DONE, FAILED or HANDED_BACK."""
        self._attempts.labels(stage, outcome).inc()
        if outcome == DONE:
            self._duration.labels(stage).observe(seconds)

    def swept(self, *, failed: bool) -> None:
        """Count a sweep, failed or not."""
        self._sweeps.labels(FAILED if failed else DONE).inc()

    def sent_again(self, stage: str) -> None:
        """Count a task that the sweeper has sent again."""
        self._resent.labels(stage).inc()


@cache
def metrics() -> Metrics:
    """Return the counters of this process."""
    return Metrics()
