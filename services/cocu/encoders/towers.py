"""An encoder as two towers: the part that is the same for every runtime."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.encoders import images
from cocu.encoders.bundle import Description
from cocu.encoders.encoder import Float32s, Pixels
from cocu.encoders.tokens import TextTokenizer
from cocu.errors import IntegrityError, InvalidInputError

__all__ = ["Tower", "TowerEncoder", "check_embeddings"]

NORM_TOLERANCE = 1e-3


class Tower(Protocol):
    """One model of a bundle, served by any runtime."""

    def embed(self, inputs_N: NDArray[Any]) -> Float32s:
        """Embed one batch of pixels or tokens as float32 [N, D], checked by `check_embeddings`."""
        ...


class TowerEncoder:
    """An encoder of two towers; threads may share it if they may share the towers.

    Any number of inputs is cut into batches of `batch`, always from the first input on, so the same call
    gives the towers the same batches. Towers get `parallel` batches at once.
    """

    def __init__(
        self,
        description: Description,
        *,
        hash: str,
        image: Tower,
        text: Tower,
        tokenizer: TextTokenizer,
        batch: int,
        parallel: int = 1,
    ) -> None:
        if batch < 1 or parallel < 1:
            raise ValueError(f"batch and parallel must be at least 1, not {batch} and {parallel}")
        self._description = description
        self._hash = hash
        self._image = image
        self._text = text
        self._tokenize = tokenizer
        self._batch = batch
        self._parallel = parallel

    @property
    def name(self) -> str:
        """The bundle's name."""
        return self._description.name

    @property
    def dim(self) -> int:
        """D, the number of dimensions of an embedding."""
        return self._description.dim

    @property
    def hash(self) -> str:
        """The bundle's SHA-256."""
        return self._hash

    @property
    def parallel(self) -> int:
        """The number of batches that are computed at once."""
        return self._parallel

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize and crop an image to uint8 [size, size, 3]."""
        return images.preprocess(image, self._description.image)

    def embed_images(self, pixels_NHWC: Pixels) -> Float32s:
        """Embed preprocessed images, uint8 [N, size, size, 3], as float32 [N, D] of unit norm.

        Raises InvalidInputError when the pixels have another shape or type, IntegrityError when the tower
        returns invalid embeddings.
        """
        size = self._description.image.size
        if pixels_NHWC.dtype != np.uint8 or pixels_NHWC.ndim != 4 or pixels_NHWC.shape[1:] != (size, size, 3):
            raise InvalidInputError(
                f"{self.name} takes pixels uint8 [N, {size}, {size}, 3], "
                f"not {pixels_NHWC.dtype} {list(pixels_NHWC.shape)}: use preprocess()"
            )
        return self._embed(self._image.embed, self._batches(pixels_NHWC))

    def tokenize(self, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the tokens that `embed_texts` passes to the text tower, int64 [N, context_length]."""
        return self._tokenize(texts)

    def embed_texts(self, texts: Sequence[str]) -> Float32s:
        """Embed texts as float32 [N, D] of unit norm; text beyond the context length is cut off.

        Raises InvalidInputError when something is not a string, IntegrityError when the tower returns
        invalid embeddings.
        """
        if isinstance(texts, str):
            raise InvalidInputError("embed_texts takes a list of texts; put a single text into a list")
        return self._embed(lambda part: self._text.embed(self._tokenize(part)), self._batches(texts))

    def _embed_batches(self, embed: Callable[[Any], Float32s], batches: Sequence[Any]) -> Iterable[Float32s]:
        """Return the embeddings of every batch, in order."""
        return map(embed, batches)

    def _embed(self, embed: Callable[[Any], Float32s], batches: Iterator[Any]) -> Float32s:
        parts = list(self._embed_batches(embed, list(batches)))
        return np.concatenate(parts) if parts else np.empty((0, self.dim), np.float32)

    def _batches(self, inputs: Any) -> Iterator[Any]:
        for start in range(0, len(inputs), self._batch):
            yield inputs[start : start + self._batch]


def check_embeddings(outputs_ND: NDArray[Any], *, count: int, dim: int, name: str) -> Float32s:
    """Return the output of a tower. Raises IntegrityError unless it is [count, dim], finite, of unit norm."""
    if outputs_ND.shape != (count, dim):
        raise IntegrityError(
            f"encoder {name} returned shape {outputs_ND.shape} for a batch of {count} × {dim}"
        )
    norms_N = np.linalg.norm(outputs_ND, axis=1)
    # Written so that NaN fails the check too.
    wrong_W = np.flatnonzero(~(np.abs(norms_N - 1.0) <= NORM_TOLERANCE))
    if wrong_W.size:
        raise IntegrityError(
            f"encoder {name} returned an embedding of norm {norms_N[wrong_W[0]]} instead of 1 "
            f"for {wrong_W.size} of {count} inputs, the first at position {wrong_W[0]}"
        )
    return outputs_ND.astype(np.float32, copy=False)
