"""`cocu` with a fault, or slower, as COCU_TEST_FAULTS says (JSON): what tests start in place of `cocu`.

    python -m tests.faults.faulty_worker worker --processes 2

seconds: how much longer every chunk takes, at its beginning, so that it can be met in the middle.
take_seconds: how much longer it takes until it knows that a chunk was leased to it.
deadly_side: pictures this wide kill the process that opens them, as one does that needs too much memory.
clock: by how many seconds the clock of the process is wrong.
"""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Callable
from typing import Any

from PIL import Image

from cocu.cli import main
from cocu.datasets import images
from cocu.storage.catalog import planning
from cocu.workers import embed, stages
from cocu.workers.leases import Lease

FAULTS = json.loads(os.environ.get("COCU_TEST_FAULTS", "{}"))


def make_slow(seconds: float) -> None:
    for stage, run in dict(stages.STAGES).items():

        def slowly(lease: Lease, run: Callable[[Lease], None] = run) -> None:
            time.sleep(seconds)
            run(lease)

        stages.STAGES[stage] = slowly  # type: ignore[index]


def make_slow_to_take(seconds: float) -> None:
    take = planning.take

    def slowly(*arguments: Any, **options: Any) -> planning.Taken:
        taken = take(*arguments, **options)
        time.sleep(seconds)
        return taken

    planning.take = slowly


def make_deadly(side: int) -> None:
    load = images.load_image

    def deadly(data: bytes, **options: object) -> Image.Image:
        picture: Image.Image = load(data, **options)
        if picture.width == side:
            os.kill(os.getpid(), signal.SIGKILL)
        return picture

    embed.load_image = deadly  # type: ignore[assignment]


def make_wrong_clock(seconds: float) -> None:
    right = time.time
    time.time = lambda: right() + seconds


if __name__ == "__main__":
    if "seconds" in FAULTS:
        make_slow(FAULTS["seconds"])
    if "take_seconds" in FAULTS:
        make_slow_to_take(FAULTS["take_seconds"])
    if "deadly_side" in FAULTS:
        make_deadly(FAULTS["deadly_side"])
    if "clock" in FAULTS:
        make_wrong_clock(FAULTS["clock"])
    main()
