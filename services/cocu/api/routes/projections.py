"""Projections: maps of the images of a dataset; and columns of a curation for their points."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.binary_answers import ARROW, binary_content
from cocu.api.dependencies import (
    ArchivesOf,
    CurationId,
    DatasetId,
    MapColumnsOf,
    PlatformOf,
    ProjectionId,
    ProjectionsOf,
    Tenant,
)
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.queries.map_columns import MOST
from cocu.api.queries.projections import methods
from cocu.catalog import datasets

router = APIRouter(tags=["projections"], route_class=IdempotentRoute)

RETRY_AFTER = "1"
PATH = "/v1/datasets/{dataset}/projections"


@router.post(
    PATH,
    status_code=202,
    responses={200: {"model": schemas.Projection, "description": "It is completed already."}},
)
def create_projection(
    *,
    dataset: DatasetId,
    body: schemas.ProjectionCreate,
    projections: ProjectionsOf,
    tenant: Tenant,
    response: Response,
) -> schemas.Projection:
    """Start to make a map of the images of a dataset as it is now; nothing else waits for it.

    202: it is being made, follow Location. 200: the same projection (same samples, encoder, method and seed)
    is completed already. One that failed is made again. 409: no sample is embedded by this encoder, or some
    are being embedded just now.
    """
    projection = projections.create(tenant=tenant, dataset=dataset, request=body)
    response.headers["Location"] = f"/v1/datasets/{dataset}/projections/{projection.id}"
    if projection.completed:
        response.status_code = 200
    else:
        response.headers["Retry-After"] = RETRY_AFTER
    return projection


@router.get("/v1/projections/methods")
def get_projection_methods(tenant: Tenant) -> schemas.ProjectionMethods:
    """Return the methods by which this platform makes projections; `umap` needs umap-learn."""
    available = methods()
    return schemas.ProjectionMethods(methods=list(available), default=available[0])


@router.get(PATH)
def list_projections(
    *,
    dataset: DatasetId,
    platform: PlatformOf,
    projections: ProjectionsOf,
    archives: ArchivesOf,
    tenant: Tenant,
    curation: Annotated[
        str | None,
        Query(max_length=64, description="Only maps of the samples of this completed curation."),
    ] = None,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Projection]:
    """List the projections of a dataset, newest first, without their regions."""
    datasets.require(platform.catalog, tenant=tenant, dataset_id=dataset)
    record = None if curation is None else archives.completed(tenant=tenant, curation=curation)
    listing = f"projections {dataset}" if record is None else f"projections {dataset} {record.id}"
    page = projections.list_page(
        tenant=tenant,
        dataset=dataset,
        limit=limit,
        after=read_cursor(listing, cursor),
        samples_of=record,
    )
    return make_page(listing, page, lambda projection: projection, schemas.Projection)


@router.get(PATH + "/{projection}")
def get_projection(
    *,
    dataset: DatasetId,
    projection: ProjectionId,
    projections: ProjectionsOf,
    archives: ArchivesOf,
    tenant: Tenant,
    curation: Annotated[
        str | None,
        Query(
            max_length=64,
            description="The completed curation whose concepts label the regions; by default the newest one "
            "of the dataset.",
        ),
    ] = None,
    response: Response,
) -> schemas.Projection:
    """Return one projection: its state, its progress, and its regions with their labels."""
    record = None if curation is None else archives.completed(tenant=tenant, curation=curation)
    found = projections.get(tenant=tenant, dataset=dataset, projection=projection, labels_of=record)
    response.headers["Cache-Control"] = "no-cache"
    if not found.finished:
        response.headers["Retry-After"] = RETRY_AFTER
    return found


@router.get(
    PATH + "/{projection}/points",
    response_class=Response,
    responses=binary_content(ARROW, "The points, in random order."),
)
def get_projection_points(
    *,
    dataset: DatasetId,
    projection: ProjectionId,
    request: Request,
    projections: ProjectionsOf,
    tenant: Tenant,
) -> Response:
    """Return the points as an Arrow IPC stream of one record batch: x, y (uint16), row (uint32), region
    (uint8).

    They are in a random order, always the same: the first of them are a fair sample of all. x grows to the
    right, y upwards, by the same scale. `row` is the global row of a sample in the dataset (see
    `listSamples`), `region` the number of a region.
    """
    record = projections.record(tenant=tenant, dataset=dataset, projection=projection)
    tag = conditional.make_tag("points", record.id)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    return conditional.mark_immutable(Response(projections.points_stream(record), media_type=ARROW), tag)


@router.get(
    PATH + "/{projection}/image",
    response_class=Response,
    responses=binary_content("image/png", "The picture, 512 by 512 pixels."),
)
def get_projection_image(
    *,
    dataset: DatasetId,
    projection: ProjectionId,
    request: Request,
    projections: ProjectionsOf,
    tenant: Tenant,
) -> Response:
    """Return a picture of how dense the map is, grey on transparent ground, for those who cannot draw points.

    The largest x is at the right, the largest y at the top.
    """
    record = projections.record(tenant=tenant, dataset=dataset, projection=projection)
    tag = conditional.make_tag("image", record.id)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    picture = Response(projections.picture(record), media_type="image/png")
    return conditional.mark_immutable(picture, tag)


@router.get(
    "/v1/curations/{curation}/columns",
    response_class=Response,
    responses=binary_content(ARROW, "The columns, in the order of the points."),
)
def get_map_columns(
    *,
    curation: CurationId,
    request: Request,
    archives: ArchivesOf,
    projections: ProjectionsOf,
    map_columns: MapColumnsOf,
    tenant: Tenant,
    projection: Annotated[str, Query(max_length=64, description="The id of the projection.")],
    columns: Annotated[
        str,
        Query(
            min_length=1,
            max_length=4000,
            description=f"What to return, at most {MOST}, separated by commas: `gain`, `best_added`, "
            "`changed`, and `concept:NAME` for a concept by its name or another form.",
            examples=["gain,concept:dog"],
        ),
    ],
) -> Response:
    """Return numbers of archives for the points of a projection, in their order, as an Arrow IPC stream of
    one record batch.

    gain: how many concepts were added (uint16). best_added: the best score among these (float32, NaN without
    any). changed: 1 where the neighbours differ from those before the dataset grew (uint8). concept:NAME: 0
    where the archive does not have it, 1 where the caption names it, 2 where it was added (uint8). Columns
    are named as they were asked for. Points without an archive in this curation have 0, or NaN.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    resolved = map_columns.resolve(record, columns)
    on = projections.named(tenant=tenant, projection=projection, dataset=record.dataset_id)
    tag = conditional.make_tag("columns", record.id, record.content_hash, on.id, *resolved)
    if conditional.not_modified(request, tag):
        return conditional.not_modified_response(tag)
    stream = map_columns.stream(record, projections.points(on), resolved)
    return conditional.mark_immutable(Response(stream, media_type=ARROW), tag)
