"""What the end of a run's processes means for the run."""

from __future__ import annotations

from cocu_training.service.runs import RunRecord, State

STOPPED = 75
"""The exit status of `cocu-train run` that was told to stop; torchrun has another, whatever its ranks'."""


def outcome_of(
    record: RunRecord, *, status: int | None, handed_back: bool, log_end: str, most_interruptions: int
) -> tuple[State, str | None]:
    """The state that a run is in after its processes, and why.

    status: of the exit; None where nobody saw it. handed_back: the service is ending, and stopped the run.
    What the trainer recorded last says more than the status: a torchrun that was told to stop exits as one
    that failed.
    """
    stopped = status == STOPPED or record.last_event == "stopped"
    if status == 0 or record.last_event == "finished":
        return "completed", None
    if record.last_event != "failed":
        if record.state == "stopping":
            return "stopped", None
        if handed_back:
            return "queued", "the service was stopped; it goes on from its checkpoint when that is back"
        if stopped:
            return "queued", "it was stopped from outside; it goes on from its checkpoint"
    if status is None:
        return _after_a_loss(record, most_interruptions)
    return "failed", log_end or f"it ended with status {status} and printed nothing"


def _after_a_loss(record: RunRecord, most_interruptions: int) -> tuple[State, str]:
    if record.interruptions >= most_interruptions:
        times = record.interruptions + 1
        return "failed", f"its processes vanished {times} times without a step in between"
    return "queued", "its processes vanished; it goes on from its last checkpoint"
