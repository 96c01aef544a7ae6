"""From a request to a curation in the catalog: resolve what it names, check its parameters, plan its work."""

from __future__ import annotations

from dataclasses import asdict

from cocu.client import models
from cocu.curation.parameters import CurationParameters
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage.catalog import curations, datasets
from cocu.storage.catalog.curations import CurationRecord


def start(platform: Platform, *, tenant: str, dataset: str, request: models.CurationCreate) -> CurationRecord:
    """The curation that the request asks for, under way unless it is completed already.

    Raises NotFoundError without the dataset, InvalidInputError for an unknown vocabulary or encoder or a
    wrong parameter, ConflictError while uploads are being read and where there is nothing to curate.
    """
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    chosen = parameters(request.parameters)
    try:
        vocabulary, _ = platform.vocabularies.load(tenant=tenant, vocabulary=request.vocabulary)
    except NotFoundError as error:
        raise InvalidInputError(
            "The vocabulary is not known.",
            {"body.vocabulary": f"{error}; list them with GET /v1/vocabularies"},
        ) from error
    try:
        encoder = platform.encoders.describe(request.encoder)
    except NotFoundError as error:
        raise InvalidInputError("The encoder is not known.", {"body.encoder": str(error)}) from error
    created = curations.create(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        vocabulary_id=vocabulary.id,
        vocabulary_hash=vocabulary.hash,
        parameters=asdict(chosen),
        parameters_hash=chosen.hash,
    )
    platform.enqueue(created.chunks)
    return created.curation


def parameters(given: models.Parameters) -> CurationParameters:
    """Checked parameters with the defaults of what was left out; raises InvalidInputError."""
    values = given.model_dump(exclude_none=True)
    try:
        return CurationParameters(**values)
    except ValueError as error:
        name = str(error).partition(" ")[0]
        field = f"body.parameters.{name}" if name in CurationParameters.names() else "body.parameters"
        raise InvalidInputError("A parameter is wrong.", {field: str(error)}) from error
