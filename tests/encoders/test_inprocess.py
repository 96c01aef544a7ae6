from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from tests.encoders.tiny_bundle import CONTEXT_LENGTH, DIM, SIZE, write_tiny_bundle

from cocu.encoders import InProcessEncoder, open_encoder
from cocu.encoders.inprocess import check_embeddings
from cocu.errors import IntegrityError, InvalidBundleError, InvalidInputError


@pytest.fixture
def encoder(tmp_path: Path) -> InProcessEncoder:
    return open_encoder(write_tiny_bundle(tmp_path), threads=1, batch=4)


def images(count: int) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


def test_embed_images__gives_unit_vectors_in_order(encoder: InProcessEncoder) -> None:
    pixels_NHWC = images(11)
    embeddings_ND = encoder.embed_images(pixels_NHWC)
    assert embeddings_ND.dtype == np.float32
    np.testing.assert_allclose(np.linalg.norm(embeddings_ND, axis=1), 1, atol=1e-6)
    for row, pixels_HWC in enumerate(pixels_NHWC):
        np.testing.assert_allclose(embeddings_ND[row], encoder.embed_images(pixels_HWC[None])[0], atol=1e-5)


def test_embed_images__of_none_is_empty(encoder: InProcessEncoder) -> None:
    assert encoder.embed_images(images(0)).shape == (0, DIM)
    assert encoder.embed_texts([]).shape == (0, DIM)


@pytest.mark.parametrize(
    "wrong", [images(2)[0], images(2)[:, :4], images(2)[..., :1], images(2).astype(np.float32)]
)
def test_embed_images__refuses_other_pixels(encoder: InProcessEncoder, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidInputError, match="preprocess"):
        encoder.embed_images(wrong)


def test_embed_images__reports_what_is_no_embedding(encoder: InProcessEncoder) -> None:
    pixels_NHWC = images(6)
    pixels_NHWC[5] = 0
    with pytest.raises(
        IntegrityError, match="norm nan instead of 1 for 1 of 2 inputs, the first at position 1"
    ):
        encoder.embed_images(pixels_NHWC)


def test_embed_texts__is_the_same_alone_and_in_a_batch(encoder: InProcessEncoder) -> None:
    texts = ["cat", "a dog", "", "CAT ", "x" * 1000, "nul \0 and \ud800 surrogate", "hat"]
    embeddings_ND = encoder.embed_texts(texts)
    for row, text in enumerate(texts):
        np.testing.assert_allclose(embeddings_ND[row], encoder.embed_texts([text])[0], atol=1e-5)
    np.testing.assert_array_equal(embeddings_ND[0], embeddings_ND[3])


@pytest.mark.parametrize("wrong", ["cat", [b"cat"], [None], ["cat", 3]])
def test_embed_texts__refuses_what_is_no_list_of_texts(encoder: InProcessEncoder, wrong: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="text"):
        encoder.embed_texts(wrong)


def test_tokenize__keeps_end_of_text_in_the_last_place(encoder: InProcessEncoder) -> None:
    start, end = encoder.tokenize([""])[0, :2].tolist()
    short_T, long_T = encoder.tokenize(["cat", "c a t " * 20])
    assert short_T.tolist() == [start, short_T[1], end] + [0] * (CONTEXT_LENGTH - 3)
    assert long_T[0] == start
    assert long_T[-1] == end
    assert end not in long_T[:-1]


def test_tokenize__of_a_very_long_text_is_that_of_its_beginning(encoder: InProcessEncoder) -> None:
    beginning = "cat sat on a hat \n\t " * 10
    np.testing.assert_array_equal(
        encoder.tokenize(["  " * 500_000 + beginning + "y " * 500_000]), encoder.tokenize([beginning])
    )


def test_encoder__may_be_shared_by_threads(encoder: InProcessEncoder) -> None:
    pixels_NHWC = images(40)
    expected_ND = encoder.embed_images(pixels_NHWC)
    with ThreadPoolExecutor(4) as pool:
        for embeddings_ND in pool.map(encoder.embed_images, [pixels_NHWC] * 8):
            np.testing.assert_array_equal(embeddings_ND, expected_ND)


@pytest.mark.parametrize(
    ("field", "value"), [("image.input", "picture"), ("image.output", "raw_"), ("text.input", "words")]
)
def test_open_encoder__compares_the_description_with_the_models(
    tmp_path: Path, field: str, value: str
) -> None:
    with pytest.raises(InvalidBundleError, match=field) as caught:
        open_encoder(write_tiny_bundle(tmp_path, **{field: value}))
    assert list(caught.value.fields) == [field]


@pytest.mark.parametrize("file", ["image.onnx", "text.onnx", "tokenizer.json"])
@pytest.mark.parametrize("content", [b"", b"{}", b"\x00\xff garbage"])
def test_open_encoder__names_the_file_that_is_broken(tmp_path: Path, file: str, content: bytes) -> None:
    write_tiny_bundle(tmp_path)
    (tmp_path / file).write_bytes(content)
    with pytest.raises(InvalidBundleError, match=file):
        open_encoder(tmp_path)


def test_open_encoder__refuses_no_threads(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="batch"):
        open_encoder(write_tiny_bundle(tmp_path), batch=0)


def test_check_embeddings__refuses_another_shape() -> None:
    with pytest.raises(IntegrityError, match="shape"):
        check_embeddings(np.ones((3, 1), np.float32), count=4, dim=1, name="tiny")


def test_embed_images__of_a_model_with_another_dim_is_an_error(tmp_path: Path) -> None:
    encoder = open_encoder(write_tiny_bundle(tmp_path, dim=DIM + 1))
    with pytest.raises(IntegrityError, match="shape"):
        encoder.embed_images(images(1))
