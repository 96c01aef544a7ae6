from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.encoders.tiny_bundle import write_tiny_bundle

from cocu.encoders import InProcessEncoder, embed_concepts, open_encoder
from cocu.encoders.encoder import Float32s
from cocu.errors import IntegrityError, InvalidInputError


@pytest.fixture
def encoder(tmp_path: Path) -> InProcessEncoder:
    return open_encoder(write_tiny_bundle(tmp_path), threads=1)


@pytest.mark.parametrize("batch", [1, 2, 100])
def test_embed_concepts__is_the_mean_over_templates_of_unit_norm(
    encoder: InProcessEncoder, batch: int
) -> None:
    prompts = [["a cat", "the cat"], ["a hat"], ["a", "b", "c"]]
    concepts_VD = embed_concepts(encoder, prompts, batch=batch)
    for concept_D, texts in zip(concepts_VD, prompts, strict=True):
        mean_D = encoder.embed_texts(texts).mean(axis=0)
        np.testing.assert_allclose(concept_D, mean_D / np.linalg.norm(mean_D), atol=1e-6)


def test_embed_concepts__of_none_is_empty(encoder: InProcessEncoder) -> None:
    assert embed_concepts(encoder, []).shape == (0, 4)


def test_embed_concepts__wants_a_prompt_for_each(encoder: InProcessEncoder) -> None:
    with pytest.raises(InvalidInputError, match="concept 1"):
        embed_concepts(encoder, [["a"], []])


def test_embed_concepts__refuses_prompts_that_cancel_out() -> None:
    class Opposites:
        name, dim, hash = "opposites", 2, ""

        def embed_texts(self, texts: list[str]) -> Float32s:
            return np.array([[1, 0] if text == "+" else [-1, 0] for text in texts], np.float32)

    with pytest.raises(IntegrityError, match="cancel"):
        embed_concepts(Opposites(), [["+", "-"]])  # type: ignore[arg-type]
