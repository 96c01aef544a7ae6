"""Embeddings of concepts, computed from their prompts."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from cocu.encoders.encoder import Encoder, Float32s
from cocu.errors import IntegrityError, InvalidInputError

__all__ = ["embed_concepts"]

SMALLEST_NORM = 1e-6


def embed_concepts(encoder: Encoder, prompts: Sequence[Sequence[str]], *, batch: int = 256) -> Float32s:
    """Embed concepts as the mean of their prompts' embeddings, renormalised (CLIP, section 3.1.4).

    prompts: per concept one text per template, at least one. Returns float32 [V, D] of unit norm. Memory
    beyond the result is that of `batch` texts. Raises InvalidInputError when a concept has no prompt,
    IntegrityError when a concept's prompts cancel out.
    """
    sums_VD = np.zeros((len(prompts), encoder.dim), np.float64)
    for concepts, texts in _batches(prompts, batch):
        np.add.at(sums_VD, concepts, encoder.embed_texts(texts))
    norms_V = np.linalg.norm(sums_VD, axis=1)
    for concept in np.flatnonzero(norms_V < SMALLEST_NORM).tolist():
        raise IntegrityError(f"the prompts of concept {concept} cancel out: {list(prompts[concept])[:3]}")
    means_VD: Float32s = (sums_VD / norms_V[:, None]).astype(np.float32)
    return means_VD


def _batches(prompts: Sequence[Sequence[str]], batch: int) -> Iterator[tuple[list[int], list[str]]]:
    concepts: list[int] = []
    texts: list[str] = []
    for concept, concept_texts in enumerate(prompts):
        if not concept_texts:
            raise InvalidInputError(f"concept {concept} has no prompt")
        for text in concept_texts:
            concepts.append(concept)
            texts.append(text)
            if len(texts) == batch:
                yield concepts, texts
                concepts, texts = [], []
    if texts:
        yield concepts, texts
