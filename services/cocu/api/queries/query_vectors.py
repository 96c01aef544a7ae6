"""The vector of a search request: which encoder makes it, and the embedding of text, image or sample."""

from __future__ import annotations

import base64
import binascii
from dataclasses import replace

import numpy as np

from cocu import schemas
from cocu.api.paths import MAX_KEY_LENGTH
from cocu.catalog import samples, vector_state
from cocu.catalog.curations import CurationRecord
from cocu.catalog.datasets import DatasetRecord
from cocu.encoders.encoder import Float32s
from cocu.encoders.registry import EncoderDescription
from cocu.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from cocu.formats.images import opened
from cocu.platform import Platform
from cocu.storage import arrays, paths

SHORTER_SIDE = 1_024
"""Pixels to which the shorter side of a query image is reduced; encoders use a few hundred."""


def choose_encoder(
    platform: Platform, dataset: DatasetRecord, curation: CurationRecord | None, name: str | None
) -> EncoderDescription:
    """Return the encoder whose vectors are searched.

    It is that of the curation, or the one with this name or hash. Without both it is the default encoder if
    the dataset is indexed with it, else any with which it is indexed. Raises InvalidInputError for an unknown
    encoder, ConflictError where the dataset is not indexed, UnavailableError where indexing waits for the
    vector store.
    """
    try:
        if curation is not None:
            return platform.encoders.describe(curation.encoder_hash)
        candidates = (
            [platform.encoders.describe(name)]
            if name is not None
            else [platform.encoders.describe(), *platform.encoders.list()]
        )
    except NotFoundError as error:
        field = "body.encoder" if curation is None else "body.curation"
        raise InvalidInputError("The encoder is not on this server.", {field: str(error)}) from error
    indexed = vector_state.indexing_encoders(platform.catalog, tenant=dataset.tenant, dataset_id=dataset.id)
    for candidate in candidates:
        if candidate.hash in indexed:
            return candidate
    delayed = vector_state.delayed_encoders(platform.catalog, tenant=dataset.tenant, dataset_id=dataset.id)
    if any(candidate.hash in delayed for candidate in candidates):
        raise UnavailableError(
            f"dataset {dataset.id} waits to be indexed: the vector store did not answer; it is tried again"
        )
    raise ConflictError(
        f"dataset {dataset.id} is not indexed yet; a curation of it embeds and indexes its images"
    )


def embed_query(
    platform: Platform, dataset: DatasetRecord, encoder: EncoderDescription, request: schemas.SearchRequest
) -> Float32s:
    """Return the embedding of the text, image or sample to search by, or the vector itself, float32 [D].

    Raises InvalidInputError for an image or a vector that cannot be used, NotFoundError for an unknown
    sample, ConflictError for a sample without an embedding.
    """
    if request.sample is not None:
        return sample_vector(platform, dataset, encoder, request.sample)
    if request.vector is not None:
        return decode_vector(request.vector, encoder)
    tower = platform.encoders.get(encoder.hash)
    if request.text is not None:
        embedding_1D = tower.embed_texts([request.text])
    else:
        limits = replace(platform.limits, max_pixels=platform.settings.max_search_pixels)
        data = _decoded(request.image or "")
        # Reduced more than at ingest: it saves time, and search results do not differ noticeably.
        with opened(data, limits=limits, pixels=platform.pixels, shorter_side=SHORTER_SIDE) as image:
            pixels_1HWC = tower.preprocess(image)[None]
        embedding_1D = tower.embed_images(pixels_1HWC)
    return embedding_1D.reshape(-1)


def sample_vector(
    platform: Platform, dataset: DatasetRecord, encoder: EncoderDescription, key: str
) -> Float32s:
    """Return the embedding of a sample, float32 [D]. Raises NotFoundError, ConflictError without one."""
    if "\0" in key or len(key) > MAX_KEY_LENGTH:
        raise NotFoundError("no sample can have such a key")
    record = samples.find(platform.catalog, tenant=dataset.tenant, dataset_id=dataset.id, key=key)
    path = paths.embeddings(dataset.id, encoder.hash, record.shard_id)
    try:
        rows_R = np.array([record.row])
        vector_D: Float32s = arrays.read_embedding_rows(platform.objects, path, rows_R)[0].astype(np.float32)
    except NotFoundError:
        vector_D = np.zeros(1, np.float32)
    # A sample that could not be embedded has a row of zeros.
    if not vector_D.any():
        raise ConflictError(f"sample {key!r} has no embedding by {encoder.name}; search by its image instead")
    return vector_D


def encode_vector(vector_D: Float32s) -> str:
    """Return a vector in int8 and base64url: its largest number becomes 127 or -127.

    A number is off by at most 1/254 of the largest one. The vector of the text is encoded to the same text.
    """
    scale = 127 / np.abs(vector_D).max()
    numbers_D = np.rint(vector_D * scale).astype(np.int8)
    return base64.urlsafe_b64encode(numbers_D.tobytes()).decode().rstrip("=")


def decode_vector(text: str, encoder: EncoderDescription) -> Float32s:
    """Return a vector of length 1 from what `encode_vector` wrote, float32 [D]. Raises InvalidInputError."""
    bare = text.rstrip("=")
    try:
        numbers_D = np.frombuffer(base64.urlsafe_b64decode(bare + "=" * (-len(bare) % 4)), np.int8)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError("The vector is not base64url.", {"body.vector": str(error)}) from error
    if len(numbers_D) != encoder.dim:
        problem = f"it has {len(numbers_D)} numbers; a vector of encoder {encoder.name} has {encoder.dim}"
        raise InvalidInputError("The vector is not one of this encoder.", {"body.vector": problem})
    length = np.linalg.norm(numbers_D.astype(np.float64))
    if not length:
        raise InvalidInputError(
            "The vector has no direction.", {"body.vector": "all its numbers are 0; take one of an answer"}
        )
    return (numbers_D / length).astype(np.float32)


def _decoded(image: str) -> bytes:
    if image.startswith("data:"):
        image = image.partition(",")[2]
    try:
        return base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError("The image is not base64.", {"body.image": str(error)}) from error
