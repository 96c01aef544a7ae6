"""One rank of a short run on samples in memory, as torchrun starts it: rank_process.py FOLDER [stop|fail].

Without the noise of the groupings: ranks draw theirs apart, so with it no two numbers of ranks agree.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.training.memory_source import CONFIGURATION, TEXT_TOKENS, MemorySource

from cocu_training.data.stream import Samples
from cocu_training.errors import DataError
from cocu_training.loop.distributed import ranks
from cocu_training.loop.trainer import Trainer
from cocu_training.model.grouping import Assignment


class Stopping(MemorySource):
    """Tells the second rank, and no other, to stop before batch 2."""

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        for samples in super().samples(epoch, start=start):
            if samples.number == 2 and os.environ.get("RANK") == "1":
                os.kill(os.getpid(), signal.SIGTERM)
            yield samples


class Failing(MemorySource):
    """Has a damaged batch for the second rank, and for no other."""

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        for samples in super().samples(epoch, start=start):
            if samples.number == 2 and os.environ.get("RANK") == "1":
                raise DataError("batch 2 is damaged")
            yield samples


SOURCES = {"": MemorySource, "stop": Stopping, "fail": Failing}


def run(folder: Path, source: type[MemorySource]) -> None:
    with ranks(device="cpu") as device:
        trainer = Trainer(
            CONFIGURATION.with_(steps=6, mask_shared=True),
            source=source(CONFIGURATION),
            text_tokens=TEXT_TOKENS,
            folder=folder,
            device=device,
        )
        trainer.resume()
        for module in trainer.model.modules():
            if isinstance(module, Assignment):
                module.eval()
        outcome = trainer.run()
        print(f"rank {os.environ.get('RANK', '0')} ended at {outcome.step}, {outcome.finished}", flush=True)


if __name__ == "__main__":
    run(Path(sys.argv[1]), SOURCES["".join(sys.argv[2:])])
