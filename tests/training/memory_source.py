"""Samples drawn at random, held in memory: what a loop does without a platform."""

from __future__ import annotations

from collections.abc import Iterator

import torch

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.stream import Samples
from cocu_training.distributed import world

TEXT_TOKENS = 64
END = TEXT_TOKENS - 1

CONFIGURATION = TrainingConfiguration.tiny().with_(
    context_length=8, global_batch=8, epochs=3, log_interval=1, checkpoint_interval=100, warm_up=0.1
)


class MemorySource:
    """An epoch of so many batches, the same in every epoch but for their order; each rank has its rows."""

    def __init__(
        self,
        configuration: TrainingConfiguration,
        *,
        batches: int = 5,
        broken_batch: int | None = None,
        dtype: torch.dtype = torch.uint8,
    ) -> None:
        self.batches_per_epoch = batches
        size = configuration.model_configuration(text_tokens=TEXT_TOKENS).image_size
        texts = 0 if configuration.arm == "caption" else configuration.concepts
        generator = torch.Generator().manual_seed(1)
        rows = configuration.global_batch
        pixels = torch.randint(0, 256, (batches, rows, 3, size, size), generator=generator).to(dtype)
        if broken_batch is not None:
            pixels[broken_batch, 0, 0, 0, 0] = torch.nan
        tokens = torch.randint(
            1, END, (batches, rows, 1 + texts, configuration.context_length), generator=generator
        )
        tokens[..., -1] = END
        ids = torch.randint(-1, 20, (batches, rows, texts), generator=generator)
        self._made = [
            Samples(number, pixels[number], tokens[number], ids[number]) for number in range(batches)
        ]

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        rank, ranks = world()
        for number in range(start, self.batches_per_epoch):
            made = self._made[(number + epoch) % self.batches_per_epoch]
            yield Samples(number, *(tensor[rank::ranks] for tensor in made[1:]))
