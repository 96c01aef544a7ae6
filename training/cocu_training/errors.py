"""What training may stop with.

TrainingError
├── ConfigurationError     what was asked for does not fit together, or does not fit what there is
├── DataError              a batch cannot be made into what the model takes
├── EvaluationError        model, protocol and pictures do not fit together
│   └── DatasetError       files of a dataset are absent, damaged or not what its layout says
├── CheckpointError        a checkpoint is missing, damaged, or of another run
└── NotFiniteError         the loss or the gradient is not a number any more
"""

from __future__ import annotations


class TrainingError(Exception):
    """What a run stops with; the message says what to do."""


class ConfigurationError(TrainingError, ValueError):
    """What was asked for does not fit together, or does not fit the curation."""


class DataError(TrainingError):
    """A batch cannot be made into what the model takes."""


class EvaluationError(TrainingError, ValueError):
    """Model, protocol and pictures do not fit together."""


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
            "from before; go on from it with a lower learning rate, or look at that batch"
        )
