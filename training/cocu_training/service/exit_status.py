"""The state of a run after its processes have ended."""

from __future__ import annotations

from cocu.schemas.training import RunState
from cocu_training.service.runs import RunRecord

STOPPED = 75
"""The exit status of `cocu-train run` after a stop. torchrun has its own, whatever that of its ranks."""


def outcome_of(
    record: RunRecord, *, status: int | None, handed_back: bool, failure: str, max_interruptions: int
) -> tuple[RunState, str | None]:
    """Return the state of a run after its processes have ended, and why.

    status: exit status, None where it was not written. handed_back: the service is ending and has stopped the
    run. failure: why the run failed, if it did; empty where that is not known. The last record of the trainer
    counts more than the status: torchrun exits after a stop as after a failure.
    """
    stopped = status == STOPPED or record.last_event == "stopped"
    if status == 0 or record.last_event == "finished":
        return "completed", None
    if record.last_event != "failed":
        if record.state == "stopping":
            return "stopped", None
        if handed_back:
            return (
                "queued",
                "the service was stopped; it goes on from its checkpoint when the service is back",
            )
        if stopped:
            return "queued", "it was stopped from outside; it goes on from its checkpoint"
    if status is None:
        return _after_interruption(record, max_interruptions)
    return "failed", failure or f"it ended with status {status} and printed nothing"


def _after_interruption(record: RunRecord, max_interruptions: int) -> tuple[RunState, str]:
    if record.interruptions >= max_interruptions:
        times = record.interruptions + 1
        return "failed", f"its processes vanished {times} times without a step in between"
    return "queued", "its processes vanished; it goes on from its last checkpoint"
