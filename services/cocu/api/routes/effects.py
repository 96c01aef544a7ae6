"""What feedback about a concept would change in a curation."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.dependencies import ArchivesOf, CurationId, EffectsOf, Tenant
from cocu.api.draw_parameters import Temperature, TextCount
from cocu.api.queries.effects import EffectQuery

router = APIRouter(prefix="/v1/curations/{curation}/effects", tags=["concepts"])


@router.get("", response_model=schemas.Effect)
def get_effect(
    *,
    curation: CurationId,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    effects: EffectsOf,
    tenant: Tenant,
    action: Annotated[schemas.FeedbackAction, Query(description="What to do with the concept.")],
    concept: Annotated[
        str, Query(min_length=1, max_length=400, description="A concept, by its name or another form.")
    ],
    into: Annotated[
        str | None, Query(min_length=1, max_length=400, description="Of a merge: the concept it becomes.")
    ] = None,
    concepts: TextCount = 3,
    sampler: Annotated[
        schemas.DrawSampler, Query(description="How a trainer draws concepts, as in the batch stream.")
    ] = "cluster",
    temperature: Temperature = 1.0,
) -> schemas.Effect | Response:
    """Return how many archives and which share of a trainer's draws feedback about a concept would change.

    Nothing is stored. The chance to be drawn is computed exactly for up to 1,000 archives that hold the
    concept, evenly from all parts of the dataset; `measured` says for how many.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    query = EffectQuery(
        action=action,
        concept=concept,
        into=into,
        draws=concepts,
        sampler=sampler,
        temperature=temperature,
    )
    effect = effects.get(record, query)
    tag = conditional.make_tag("effect", record.content_hash, query)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    conditional.mark_immutable(response, tag)
    return effect
