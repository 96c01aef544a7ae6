"""What a trainer asks for, checked."""

from __future__ import annotations

from dataclasses import dataclass

from cocu.curation.sampling import check_draw
from cocu.errors import InvalidInputError

MOST_SAMPLES = 65_536
"""Samples of one global batch."""

MOST_IMAGES = 4_096
"""Samples of one rank's part of it where images come along: what a stream holds in memory at a time."""

MOST_CONCEPTS = 64
PLACE = "{}"


@dataclass(frozen=True, kw_only=True)
class BatchParameters:
    """Which part of which epoch, and in what form.

    rank, world_size: each global batch is dealt out to so many ranks. start: number of the first global
    batch. concepts: how many texts each sample gets. size: pixels of the shorter side of images, None as
    stored. templates: texts with {} in the place of the concept; none give the concept alone.

    Raises InvalidInputError for what does not fit together.
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
        wrong = dict(self._wrong())
        if wrong:
            raise InvalidInputError("These parameters give no stream of batches.", wrong)

    def _wrong(self) -> list[tuple[str, str]]:
        found = []
        if not 0 <= self.rank < self.world_size:
            found.append(
                ("query.rank", f"must be in 0..{self.world_size - 1} for world_size {self.world_size}")
            )
        if not 1 <= self.global_batch <= MOST_SAMPLES:
            found.append(("query.global_batch", f"must be in 1..{MOST_SAMPLES}"))
        elif self.images and self.global_batch > MOST_IMAGES * self.world_size:
            found.append(
                (
                    "query.global_batch",
                    f"is more than {MOST_IMAGES} images for each of {self.world_size} ranks; take a smaller "
                    "batch, or more ranks, or images=false",
                )
            )
        if not 1 <= self.concepts <= MOST_CONCEPTS:
            found.append(("query.concepts", f"must be in 1..{MOST_CONCEPTS}"))
        if self.size is not None and not self.images:
            found.append(("query.size", "says how large images are, and images=false asks for none"))
        if any(template.count(PLACE) != 1 for template in self.templates):
            found.append(("query.template", "must have {} once, where the concept is to stand"))
        try:
            check_draw(sampler=self.sampler, count=1, temperature=self.temperature)
        except ValueError as error:
            name = "sampler" if "sampler" in str(error) else "temperature"
            found.append((f"query.{name}", str(error)))
        return found
