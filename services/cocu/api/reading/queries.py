"""From a search request to a vector: by which encoder, and the embedding of text, picture or sample."""

from __future__ import annotations

import base64
import binascii

import numpy as np

from cocu.api.paths import LONGEST_KEY
from cocu.client import models
from cocu.datasets.images import load_image
from cocu.encoders.encoder import Float32s
from cocu.encoders.offered import EncoderDescription
from cocu.errors import ConflictError, InvalidInputError, NotFoundError, UnavailableError
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.catalog import indexing, progress, samples
from cocu.storage.catalog.curations import CurationRecord
from cocu.storage.catalog.datasets import DatasetRecord


def encoder_of(
    platform: Platform, dataset: DatasetRecord, curation: CurationRecord | None, name: str | None
) -> EncoderDescription:
    """The encoder whose vectors are searched.

    Of the curation, or of this name or hash, or the default one if the dataset is indexed with it, else
    another. Raises InvalidInputError for one that is not known, ConflictError where the dataset is not
    indexed, UnavailableError where only the vector store keeps it from being that.
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
    indexed = progress.indexing_encoders(platform.catalog, tenant=dataset.tenant, dataset_id=dataset.id)
    for candidate in candidates:
        if candidate.hash in indexed:
            return candidate
    delayed = indexing.delayed_encoders(platform.catalog, tenant=dataset.tenant, dataset_id=dataset.id)
    if any(candidate.hash in delayed for candidate in candidates):
        raise UnavailableError(
            f"dataset {dataset.id} waits to be indexed: the vector store did not answer, and is asked again"
        )
    raise ConflictError(
        f"dataset {dataset.id} is not indexed yet; a curation of it embeds and indexes its images"
    )


def query_vector(
    platform: Platform, dataset: DatasetRecord, encoder: EncoderDescription, request: models.SearchRequest
) -> Float32s:
    """The embedding of what is searched for, float32 [D].

    Raises InvalidInputError for a picture that cannot be used, NotFoundError for a sample that is not there,
    ConflictError for one that has no embedding.
    """
    if request.sample is not None:
        return _of_sample(platform, dataset, encoder, request.sample)
    tower = platform.encoders.get(encoder.hash)
    if request.text is not None:
        embedding_1D = tower.embed_texts([request.text])
    else:
        picture = load_image(_decoded(request.image or ""), limits=platform.limits)
        embedding_1D = tower.embed_images(tower.preprocess(picture)[None])
    return embedding_1D.reshape(-1)


def _of_sample(platform: Platform, dataset: DatasetRecord, encoder: EncoderDescription, key: str) -> Float32s:
    if "\0" in key or len(key) > LONGEST_KEY:
        raise NotFoundError("no sample can have such a key")
    found = samples.find(platform.catalog, tenant=dataset.tenant, dataset_id=dataset.id, key=key)
    path = paths.embeddings(dataset.id, encoder.hash, found.shard_id)
    try:
        vector_D = np.array(arrays.read_embeddings(platform.objects, path)[found.row], np.float32)
    except NotFoundError:
        vector_D = np.zeros(1, np.float32)
    if not vector_D.any():
        raise ConflictError(f"sample {key!r} has no embedding by {encoder.name}; search by its image instead")
    return vector_D


def _decoded(image: str) -> bytes:
    if image.startswith("data:"):
        image = image.partition(",")[2]
    try:
        return base64.b64decode("".join(image.split()), validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidInputError("The image is not base64.", {"body.image": str(error)}) from error
