"""The configuration of a training run: presets, JSON, and a hash that identifies runs."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Literal

from pydantic import ConfigDict, TypeAdapter, ValidationError

from cocu.schemas.training import ArmName, ModelName
from cocu_training.errors import ConfigurationError
from cocu_training.model_configuration import GroupViTConfiguration
from cocu_training.tokenizer_files import SCENES_TOKENIZER

Precision = Literal["fp32", "bf16"]
Strength = Literal["none", "light", "full"]

REFERENCE_BATCH = 4096
"""The global batch for which learning rates are stated (GroupViT, section 4.1)."""

OPERATIONAL = frozenset(
    {
        "tokenizer",
        "oracle",
        "workers",
        "log_interval",
        "checkpoint_interval",
        "kept_checkpoints",
        "evaluation_interval",
        "compile",
        "recompute",
    }
)
"""Paths of files and details of operation: a resumed run may change these."""


@dataclass(frozen=True, kw_only=True)
class TrainingConfiguration:
    """All settings of a run, except the curation, the folder and the devices.

    model: preset of sizes. arm: the source of the texts beside the caption; see `cocu_training.data.arms`.
    concepts: K, the texts of each image; the arm "caption" has none. temperature: of the draws. templates:
    texts with {} where the concept goes; empty for the platform's 80. tokenizer: path of a tokenizer.json.
    oracle: path of a table key → concepts, for the arm "oracle".
    epochs, steps: the length of the run; steps, if given, replaces epochs. warm_up: a share of the run.
    learning_rate, first_learning_rate, last_learning_rate: at the peak, at the start of the warm-up, at the
    end, all for a global batch of 4,096; they are scaled by the batch.
    average_decay: of an exponential moving average of the weights, which is evaluated in their place.
    mask_shared: a text is no negative for other images of the batch with the same concept. If off, the loss
    is as published.
    augmentation: none, light (crop and mirror) or full (also RandAugment and erasing). smallest_crop: share
    of the image's area. image_side: pixels to which the platform shrinks the shorter side; None for the
    stored size. workers: decoding processes per rank; 0 decodes in the training process. compile: use
    `torch.compile`. recompute: compute activations again in the backward pass instead of storing them.

    Raises ConfigurationError, naming the settings that are wrong.
    """

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    model: ModelName = "small"
    context_length: int = 77
    tokenizer: str = "tokenizer.json"
    arm: ArmName = "cluster"
    concepts: int = 3
    temperature: float = 1.0
    templates: tuple[str, ...] = ()
    oracle: str | None = None
    global_batch: int = 1024
    epochs: int = 30
    steps: int | None = None
    warm_up: float = 2 / 30
    learning_rate: float = 1.6e-3
    first_learning_rate: float = 4e-6
    last_learning_rate: float = 4e-5
    weight_decay: float = 0.05
    gradient_clip: float = 5.0
    average_decay: float | None = None
    mask_shared: bool = False
    seed: int = 0
    precision: Precision = "fp32"
    compile: bool = False
    recompute: bool = False
    augmentation: Strength = "full"
    smallest_crop: float = 0.08
    image_side: int | None = None
    workers: int = 2
    log_interval: int = 20
    checkpoint_interval: int = 1000
    kept_checkpoints: int = 2
    evaluation_interval: int | None = None

    def __post_init__(self) -> None:
        problems = [words for is_wrong, words in self._rules() if is_wrong]
        if problems:
            raise ConfigurationError("; ".join(problems))

    def _rules(self) -> list[tuple[bool, str]]:
        smallest = min(self.log_interval, self.checkpoint_interval, self.kept_checkpoints, self.epochs)
        return [
            (not 1 <= self.concepts <= 64, f"concepts must be in 1..64, not {self.concepts}"),
            (self.global_batch < 2, f"global_batch must be at least 2, not {self.global_batch}"),
            (
                smallest < 1,
                "epochs, log_interval, checkpoint_interval and kept_checkpoints must be at least 1",
            ),
            (self.steps is not None and self.steps < 1, f"steps must be at least 1, not {self.steps}"),
            (not 0 <= self.warm_up < 1, f"warm_up is a part of the run in [0, 1), not {self.warm_up}"),
            (
                not 0 < self.last_learning_rate <= self.learning_rate,
                f"last_learning_rate must be in (0, learning_rate], not {self.last_learning_rate}",
            ),
            (
                self.average_decay is not None and not 0 < self.average_decay < 1,
                f"average_decay must be between 0 and 1, not {self.average_decay}",
            ),
            (not 0 < self.smallest_crop <= 1, f"smallest_crop must be in (0, 1], not {self.smallest_crop}"),
            (self.workers < 0, f"workers must not be negative, not {self.workers}"),
            (
                any(template.count("{}") != 1 for template in self.templates),
                "every template must have {} once, where the concept goes",
            ),
            (
                self.arm == "oracle" and (self.oracle is None or not self.templates),
                'the arm "oracle" needs oracle, the path of a table key → concepts, and templates',
            ),
        ]

    @property
    def scale(self) -> float:
        """The factor of the learning rates."""
        return self.global_batch / REFERENCE_BATCH

    def model_configuration(self, *, text_tokens: int) -> GroupViTConfiguration:
        """Return the sizes of the model; text_tokens: the number of ids of the tokenizer."""
        return MODELS[self.model](text_tokens, self.context_length)

    def total_steps(self, batches_per_epoch: int) -> int:
        """Return the number of steps of the whole run."""
        return self.steps if self.steps is not None else self.epochs * batches_per_epoch

    def with_(self, **changes: Any) -> TrainingConfiguration:
        """Return a copy with changes."""
        return replace(self, **changes)

    @property
    def hash(self) -> str:
        """The SHA-256 of all settings that the result depends on: equal hashes mean equal runs."""
        values = {name: value for name, value in asdict(self).items() if name not in OPERATIONAL}
        return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()

    def to_json(self) -> str:
        """Return the configuration as a JSON object by field."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> TrainingConfiguration:
        """Build a configuration from values by field, with defaults for others. Raises ConfigurationError."""
        try:
            return _adapter().validate_python(dict(values))
        except ValidationError as error:
            wrong = (f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors())
            raise ConfigurationError(f"invalid training configuration: {'; '.join(wrong)}") from error

    @classmethod
    def from_file(cls, path: str | Path) -> TrainingConfiguration:
        """Read a JSON file; its optional "preset" names the base configuration. Raises ConfigurationError."""
        try:
            values = json.loads(Path(path).read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise ConfigurationError(f"cannot read a configuration from {path}: {error}") from error
        if not isinstance(values, dict):
            raise ConfigurationError(f"{path} has no JSON object")
        start = asdict(preset(values.pop("preset"))) if "preset" in values else {}
        return cls.from_mapping({**start, **values})

    @classmethod
    def small(cls) -> TrainingConfiguration:
        """CoCu's own: the published GroupViT at a global batch of 1,024, for 30 epochs, in bf16."""
        return cls(precision="bf16")

    @classmethod
    def scenes(cls) -> TrainingConfiguration:
        """For generated scenes on a CPU: a model of which a step takes about a second."""
        return cls(
            model="scenes",
            context_length=24,
            tokenizer=str(SCENES_TOKENIZER),
            templates=("{}", "a photo of a {}", "the {}", "a shot of a {}", "look at this {}"),
            global_batch=128,
            learning_rate=3.2e-2,
            first_learning_rate=3.2e-4,
            last_learning_rate=3.2e-4,
            augmentation="light",
            smallest_crop=0.5,
            mask_shared=True,
            workers=1,
            checkpoint_interval=200,
        )

    @classmethod
    def lean(cls) -> TrainingConfiguration:
        """For many runs on scenes, on one core: the experiment of five arms.

        Tried on the arm "oracle": at three times this rate the loss stays near that of guessing.
        """
        return cls.scenes().with_(model="lean", context_length=20, precision="bf16")

    @classmethod
    def tiny(cls) -> TrainingConfiguration:
        """For tests: the tiny model, on scenes."""
        return cls.scenes().with_(
            model="tiny", global_batch=32, workers=0, checkpoint_interval=10, log_interval=1
        )


MODELS: Mapping[str, Callable[[int, int], GroupViTConfiguration]] = {
    "small": lambda tokens, length: replace(
        GroupViTConfiguration.small(), text_tokens=tokens, context_length=length
    ),
    "scenes": lambda tokens, length: GroupViTConfiguration.scenes(text_tokens=tokens, context_length=length),
    "lean": lambda tokens, length: GroupViTConfiguration.lean(text_tokens=tokens, context_length=length),
    "tiny": lambda tokens, length: GroupViTConfiguration.tiny(text_tokens=tokens, context_length=length),
}
"""The sizes of models by name, of (ids of the tokenizer, tokens of a text)."""

PRESETS: Mapping[str, Callable[[], TrainingConfiguration]] = {
    "small": TrainingConfiguration.small,
    "scenes": TrainingConfiguration.scenes,
    "lean": TrainingConfiguration.lean,
    "tiny": TrainingConfiguration.tiny,
}


def preset(name: str) -> TrainingConfiguration:
    """A preset by name. Raises ConfigurationError."""
    if name not in PRESETS:
        raise ConfigurationError(f"there is no preset {name!r}; there are {', '.join(PRESETS)}")
    return PRESETS[name]()


def _adapter() -> TypeAdapter[TrainingConfiguration]:
    return TypeAdapter(TrainingConfiguration)
