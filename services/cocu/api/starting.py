"""From a request to a curation in the catalog: resolve what it names, check its parameters, plan its work."""

from __future__ import annotations

from dataclasses import asdict, dataclass

from cocu.client import models
from cocu.curation.parameters import CurationParameters
from cocu.encoders.offered import EncoderDescription
from cocu.errors import InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage.catalog import curations, datasets
from cocu.storage.catalog.curations import CurationRecord
from cocu.storage.catalog.vocabularies import VocabularyRecord


@dataclass(frozen=True)
class Choice:
    """What a request chooses, checked."""

    encoder: EncoderDescription
    vocabulary: VocabularyRecord
    parameters: CurationParameters


def choose(platform: Platform, *, tenant: str, dataset: str, request: models.CurationCreate) -> Choice:
    """What the request names. Raises NotFoundError without the dataset, InvalidInputError."""
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
    return Choice(encoder, vocabulary, chosen)


def start(platform: Platform, *, tenant: str, dataset: str, choice: Choice) -> CurationRecord:
    """The curation of a dataset by this choice, under way unless it is completed already.

    Raises NotFoundError without the dataset, ConflictError while uploads are being read and where there is
    nothing to curate.
    """
    encoder, vocabulary = choice.encoder, choice.vocabulary
    created = curations.create(
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
