"""Samples: one image with its caption; the image as stored or as a thumbnail."""

from __future__ import annotations

from typing import Annotated, Any, cast

from fastapi import APIRouter, Query, Request, Response
from pydantic import AfterValidator

from cocu import schemas
from cocu.api import conditional, cursors
from cocu.api.dependencies import DatasetId, PlatformOf, SampleListsOf, SamplesOf, Tenant, ThumbnailsOf
from cocu.api.pages import Cursor, Limit, read_cursor
from cocu.api.paths import SampleKey
from cocu.api.queries import caption_words
from cocu.api.queries.thumbnails import tag_of
from cocu.catalog import datasets
from cocu.errors import InvalidInputError
from cocu.formats import images

router = APIRouter(prefix="/v1/datasets/{dataset}/samples", tags=["samples"])

IMAGE_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {
        "content": {
            kind: {"schema": {"type": "string", "format": "binary"}}
            for kind in ("image/jpeg", "image/png", "image/webp", "application/octet-stream")
        },
        "description": "The image.",
    }
}


MAX_ROWS = 200
MAX_ROW = 10**18
CREDENTIALS = "Authorization, Cookie"
"""Vary of images: a cache keeps what one principal may see from another. Lists are not cached at all."""


def _thumbnail_size(size: int | None) -> int | None:
    if size is not None and size not in schemas.THUMBNAIL_SIZES:
        *sizes, last = schemas.THUMBNAIL_SIZES
        raise ValueError(
            f"thumbnails have {', '.join(map(str, sizes))} or {last} pixels; ask for one of these, or leave "
            "it out for the image itself"
        )
    return size


@router.get("")
def list_samples(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    lists: SampleListsOf,
    tenant: Tenant,
    caption: Annotated[
        str | None,
        Query(
            max_length=200,
            description="Words; only samples whose captions have all of them. Case and accents make no "
            "difference. A page may be short: it ends after as many captions as one request looks through.",
        ),
    ] = None,
    order: Annotated[
        schemas.SampleOrder | None,
        Query(description="By key, or by row; by default by row with `caption` or `row`, else by key."),
    ] = None,
    row: Annotated[
        int | None,
        Query(ge=0, le=MAX_ROW, description="The global row to begin with, counted from 0."),
    ] = None,
    rows: Annotated[
        str | None,
        Query(
            max_length=20 * MAX_ROWS,
            pattern=r"^[0-9]{1,18}(,[0-9]{1,18})*$",
            description=f"In place of all others: these global rows, in this order, at most {MAX_ROWS}.",
            examples=["0,17,42"],
        ),
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.SamplePage:
    """List samples: by key, by row, by words of their captions, or those of given rows.

    Global rows number the samples of a dataset in the order of its shards. They are the rows of a curation's
    snapshot, as long as the dataset only grows.
    """
    record = datasets.get(platform.catalog, tenant=tenant, dataset_id=dataset)
    if rows is not None:
        _refuse_with_rows(caption=caption, order=order, row=row, cursor=cursor)
        items = lists.of_rows(tenant=tenant, dataset=dataset, rows=_parse_rows(rows))
        return schemas.SamplePage(items=list(items), total=record.samples)
    if order == "key" and (caption is not None or row is not None):
        name = "row" if caption is None else "caption"
        raise InvalidInputError(
            "Such a list is in the order of rows.", {f"query.{name}": "leave out order=key, or this"}
        )
    words = () if caption is None else _parse_words(caption)
    by_row = order == "row" or caption is not None or row is not None
    listing = f"samples {dataset}" + (f" by row {' '.join(words)}" if by_row else "")
    after = read_cursor(listing, cursor)
    if by_row:
        page = lists.by_row(
            tenant=tenant, dataset=dataset, limit=limit, first_row=row or 0, after=after, words=words
        )
    else:
        page = lists.by_key(tenant=tenant, dataset=dataset, limit=limit, after=after)
    return schemas.SamplePage(
        items=list(page.items),
        next=None if page.next is None else cursors.encode(listing, page.next),
        total=record.samples if caption is None else None,
    )


def _parse_words(caption: str) -> tuple[str, ...]:
    try:
        return tuple(caption_words.split(caption))
    except ValueError as error:
        raise InvalidInputError("The words cannot be looked for.", {"query.caption": str(error)}) from error


def _parse_rows(rows: str) -> list[int]:
    numbers = [int(number) for number in rows.split(",")]
    if len(numbers) > MAX_ROWS:
        raise InvalidInputError(
            "These are too many rows.", {"query.rows": f"{len(numbers)} were given; give at most {MAX_ROWS}"}
        )
    return numbers


def _refuse_with_rows(**others: object) -> None:
    filters = {name for name, value in others.items() if value is not None}
    if filters:
        raise InvalidInputError(
            "Rows that are named are not a list to look through.",
            {f"query.{name}": "leave it out, or leave out rows" for name in sorted(filters)},
        )


@router.get("/{key:path}/image", response_class=Response, responses=IMAGE_ANSWERS)
def get_image(
    *,
    dataset: DatasetId,
    key: SampleKey,
    request: Request,
    samples: SamplesOf,
    thumbnails: ThumbnailsOf,
    tenant: Tenant,
    size: Annotated[
        int | None,
        AfterValidator(_thumbnail_size),
        Query(
            description="Pixels of the longer side of a thumbnail; without it the image itself.",
            json_schema_extra={"enum": list(schemas.THUMBNAIL_SIZES)},
        ),
    ] = None,
) -> Response:
    """Return the image of a sample: the bytes that were uploaded, or a JPEG thumbnail.

    404 also for a sample that came as an embedding, without its image.
    """
    side = None if size is None else cast(schemas.ThumbnailSize, size)
    if side is not None and "if-none-match" in request.headers:
        tag = thumbnails.recall(tenant=tenant, dataset=dataset, key=key, size=side)
        if tag is not None and conditional.not_modified(request, tag):
            return conditional.not_modified_response(tag, vary=CREDENTIALS)
    image = samples.image(tenant=tenant, dataset=dataset, key=key)
    tag = image.sha256 if side is None else tag_of(image.sha256, side)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag, vary=CREDENTIALS)
    # HEAD reads the image too: its status depends on whether the bytes are undamaged.
    data = samples.bytes_of(image) if side is None else thumbnails.read(tenant=tenant, image=image, size=side)
    headers = {
        "X-Content-Type-Options": "nosniff",
        "Content-Security-Policy": "default-src 'none'",
        "Vary": CREDENTIALS,
    }
    return conditional.mark_immutable(
        Response(data, media_type=images.media_type(data), headers=headers), tag
    )


@router.get("/{key:path}")
def get_sample(
    *, dataset: DatasetId, key: SampleKey, platform: PlatformOf, samples: SamplesOf, tenant: Tenant
) -> schemas.Sample:
    """Return one sample."""
    datasets.require(platform.catalog, tenant=tenant, dataset_id=dataset)
    return samples.get(tenant=tenant, dataset=dataset, key=key)
