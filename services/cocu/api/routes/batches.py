"""The batch stream: curated samples in the order of an epoch, for trainers."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from cocu.api.ahead import begun, sent_ahead
from cocu.api.dependencies import CurationId, PlatformOf, Tenant
from cocu.batches import prompts
from cocu.batches.columns import ColumnsCache
from cocu.batches.encodings import ENCODINGS, Encoding, accepted
from cocu.batches.epoch import Epoch
from cocu.batches.parameters import MOST_CONCEPTS, MOST_SAMPLES, BatchParameters

router = APIRouter(tags=["batches"])

MOST_TEMPLATES = 500
LARGEST = 2**53
"""Numbers that every client can write exactly."""

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            encoding.media_type: {"schema": {"type": "string", "format": "binary"}}
            for encoding in ENCODINGS.values()
        },
        "description": "The stream.",
    }
}

Template = Annotated[str, Query(min_length=2, max_length=200, json_schema_extra={"pattern": r"\{\}"})]


def _encoding(
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    form: Annotated[
        Literal["arrow", "protobuf", "tar"] | None,
        Query(alias="format", description="The same, for those who cannot send headers."),
    ] = None,
) -> Encoding:
    if form is not None:
        return ENCODINGS[form]
    found = accepted(accept)
    if found is None:
        kinds = ", ".join(encoding.media_type for encoding in ENCODINGS.values())
        raise HTTPException(406, f"Batches come as {kinds}; accept one of these.")
    return found


def _parameters(
    *,
    seed: Annotated[int, Query(ge=0, le=LARGEST, description="Another seed, another order and draw.")] = 0,
    epoch: Annotated[int, Query(ge=0, le=LARGEST, description="Likewise.")] = 0,
    global_batch: Annotated[
        int,
        Query(ge=1, le=MOST_SAMPLES, description="Samples of a batch over all ranks; the last has fewer."),
    ] = 1024,
    rank: Annotated[int, Query(ge=0, le=MOST_SAMPLES, description="Which part of every batch.")] = 0,
    world_size: Annotated[int, Query(ge=1, le=MOST_SAMPLES, description="Parts of every batch.")] = 1,
    start: Annotated[int, Query(ge=0, le=LARGEST, description="Number of the first batch.")] = 0,
    drop_last: Annotated[bool, Query(description="Leave out the last batch if it is short.")] = False,
    concepts: Annotated[int, Query(ge=1, le=MOST_CONCEPTS, description="Texts of every sample.")] = 3,
    sampler: Annotated[
        Literal["cluster", "topk", "uniform", "caption"],
        Query(description="How they are drawn; `caption` from those that the sample's own caption names."),
    ] = "cluster",
    temperature: Annotated[
        float, Query(ge=1e-6, le=1e6, description="Low draws the best, high draws evenly.")
    ] = 1.0,
    include_scores: Annotated[bool, Query(description="With the scores of what is drawn.")] = False,
    images: Annotated[
        bool, Query(description="With the images; null for samples that came as embeddings, without theirs.")
    ] = True,
    size: Annotated[
        int | None,
        Query(ge=16, le=2048, description="Longest that the shorter side may be, in pixels; none as stored."),
    ] = None,
    kind: Annotated[
        Literal["templates", "raw"],
        Query(
            alias="prompts",
            description="Concepts in templates, the 80 of ImageNet if none are given; or alone.",
        ),
    ] = "templates",
    template: Annotated[
        list[Template], Query(max_length=MOST_TEMPLATES, description="With {} where the concept stands.")
    ] = [],  # noqa: B006 - FastAPI copies it
) -> BatchParameters:
    given = tuple(template) or prompts.imagenet_templates()
    return BatchParameters(
        seed=seed,
        epoch=epoch,
        global_batch=global_batch,
        rank=rank,
        world_size=world_size,
        start=start,
        drop_last=drop_last,
        concepts=concepts,
        sampler=sampler,
        temperature=temperature,
        include_scores=include_scores,
        images=images,
        size=size,
        templates=given if kind == "templates" else (),
    )


@router.get(
    "/v1/curations/{curation}/batches",
    response_class=StreamingResponse,
    responses=ANSWERS,
)
def stream_batches(
    *,
    curation: CurationId,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    parameters: Annotated[BatchParameters, Depends(_parameters)],
    encoding: Annotated[Encoding, Depends(_encoding)],
) -> StreamingResponse:
    """One rank's part of an epoch, from batch `start` on, as Arrow, protobuf or tar.

    The order of samples is a function of the curation's content, seed and epoch; what is drawn for a sample
    of these and its key. So all ranks together get every sample once, whatever `world_size`, and a stream
    that broke off goes on with `start`.
    """
    cache: ColumnsCache = request.app.state.batch_columns
    epoch = Epoch.of(platform, cache, parameters, tenant=tenant, curation=curation)
    return StreamingResponse(
        sent_ahead(begun(encoding.chunks(epoch))),
        media_type=encoding.media_type,
        headers={
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cocu-Content-Hash": epoch.content_hash,
            "Cocu-Samples": str(len(epoch.order)),
            "Cocu-Batches": str(epoch.batch_count),
        },
    )
