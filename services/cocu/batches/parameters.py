"""The parameters of a batch stream, checked."""

from __future__ import annotations

from dataclasses import dataclass

from cocu.curation.sampling import check_draw
from cocu.errors import InvalidInputError

MAX_SAMPLES = 65_536
"""The largest number of samples of a global batch."""

MAX_IMAGES = 4_096
"""The largest number of samples per rank of a global batch with images, which the stream holds in memory."""

MAX_CONCEPTS = 64
PLACEHOLDER = "{}"


@dataclass(frozen=True, kw_only=True)
class BatchParameters:
    """Which part of which epoch to stream, and in what form.

    rank, world_size: each global batch is divided among `world_size` ranks. start: the number of the first
    global batch. concepts: the number of texts per sample. size: the shorter side of images in pixels, None
    for the stored size. templates: texts with {} where the concept goes; without templates a text is the
    concept alone.

    Raises InvalidInputError, naming the parameters that are wrong.
    """

    seed: int = 0
    epoch: int = 0
    global_batch: int = 1024
    rank: int = 0
    world_size: int = 1
    start: int = 0
    drop_last: bool = False
    concepts: int = 3
    sampler: str = "cluster"
    temperature: float = 1.0
    include_scores: bool = False
    images: bool = True
    size: int | None = None
    templates: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        errors = dict(self._errors())
        if errors:
            raise InvalidInputError("These parameters give no stream of batches.", errors)

    def _errors(self) -> list[tuple[str, str]]:
        errors = []
        if not 0 <= self.rank < self.world_size:
            errors.append(
                ("query.rank", f"must be in 0..{self.world_size - 1} for world_size {self.world_size}")
            )
        if not 1 <= self.global_batch <= MAX_SAMPLES:
            errors.append(("query.global_batch", f"must be in 1..{MAX_SAMPLES}"))
        elif self.images and self.global_batch > MAX_IMAGES * self.world_size:
            errors.append(
                (
                    "query.global_batch",
                    f"is more than {MAX_IMAGES} images for each of {self.world_size} ranks; take a smaller "
                    "batch, or more ranks, or images=false",
                )
            )
        if not 1 <= self.concepts <= MAX_CONCEPTS:
            errors.append(("query.concepts", f"must be in 1..{MAX_CONCEPTS}"))
        if self.size is not None and not self.images:
            errors.append(("query.size", "says how large images are, and images=false asks for none"))
        if any(template.count(PLACEHOLDER) != 1 for template in self.templates):
            errors.append(("query.template", "must have {} once, where the concept is to stand"))
        try:
            check_draw(sampler=self.sampler, count=1, temperature=self.temperature)
        except ValueError as error:
            name = "sampler" if "sampler" in str(error) else "temperature"
            errors.append((f"query.{name}", str(error)))
        return errors
