"""The batch stream: curated samples in the order of an epoch, for trainers."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from fastapi.responses import StreamingResponse
from starlette.exceptions import HTTPException

from cocu.api.dependencies import CurationId, PlatformOf, Tenant
from cocu.api.draw_parameters import (
    MAX_INTEGER,
    EpochNumber,
    SamplerName,
    Seed,
    Temperature,
    Templates,
    TextCount,
)
from cocu.api.head_requests import wants_body
from cocu.api.stream_limits import BatchStream
from cocu.api.streaming import Chunk, prefetched, primed, run_on_thread
from cocu.batches.encodings import ENCODINGS, Encoding, negotiate
from cocu.batches.epoch import Epoch
from cocu.batches.parameters import MAX_SAMPLES, BatchParameters
from cocu.batches.shard_cache import ColumnsCache

router = APIRouter(tags=["batches"])

ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            encoding.media_type: {"schema": {"type": "string", "format": "binary"}}
            for encoding in ENCODINGS.values()
        },
        "description": "The stream.",
    }
}


def _encoding(
    accept: Annotated[str, Header(include_in_schema=False)] = "*/*",
    format_name: Annotated[
        Literal["arrow", "protobuf", "tar"] | None,
        Query(alias="format", description="Replaces Accept, for clients that cannot send headers."),
    ] = None,
) -> Encoding:
    if format_name is not None:
        return ENCODINGS[format_name]
    encoding = negotiate(accept)
    if encoding is None:
        kinds = ", ".join(encoding.media_type for encoding in ENCODINGS.values())
        raise HTTPException(406, f"Batches come as {kinds}; accept one of these.")
    return encoding


def _parameters(
    *,
    seed: Seed = 0,
    epoch: EpochNumber = 0,
    global_batch: Annotated[
        int,
        Query(
            ge=1,
            le=MAX_SAMPLES,
            description="Samples of a batch over all ranks; the last batch may have fewer.",
        ),
    ] = 1024,
    rank: Annotated[
        int, Query(ge=0, le=MAX_SAMPLES, description="The part of every batch to send, from 0.")
    ] = 0,
    world_size: Annotated[
        int, Query(ge=1, le=MAX_SAMPLES, description="Number of parts of every batch.")
    ] = 1,
    start: Annotated[int, Query(ge=0, le=MAX_INTEGER, description="Number of the batch to begin with.")] = 0,
    drop_last: Annotated[
        bool, Query(description="Leave out the last batch if it has fewer samples.")
    ] = False,
    concepts: TextCount = 3,
    sampler: SamplerName = "cluster",
    temperature: Temperature = 1.0,
    include_scores: Annotated[bool, Query(description="Include the scores of the drawn concepts.")] = False,
    images: Annotated[
        bool,
        Query(description="Include the images; null for samples that came as embeddings, without image."),
    ] = True,
    size: Annotated[
        int | None,
        Query(
            ge=16,
            le=2048,
            description="The most pixels of the shorter side; without it images are sent as stored.",
        ),
    ] = None,
    templates: Templates,
) -> BatchParameters:
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
        templates=templates,
    )


@router.get(
    "/v1/curations/{curation}/batches",
    response_class=StreamingResponse,
    responses=ANSWERS,
)
async def stream_batches(
    *,
    curation: CurationId,
    request: Request,
    platform: PlatformOf,
    tenant: Tenant,
    slot: BatchStream,
    parameters: Annotated[BatchParameters, Depends(_parameters)],
    encoding: Annotated[Encoding, Depends(_encoding)],
) -> StreamingResponse:
    """Stream one rank's part of an epoch, from batch `start` on, as Arrow, protobuf or tar.

    The order of samples depends only on the curation's content, the seed and the epoch. The concepts drawn
    for a sample depend on these and its key. So all ranks together get every sample once for any
    `world_size`, and a broken stream is resumed with `start`.
    """
    cache: ColumnsCache = request.app.state.batch_columns

    def begin() -> tuple[Epoch, Iterator[list[Chunk]]]:
        epoch = Epoch.of(platform, cache, parameters, tenant=tenant, curation=curation)
        return epoch, primed(encoding.chunks(epoch)) if wants_body(request) else iter(())

    epoch, parts = await run_on_thread(begin)
    return StreamingResponse(
        prefetched(parts),
        media_type=encoding.media_type,
        headers={
            "Cache-Control": "no-store",
            "X-Content-Type-Options": "nosniff",
            "Cocu-Content-Hash": epoch.content_hash,
            "Cocu-Samples": str(len(epoch.order)),
            "Cocu-Batches": str(epoch.batch_count),
        },
    )
