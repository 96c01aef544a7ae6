"""Draws from one archive: what a trainer sees of a sample, and how likely."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.dependencies import ArchivesOf, CurationId, DrawsOf, Tenant
from cocu.api.draw_parameters import (
    MAX_INTEGER,
    EpochNumber,
    SamplerName,
    Seed,
    Temperature,
    Templates,
    TextCount,
)
from cocu.api.paths import SampleKey
from cocu.api.queries.draws import MAX_EPOCHS
from cocu.batches.parameters import BatchParameters
from cocu.errors import InvalidInputError

router = APIRouter(prefix="/v1/curations/{curation}/archives", tags=["archives"])


@router.get("/{key:path}/draws", response_model=schemas.ArchiveDraws)
def get_draws(
    *,
    curation: CurationId,
    key: SampleKey,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    draws: DrawsOf,
    tenant: Tenant,
    seed: Seed = 0,
    epoch: EpochNumber = 0,
    epochs: Annotated[
        int, Query(ge=1, le=MAX_EPOCHS, description="How many epochs to show, from `epoch` on.")
    ] = 5,
    concepts: TextCount = 3,
    sampler: SamplerName = "cluster",
    temperature: Temperature = 1.0,
    templates: Templates,
) -> schemas.ArchiveDraws | Response:
    """Return what the batch stream sends of one sample, epoch by epoch, and how likely each concept is drawn.

    Parameters and defaults are those of the stream, and so are the texts.
    """
    if epoch + epochs - 1 > MAX_INTEGER:
        raise InvalidInputError(
            "There are no such epochs.", {"query.epochs": f"epochs are numbered up to {MAX_INTEGER}"}
        )
    parameters = BatchParameters(
        seed=seed,
        epoch=epoch,
        concepts=concepts,
        sampler=sampler,
        temperature=temperature,
        templates=templates,
    )
    record = archives.completed(tenant=tenant, curation=curation)
    answer = draws.get(record, key, parameters, epochs=epochs)
    tag = conditional.make_tag(record.content_hash, "draws", key, parameters, epochs)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    conditional.mark_immutable(response, tag)
    return answer
