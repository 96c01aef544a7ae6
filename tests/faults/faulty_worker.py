"""`cocu` with faults or delays, as COCU_TEST_FAULTS says (JSON); tests start it in place of `cocu`.

    python -m tests.faults.faulty_worker worker --processes 2

seconds: how long every task waits at its beginning, so that a test can disturb it while it runs.
take_seconds: how long the worker waits after the lease of a task was stored, before it knows of it.
deadly_side: images of this width kill the process that opens them, as if they needed too much memory.
clock: the number of seconds by which the clock of the process is wrong.
"""

from __future__ import annotations

import json
import os
import signal
import time
from typing import Any

from PIL import Image

from cocu.cli import main
from cocu.formats import images
from cocu.pipeline import planner
from cocu.pipeline.lease import Lease
from cocu.pipeline.stages import StageSpec, embed

FAULTS = json.loads(os.environ.get("COCU_TEST_FAULTS", "{}"))


def make_slow(seconds: float) -> None:
    run = StageSpec.run

    def slowly(spec: StageSpec, lease: Lease) -> None:
        time.sleep(seconds)
        run(spec, lease)

    StageSpec.run = slowly  # type: ignore[method-assign]


def make_slow_to_take(seconds: float) -> None:
    take = planner.take

    def slowly(*arguments: Any, **options: Any) -> planner.Taken:
        taken = take(*arguments, **options)
        time.sleep(seconds)
        return taken

    planner.take = slowly


def make_deadly(side: int) -> None:
    load = images.load_image

    def deadly(data: bytes, **options: object) -> Image.Image:
        image: Image.Image = load(data, **options)
        if image.width == side:
            os.kill(os.getpid(), signal.SIGKILL)
        return image

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
