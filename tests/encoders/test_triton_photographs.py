"""Real photographs through a real encoder: Triton gives the bits that the session in this process gives."""

from __future__ import annotations

import io
import tarfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.servers.triton_server import triton_server

from cocu.encoders import Bundle, InProcessEncoder, embed_stream
from cocu.encoders.registry import EncoderRegistry
from cocu.encoders.triton import InferenceServer
from cocu.encoders.triton.configuration import ModelOptions
from cocu.encoders.triton.repository import publish

pytestmark = [pytest.mark.slow, pytest.mark.photographs]

PHOTOGRAPHS = 150


def photographs(folder: Path) -> list[bytes]:
    paths: list[bytes] = []
    for shard in sorted(folder.rglob("*.tar")):
        with tarfile.open(shard) as archive:
            images = [member for member in archive if member.name.endswith((".jpg", ".jpeg"))]
            paths += [archive.extractfile(member).read() for member in images]  # type: ignore[union-attr]
    return paths[:PHOTOGRAPHS]


def test_photographs__have_the_same_embeddings_and_prompts_too(
    shared_folder: Path, photo_encoder_folder: Path, tmp_path: Path
) -> None:
    bundle = Bundle.load(photo_encoder_folder)
    publish(bundle, tmp_path / "models", options=ModelOptions(backend="python", threads=1))
    images = photographs(shared_folder / "datasets" / "coco-photos")
    assert len(images) == PHOTOGRAPHS
    texts = [f"a photo of a {name}" for name in ("zebra", "fire hydrant", "giraffe", "猫")] * 40
    in_process = InProcessEncoder(bundle, threads=1)

    def load(number: int) -> Image.Image:
        return Image.open(io.BytesIO(images[number]))

    with triton_server(tmp_path / "models", tmp_path) as server:
        encoders = EncoderRegistry(InferenceServer(server.url))
        on_server = encoders.get("photo-conse")
        served = list(embed_stream(on_server, range(PHOTOGRAPHS), load=load))
        np.testing.assert_array_equal(on_server.embed_texts(texts), in_process.embed_texts(texts))
        encoders.close()
    for result, other in zip(served, embed_stream(in_process, range(PHOTOGRAPHS), load=load), strict=True):
        assert result.error is None
        np.testing.assert_array_equal(result.embedding, other.embedding)
