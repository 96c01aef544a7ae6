"""Copies among real photographs, with an encoder for photographs."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from cocu.encoders import embed_stream, open_encoder
from cocu.neighbours import group_duplicates, top_neighbours

pytestmark = pytest.mark.photographs

THRESHOLD = 0.9


def recompressed(image: Image.Image) -> Image.Image:
    stream = io.BytesIO()
    image.save(stream, "JPEG", quality=70)
    return Image.open(stream)


def halved(image: Image.Image) -> Image.Image:
    return image.resize((image.width // 2, image.height // 2), Image.Resampling.BICUBIC)


@pytest.fixture(scope="module")
def photographs(shared_folder: Path) -> list[Image.Image]:
    with tarfile.open(shared_folder / "datasets" / "coco-photos" / "photos-00000.tar") as archive:
        members = [member for member in archive if member.name.endswith(".jpg")]
        contents = [archive.extractfile(member) for member in members]
        return [Image.open(content).convert("RGB") for content in contents if content is not None]


@pytest.mark.slow
@pytest.mark.parametrize("change", [recompressed, halved])
def test_group_duplicates__finds_copies_and_only_copies(
    photographs: list[Image.Image], photo_encoder_folder: Path, change: Callable[[Image.Image], Image.Image]
) -> None:
    count = len(photographs)
    images = [*photographs, *(change(photograph) for photograph in photographs)]
    embedded = list(embed_stream(open_encoder(photo_encoder_folder), images, load=Image.Image.copy))
    embeddings_ND: NDArray[np.float16] = np.array([result.embedding for result in embedded], np.float16)
    groups_N = group_duplicates(
        hashes=range(2 * count),
        lists=[top_neighbours([embeddings_ND], range(2 * count), count=24)],
        threshold=THRESHOLD,
        phashes_N=np.array([result.phash for result in embedded], np.uint64),
    ).groups_N
    np.testing.assert_array_equal(groups_N[:count], np.arange(count))
    of_original = groups_N[count:] == np.arange(count)
    alone = groups_N[count:] == np.arange(count, 2 * count)
    assert (of_original | alone).all()
    assert of_original.mean() > 0.9
