"""What the work of this process comes to: counters by unit of work, for Prometheus.

They count what processes do, not what there is: that the catalog tells (`api/metrics.py`). Every stage is
there from the start, at zero, so that the first event is seen as one. Where workers are processes of their
own, `exposing` makes these figures a sum over all of them; it must do so before this module is imported.
"""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Histogram, disable_created_metrics

from cocu.storage.catalog.states import Stage

DONE, FAILED, HANDED_BACK = "done", "failed", "handed_back"
SECONDS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 120.0, 300.0, 600.0, 1200.0, 3600.0)

# Series of the times when counters began would double their number.
disable_created_metrics()

REGISTRY = CollectorRegistry()
"""The figures of this process alone."""

SAMPLES = Counter(
    "cocu_samples_processed", "Samples that a stage has gone through.", ["stage"], registry=REGISTRY
)
ATTEMPTS = Counter(
    "cocu_chunk_attempts", "Attempts at chunks that ended, by how.", ["stage", "outcome"], registry=REGISTRY
)
DURATION = Histogram(
    "cocu_chunk_duration_seconds",
    "Time that the attempts took whose chunk is done.",
    ["stage"],
    buckets=SECONDS,
    registry=REGISTRY,
)
SWEEPS = Counter("cocu_sweeps", "Looks of the sweeper, by how they ended.", ["outcome"], registry=REGISTRY)
RESENT = Counter(
    "cocu_chunks_sent_again", "Chunks that a sweeper put into the queue again.", ["stage"], registry=REGISTRY
)

for _stage in Stage:
    SAMPLES.labels(_stage)
    DURATION.labels(_stage)
    RESENT.labels(_stage)
    for _outcome in (DONE, FAILED, HANDED_BACK):
        ATTEMPTS.labels(_stage, _outcome)
for _outcome in (DONE, FAILED):
    SWEEPS.labels(_outcome)


def ended(stage: str, outcome: str, *, seconds: float) -> None:
    """An attempt at a chunk has ended after this time."""
    ATTEMPTS.labels(stage, outcome).inc()
    if outcome == DONE:
        DURATION.labels(stage).observe(seconds)
