"""What the work of this process comes to: counters by unit of work, for Prometheus.

They count what processes do, not what there is: that the catalog tells (`storage/catalog/census.py`). Where
workers are processes of their own, `exposing` makes the figures of all of them one sum.
"""

from __future__ import annotations

from functools import cache

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from cocu.storage.catalog.states import Outcome, Stage

DONE, FAILED, HANDED_BACK = "done", "failed", "handed_back"
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)

# Series of the times when counters began would double their number.
disable_created_metrics()  # type: ignore[no-untyped-call]


class Measures:
    """The counters. Every stage is there from the start, at zero, so that its first event is seen as one."""

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
            "cocu_chunk_attempts",
            "Attempts at chunks that ended, by how.",
            ["stage", "outcome"],
            registry=registry,
        )
        self._duration = Histogram(
            "cocu_chunk_duration_seconds",
            "Time that the attempts took whose chunk is done.",
            ["stage"],
            buckets=SECONDS,
            registry=registry,
        )
        self._sweeps = Counter(
            "cocu_sweeps", "Looks of the sweeper, by how they ended.", ["outcome"], registry=registry
        )
        self._resent = Counter(
            "cocu_chunks_sent_again",
            "Chunks that a sweeper put into the queue again.",
            ["stage"],
            registry=registry,
        )
        for stage in Stage:
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
        """A stage has gone through so many more samples."""
        self._samples.labels(stage).inc(samples)

    def rejected(self, outcome: Outcome, samples: int) -> None:
        """So many more samples were not accepted, or were and could not be embedded."""
        self._rejected.labels(outcome).inc(samples)

    def ended(self, stage: str, outcome: str, *, seconds: float) -> None:
        """An attempt at a chunk has ended after this time: DONE, FAILED or HANDED_BACK."""
        self._attempts.labels(stage, outcome).inc()
        if outcome == DONE:
            self._duration.labels(stage).observe(seconds)

    def swept(self, *, trouble: bool) -> None:
        """A sweeper has looked, and something kept it from its work or nothing did."""
        self._sweeps.labels(FAILED if trouble else DONE).inc()

    def sent_again(self, stage: str) -> None:
        """A sweeper has put a chunk into the queue of its stage."""
        self._resent.labels(stage).inc()


@cache
def measures() -> Measures:
    """The counters of this process."""
    return Measures()
