"""The interface of an encoder, whichever runtime serves the bundle."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from cocu.errors import IntegrityError

__all__ = ["Encoder", "Float32s", "ModelChangedError", "Pixels"]

Pixels = NDArray[np.uint8]
Float32s = NDArray[np.float32]


class ModelChangedError(IntegrityError):
    """Another model has replaced the one that the work began with."""


class Encoder(Protocol):
    """An image tower and a text tower into one space of `dim` dimensions.

    Every embedding is float32, finite and of unit norm. The other inputs of a batch change an embedding by
    no more than rounding (1e-5). `hash` identifies the files: equal hashes mean equal embeddings.
    """

    @property
    def name(self) -> str:
        """The encoder's name, to show and to select it by."""
        ...

    @property
    def dim(self) -> int:
        """D, the number of dimensions of an embedding."""
        ...

    @property
    def hash(self) -> str:
        """The bundle's SHA-256, which is the encoder's identity."""
        ...

    @property
    def parallel(self) -> int:
        """The number of batches to embed at once, from as many threads, for full throughput; at least 1."""
        ...

    def preprocess(self, image: Image.Image) -> Pixels:
        """Resize and crop an image to the uint8 [size, size, 3] pixels that `embed_images` takes."""
        ...

    def embed_images(self, pixels_NHWC: Pixels) -> Float32s:
        """Embed preprocessed images, uint8 [N, size, size, 3], as float32 [N, D]."""
        ...

    def embed_texts(self, texts: Sequence[str]) -> Float32s:
        """Embed texts as float32 [N, D]; text beyond the context length is cut off."""
        ...
