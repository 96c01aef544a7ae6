"""An encoder that ONNX Runtime serves in this process."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors

from cocu import machine
from cocu.encoders.bundle import Bundle, ImageTower, TextTower
from cocu.encoders.encoder import Float32s
from cocu.encoders.tokens import TextTokenizer
from cocu.encoders.towers import TowerEncoder, check_embeddings
from cocu.errors import ExhaustedError, IntegrityError, InvalidBundleError

__all__ = ["InProcessEncoder", "check_embeddings", "open_encoder"]

_LOAD_ERRORS = (
    runtime_errors.Fail,
    runtime_errors.InvalidArgument,
    runtime_errors.InvalidGraph,
    runtime_errors.InvalidProtobuf,
    runtime_errors.NoModel,
    runtime_errors.NoSuchFile,
    runtime_errors.NotImplemented,
    runtime_errors.RuntimeException,
)
_RUN_ERRORS = (runtime_errors.Fail, runtime_errors.InvalidArgument, runtime_errors.RuntimeException)


def open_encoder(folder: str | Path, *, threads: int = 0, batch: int = 64) -> InProcessEncoder:
    """Load the bundle in a folder and serve it in this process.

    threads: the threads of a single inference, 0 for one per physical core. Raises InvalidBundleError.
    """
    return InProcessEncoder(Bundle.load(folder), threads=threads, batch=batch)


class InProcessEncoder(TowerEncoder):
    """An encoder that runs the bundle's towers with ONNX Runtime; may be shared by threads.

    Any number of inputs is cut into batches of `batch`, always from the first input on, so the same call
    gives the same bits on the same machine with the same number of threads.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 0, batch: int = 64) -> None:
        if batch < 1 or threads < 0:
            raise ValueError(f"batch must be at least 1 and threads at least 0, not {batch} and {threads}")
        self.bundle = bundle
        tokenizer = bundle.folder / bundle.text.tokenizer
        super().__init__(
            bundle,
            hash=bundle.hash,
            image=_Tower(bundle, "image", bundle.image, threads=threads),
            text=_Tower(bundle, "text", bundle.text, threads=threads),
            tokenizer=TextTokenizer(tokenizer.read_bytes(), bundle.text.context_length, where=str(tokenizer)),
            batch=batch,
        )


class _Tower:
    """One ONNX model of a bundle in a session, with checked inputs and outputs."""

    def __init__(self, bundle: Bundle, name: str, tower: ImageTower | TextTower, *, threads: int) -> None:
        self._bundle = bundle
        self._input = tower.input
        self._output = tower.output
        path = bundle.folder / tower.file
        self._session = _open_session(path, name, threads)
        inputs = [tensor.name for tensor in self._session.get_inputs()]
        if inputs != [tower.input]:
            raise InvalidBundleError(
                f"{path} takes {inputs}, but {name}.input is {tower.input!r}", {f"{name}.input": "wrong name"}
            )
        outputs = [tensor.name for tensor in self._session.get_outputs()]
        if tower.output not in outputs:
            raise InvalidBundleError(
                f"{path} gives {outputs}, but {name}.output is {tower.output!r}",
                {f"{name}.output": "wrong name"},
            )

    def embed(self, inputs_N: NDArray[Any]) -> Float32s:
        try:
            (outputs_ND,) = self._session.run([self._output], {self._input: np.ascontiguousarray(inputs_N)})
        except _RUN_ERRORS as error:
            if "Failed to allocate memory" in str(error) or "bad_alloc" in str(error):
                raise ExhaustedError(
                    f"encoder {self._bundle.name} has no memory left; give it more"
                ) from error
            count = len(inputs_N)
            raise IntegrityError(
                f"encoder {self._bundle.name} failed on a batch of {count}: {error}"
            ) from error
        return check_embeddings(outputs_ND, count=len(inputs_N), dim=self._bundle.dim, name=self._bundle.name)


def _open_session(path: Path, name: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Threads that spin while waiting would take the cores from those that decode images.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS as error:
        with machine.translate_errors(f"read {path}"):
            path.open("rb").close()
        raise InvalidBundleError(
            f"{path} is not a model that runs: {error}", {f"{name}.file": str(error)}
        ) from error
