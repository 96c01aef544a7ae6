"""The file in which a failing rank says why: a log mixes what several ranks and torchrun print."""

from __future__ import annotations

import os
import traceback
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from cocu.client import ClientError
from cocu_training.errors import TrainingError

ERROR_FILE = "COCU_TRAINING_ERROR_FILE"
"""Environment variable: the path of the file. The training service sets it; without it none is written."""


@contextmanager
def error_written() -> Iterator[None]:
    """Write an error that leaves the block to the file, unless one is there already.

    An expected error is written as its message, any other as its traceback. The first error stays: when one
    rank fails, the others lose their connection to it and fail as well.
    """
    try:
        yield
    except Exception as error:
        expected = isinstance(error, TrainingError | ClientError)
        _write(str(error) if expected else traceback.format_exc())
        raise


def _write(text: str) -> None:
    name = os.environ.get(ERROR_FILE)
    if not name:
        return
    # Where the file is there already or cannot be written, the error is still printed.
    with suppress(OSError), Path(name).open("x", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text)
