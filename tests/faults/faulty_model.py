"""The published program of a Triton model with faults that a file sets; fault tests serve it.

{"seconds": 10, "slow": 2}      the next two requests take this long
{"poison": true}                magenta images have no embedding: NaN
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

MAGENTA = (255, 0, 255)

_PROGRAM = """

import time

FAULTS = {faults!r}
ANSWERED = {answered!r}


class TritonPythonModel(TritonPythonModel):
    def _answer(self, request):
        with open(FAULTS) as file:
            faults = json.load(file)
        slow = faults.get("slow", 1)
        if "seconds" in faults and slow and not request.is_cancelled():
            if "slow" in faults:
                with open(FAULTS + ".next", "w") as file:
                    json.dump(dict(faults, slow=slow - 1), file)
                os.replace(FAULTS + ".next", FAULTS)
            time.sleep(faults["seconds"])
        response = super()._answer(request)
        with open(ANSWERED, "a") as file:
            file.write("x")
        if not faults.get("poison") or response.has_error():
            return response
        pixels = backend.get_input_tensor_by_name(request, self._input).as_numpy()
        if pixels.ndim != 4:
            return response
        outputs = np.array(response.output_tensors()[0].as_numpy())
        outputs[(pixels == {magenta!r}).all(axis=(1, 2, 3))] = np.nan
        return backend.InferenceResponse([backend.Tensor(self._output, outputs)])
"""


class FaultyModel:
    """Every model of a repository, made to fail on demand."""

    def __init__(self, repository: Path, folder: Path) -> None:
        self._faults = folder / "faults.json"
        self._answered = folder / "answered"
        self._answered.touch()
        self.set()
        program = _PROGRAM.format(faults=str(self._faults), answered=str(self._answered), magenta=MAGENTA)
        for file in repository.glob("*/*/model.py"):
            file.write_text(file.read_text(encoding="utf-8") + program, encoding="utf-8")

    def set(self, **faults: Any) -> None:
        """Set the faults from the next request on; none without arguments."""
        fresh = self._faults.with_suffix(".new")
        fresh.write_text(json.dumps(faults))
        fresh.replace(self._faults)

    @property
    def answered(self) -> int:
        """The number of requests that the models have answered."""
        return self._answered.stat().st_size


def magenta(side: int) -> NDArray[np.uint8]:
    """Return the image that a poisoned model cannot embed."""
    return np.full((side, side, 3), MAGENTA, np.uint8)
