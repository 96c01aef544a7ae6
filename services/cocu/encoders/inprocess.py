"""The bundle served by ONNX Runtime in this process."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from onnxruntime.capi import onnxruntime_pybind11_state as runtime_errors
from PIL import Image

from cocu.encoders import images
from cocu.encoders.bundle import Bundle, ImageTower, TextTower
from cocu.encoders.encoder import Float32s, Pixels
from cocu.encoders.tokens import TextTokenizer
from cocu.errors import IntegrityError, InvalidBundleError, InvalidInputError

__all__ = ["InProcessEncoder", "check_embeddings", "open_encoder"]

NORM_TOLERANCE = 1e-3

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

    threads: of a single inference, 0 for one per physical core. Raises InvalidBundleError.
    """
    return InProcessEncoder(Bundle.load(folder), threads=threads, batch=batch)


class InProcessEncoder:
    """An encoder that runs the bundle's towers with ONNX Runtime; may be shared by threads.

    Inputs of any number are cut into batches of `batch`, always from the first one on, so the same call
    gives the same bits on the same machine with the same number of threads.
    """

    def __init__(self, bundle: Bundle, *, threads: int = 0, batch: int = 64) -> None:
        if batch < 1 or threads < 0:
            raise ValueError(f"batch must be at least 1 and threads at least 0, not {batch} and {threads}")
        self.bundle = bundle
        self._batch = batch
        self._image = _Tower(bundle, "image", bundle.image, threads=threads)
        self._text = _Tower(bundle, "text", bundle.text, threads=threads)
        self._tokenize = TextTokenizer(bundle.folder / bundle.text.tokenizer, bundle.text.context_length)

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self.bundle.name

    @property
    def dim(self) -> int:
        """D, the number of dimensions of an embedding."""
        return self.bundle.dim

    @property
    def hash(self) -> str:
        """The bundle's SHA-256."""
        return self.bundle.hash

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize and crop a picture to uint8 [size, size, 3]."""
        return images.preprocess(image, self.bundle.image)

    def embed_images(self, pixels_NHWC: Pixels) -> Float32s:
        """Embed preprocessed pictures, uint8 [N, size, size, 3], as float32 [N, D] of unit norm.

        Raises InvalidInputError when the pixels have another shape or type, IntegrityError when the tower
        returns something that is no embedding.
        """
        size = self.bundle.image.size
        if pixels_NHWC.dtype != np.uint8 or pixels_NHWC.ndim != 4 or pixels_NHWC.shape[1:] != (size, size, 3):
            raise InvalidInputError(
                f"{self.name} takes pixels uint8 [N, {size}, {size}, 3], "
                f"not {pixels_NHWC.dtype} {list(pixels_NHWC.shape)}: use preprocess()"
            )
        embeddings_ND = np.empty((len(pixels_NHWC), self.dim), np.float32)
        for part in self._batches(len(pixels_NHWC)):
            embeddings_ND[part] = self._image.embed(pixels_NHWC[part])
        return embeddings_ND

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """The tokens that `embed_texts` gives to the text tower, int64 [N, context_length]."""
        return self._tokenize(texts)

    def embed_texts(self, texts: Sequence[str]) -> Float32s:
        """Embed texts as float32 [N, D] of unit norm; what exceeds the context length is cut off.

        Raises InvalidInputError when something is not a string, IntegrityError when the tower returns
        something that is no embedding.
        """
        if isinstance(texts, str):
            raise InvalidInputError("embed_texts takes a list of texts; put a single one into a list")
        embeddings_ND = np.empty((len(texts), self.dim), np.float32)
        for part in self._batches(len(texts)):
            embeddings_ND[part] = self._text.embed(self._tokenize(texts[part]))
        return embeddings_ND

    def _batches(self, count: int) -> Iterator[slice]:
        for start in range(0, count, self._batch):
            yield slice(start, min(start + self._batch, count))


class _Tower:
    """One ONNX model of a bundle in a session, its inputs and outputs checked."""

    def __init__(self, bundle: Bundle, name: str, tower: ImageTower | TextTower, *, threads: int) -> None:
        self._bundle = bundle
        self._input = tower.input
        self._output = tower.output
        path = bundle.folder / tower.file
        self._session = _open_session(path, name, threads)
        inputs = [each.name for each in self._session.get_inputs()]
        if inputs != [tower.input]:
            raise InvalidBundleError(
                f"{path} takes {inputs}, but {name}.input is {tower.input!r}", {f"{name}.input": "wrong name"}
            )
        outputs = [each.name for each in self._session.get_outputs()]
        if tower.output not in outputs:
            raise InvalidBundleError(
                f"{path} gives {outputs}, but {name}.output is {tower.output!r}",
                {f"{name}.output": "wrong name"},
            )

    def embed(self, inputs_N: NDArray[Any]) -> Float32s:
        try:
            (outputs_ND,) = self._session.run([self._output], {self._input: np.ascontiguousarray(inputs_N)})
        except _RUN_ERRORS as error:
            count = len(inputs_N)
            raise IntegrityError(
                f"encoder {self._bundle.name} failed on a batch of {count}: {error}"
            ) from error
        return check_embeddings(outputs_ND, count=len(inputs_N), dim=self._bundle.dim, name=self._bundle.name)


def check_embeddings(outputs_ND: NDArray[Any], *, count: int, dim: int, name: str) -> Float32s:
    """Give back what a tower returned if it is [count, dim], finite and of unit norm, else IntegrityError."""
    if outputs_ND.shape != (count, dim):
        raise IntegrityError(
            f"encoder {name} returned shape {outputs_ND.shape} for a batch of {count} × {dim}"
        )
    norms_N = np.linalg.norm(outputs_ND, axis=1)
    # Written so that NaN fails it too.
    wrong_W = np.flatnonzero(~(np.abs(norms_N - 1.0) <= NORM_TOLERANCE))
    if wrong_W.size:
        raise IntegrityError(
            f"encoder {name} returned an embedding of norm {norms_N[wrong_W[0]]} instead of 1 "
            f"for {wrong_W.size} of {count} inputs, the first at position {wrong_W[0]}"
        )
    return outputs_ND.astype(np.float32, copy=False)


def _open_session(path: Path, name: str, threads: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    # Waiting threads that spin would take the cores from those that decode pictures.
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    try:
        return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    except _LOAD_ERRORS as error:
        raise InvalidBundleError(
            f"{path} is not a model that runs: {error}", {f"{name}.file": str(error)}
        ) from error
