"""The errors that training may stop with.

TrainingError
├── ConfigurationError     settings contradict each other, or do not fit the curation
├── DataError              a batch cannot be converted into the model's input
├── EvaluationError        model, protocol and images do not fit together
│   └── DatasetError       files of a dataset are absent, damaged or not what its layout says
├── CheckpointError        a checkpoint is missing, damaged, or of another run
└── NotFiniteError         the loss or the gradient is not a number any more
"""

from __future__ import annotations


class TrainingError(Exception):
    """Base of the errors that stop a run; the message says what to do."""


class ConfigurationError(TrainingError, ValueError):
    """Settings contradict each other, or do not fit the curation."""


class DataError(TrainingError):
    """A batch cannot be converted into the model's input."""


class EvaluationError(TrainingError, ValueError):
    """Model, protocol and images do not fit together."""


class DatasetError(EvaluationError):
    """Files of a dataset are absent, damaged or not what its layout says; the message names them."""


class CheckpointError(TrainingError):
    """A checkpoint is missing, damaged, or of another run."""


class NotFiniteError(TrainingError):
    """The loss or the gradient of a step is infinite or not a number."""

    def __init__(self, *, step: int, epoch: int, batch: int, what: str) -> None:
        self.step, self.epoch, self.batch = step, epoch, batch
        super().__init__(
            f"{what} is not finite at step {step}: batch {batch} of epoch {epoch}. The last checkpoint is "
            "from before this step; resume from it with a lower learning rate, or examine that batch"
        )
