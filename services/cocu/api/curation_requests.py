"""Requests for curations: resolve their names, check their parameters, create the curation and its tasks."""

from __future__ import annotations

from dataclasses import asdict

from cocu import schemas
from cocu.catalog import datasets
from cocu.catalog.curations import CurationRecord
from cocu.curation.parameters import CurationParameters
from cocu.errors import InvalidInputError, NotFoundError
from cocu.pipeline import submit
from cocu.pipeline.submit import Choice
from cocu.platform import Platform


def choose(platform: Platform, *, tenant: str, dataset: str, request: schemas.CurationCreate) -> Choice:
    """Resolve the names in a request. Raises NotFoundError without the dataset, InvalidInputError."""
    datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    checked = check_parameters(request.parameters)
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
    return Choice(encoder, vocabulary, checked)


def start(platform: Platform, *, tenant: str, dataset: str, choice: Choice) -> CurationRecord:
    """Start the curation of a dataset with this choice and return it; return it as it is if it is completed.

    Raises NotFoundError without the dataset, ConflictError while uploads are being read and where no sample
    was accepted.
    """
    encoder, vocabulary = choice.encoder, choice.vocabulary
    created = submit.create_curation(
        platform.catalog,
        tenant=tenant,
        dataset_id=dataset,
        encoder=encoder.name,
        encoder_hash=encoder.hash,
        vocabulary_id=vocabulary.id,
        vocabulary_hash=vocabulary.hash,
        parameters=asdict(choice.parameters),
        parameters_hash=choice.parameters.hash,
    )
    platform.enqueue(created.tasks)
    return created.curation


def check_parameters(requested: schemas.Parameters) -> CurationParameters:
    """Return the parameters, checked, with defaults for those left out. Raises InvalidInputError."""
    values = requested.model_dump(exclude_none=True)
    try:
        return CurationParameters(**values)
    except ValueError as error:
        # Messages of CurationParameters begin with the name of the parameter.
        name = str(error).partition(" ")[0]
        field = f"body.parameters.{name}" if name in CurationParameters.names() else "body.parameters"
        raise InvalidInputError("A parameter is wrong.", {field: str(error)}) from error
