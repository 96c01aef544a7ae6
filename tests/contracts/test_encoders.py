"""Encoders in this process and on an inference server: the same calls, the same embeddings to the bit."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.encoders.tiny_bundle import CONTEXT_LENGTH, DIM, SIZE, write_tiny_bundle
from tests.servers.triton_server import triton_server

from cocu.encoders import Bundle, Encoder, InProcessEncoder, embed_stream, open_encoder
from cocu.encoders.registry import BundleFolder, EncoderRegistry
from cocu.encoders.towers import TowerEncoder
from cocu.encoders.triton import InferenceServer
from cocu.encoders.triton.configuration import ModelOptions
from cocu.encoders.triton.repository import publish
from cocu.errors import IntegrityError, InvalidInputError, NotFoundError


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory, repository: Path) -> Path:
    """A folder with two bundles: a tiny one, and the one of the package."""
    folder = tmp_path_factory.mktemp("bundles")
    write_tiny_bundle(folder / "tiny")
    (folder / "scenes").symlink_to(repository / "examples" / "encoders" / "scenes")
    return folder


@pytest.fixture(scope="module", params=["in process", "triton"])
def encoders(
    request: pytest.FixtureRequest, bundles: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[EncoderRegistry]:
    if request.param == "in process":
        yield EncoderRegistry(BundleFolder(bundles, threads=1))
        return
    folder = tmp_path_factory.mktemp("triton")
    for bundle in sorted(bundles.iterdir()):
        publish(Bundle.load(bundle), folder / "models", options=ModelOptions(backend="python", threads=1))
    with triton_server(folder / "models", folder) as server:
        opened = EncoderRegistry(InferenceServer(server.url))
        yield opened
        opened.close()


@pytest.fixture
def tiny(encoders: EncoderRegistry) -> Encoder:
    return encoders.get("tiny")


@pytest.fixture(scope="module")
def reference(bundles: Path) -> InProcessEncoder:
    return open_encoder(bundles / "tiny", threads=1)


def pixels(count: int, *, size: int = SIZE) -> NDArray[np.uint8]:
    return np.random.default_rng(0).integers(1, 256, (count, size, size, 3), dtype=np.uint8)


def test_encoders__are_listed_by_name_with_the_hashes_of_their_bundles(
    encoders: EncoderRegistry, bundles: Path
) -> None:
    listed = encoders.list()
    assert [encoder.name for encoder in listed] == ["scenes", "tiny"]
    assert [encoder.hash for encoder in listed] == [
        Bundle.load(bundles / name).hash for name in ("scenes", "tiny")
    ]
    assert [encoder.dim for encoder in listed] == [192, DIM]
    assert listed[1].license == "Apache-2.0"


def test_encoders__are_found_by_name_and_by_hash(encoders: EncoderRegistry) -> None:
    scenes, tiny = encoders.list()
    assert encoders.describe() == scenes
    assert encoders.describe("tiny") == tiny
    assert encoders.get(tiny.hash) is encoders.get("tiny")
    assert encoders.require(name="whatever", hash=tiny.hash) is encoders.get("tiny")


def test_encoders__say_what_there_is_and_what_is_gone(encoders: EncoderRegistry) -> None:
    with pytest.raises(NotFoundError, match=r"no encoder 'photo' .* there are: scenes, tiny"):
        encoders.get("photo")
    with pytest.raises(IntegrityError, match="not the one this work began with"):
        encoders.require(name="tiny", hash="0" * 64)


def test_encoder__knows_itself(tiny: Encoder, reference: InProcessEncoder) -> None:
    assert (tiny.name, tiny.dim, tiny.hash) == ("tiny", DIM, reference.hash)
    assert tiny.parallel >= 1


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
def test_embed_images__gives_the_same_bits(tiny: Encoder, reference: InProcessEncoder, count: int) -> None:
    embeddings_ND = tiny.embed_images(pixels(count))
    assert embeddings_ND.shape == (count, DIM)
    assert embeddings_ND.dtype == np.float32
    np.testing.assert_array_equal(embeddings_ND, reference.embed_images(pixels(count)))


def test_embed_texts__gives_the_same_bits(tiny: Encoder, reference: InProcessEncoder) -> None:
    texts = ["cat", "a dog", "", "x" * 1000, "nul \0 and \ud800 surrogate", *(f"hat {n}" for n in range(200))]
    np.testing.assert_array_equal(tiny.embed_texts(texts), reference.embed_texts(texts))
    assert tiny.embed_texts([]).shape == (0, DIM)


def test_embeddings_of_the_shipped_encoder__have_the_same_bits(
    encoders: EncoderRegistry, bundles: Path
) -> None:
    served, here = encoders.get("scenes"), open_encoder(bundles / "scenes", threads=1)
    pictures_NHWC = pixels(100, size=96)
    np.testing.assert_array_equal(served.embed_images(pictures_NHWC), here.embed_images(pictures_NHWC))
    texts = [f"a photo of {count} dogs" for count in range(70)]
    np.testing.assert_array_equal(served.embed_texts(texts), here.embed_texts(texts))


def test_preprocess__gives_the_same_pixels(tiny: Encoder, reference: InProcessEncoder) -> None:
    image = Image.fromarray(np.random.default_rng(1).integers(0, 256, (40, 70, 3), dtype=np.uint8))
    np.testing.assert_array_equal(tiny.preprocess(image), reference.preprocess(image))


@pytest.mark.parametrize("wrong", [pixels(2)[0], pixels(2)[:, :4], pixels(2).astype(np.float32)])
def test_embed_images__refuses_other_pixels(tiny: Encoder, wrong: NDArray[np.uint8]) -> None:
    with pytest.raises(InvalidInputError, match="preprocess"):
        tiny.embed_images(wrong)


@pytest.mark.parametrize("wrong", ["cat", ["cat", 3]])
def test_embed_texts__refuses_what_is_no_list_of_texts(tiny: Encoder, wrong: list[str]) -> None:
    with pytest.raises(InvalidInputError, match="text"):
        tiny.embed_texts(wrong)


def test_embed_images__reports_what_is_no_embedding(tiny: Encoder) -> None:
    pixels_NHWC = pixels(6)
    pixels_NHWC[5] = 0
    with pytest.raises(
        IntegrityError, match="norm nan instead of 1 for 1 of 6 inputs, the first at position 5"
    ):
        tiny.embed_images(pixels_NHWC)


def test_embed_stream__finds_the_picture_at_fault(tiny: Encoder, reference: InProcessEncoder) -> None:
    def load(item: int) -> Image.Image:
        if item in {3, 40}:
            return Image.new("RGB", (SIZE, SIZE))
        return Image.fromarray(np.random.default_rng(item).integers(1, 256, (20, 30, 3), dtype=np.uint8))

    served = list(embed_stream(tiny, range(70), load=load, batch=16))
    here = list(embed_stream(reference, range(70), load=load, batch=16))
    assert [image.item for image in served] == list(range(70))
    assert [image.item for image in served if image.embedding is None] == [3, 40]
    assert isinstance(served[3].error, IntegrityError)
    for remote, local in zip(served, here, strict=True):
        assert remote.phash == local.phash
        np.testing.assert_array_equal(remote.embedding, local.embedding)


def test_encoder__may_be_shared_by_threads(tiny: Encoder, reference: InProcessEncoder) -> None:
    expected_ND = reference.embed_images(pixels(130))
    with ThreadPoolExecutor(6) as pool:
        for embeddings_ND in pool.map(tiny.embed_images, [pixels(130)] * 12):
            np.testing.assert_array_equal(embeddings_ND, expected_ND)


def test_tokens__have_the_length_of_the_context(tiny: Encoder, reference: InProcessEncoder) -> None:
    assert isinstance(tiny, TowerEncoder)
    assert tiny.tokenize(["cat"]).shape == (1, CONTEXT_LENGTH)
    np.testing.assert_array_equal(tiny.tokenize(["a cat"]), reference.tokenize(["a cat"]))
