"""Projections: maps of the images of a dataset, their points and their picture."""

from __future__ import annotations

import io
from dataclasses import dataclass
from importlib.util import find_spec

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from PIL import Image

from cocu import schemas
from cocu.api.binary_answers import arrow_stream
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.region_labels import RegionLabels
from cocu.catalog import curations, projections
from cocu.catalog.curations import CurationRecord
from cocu.catalog.projections import ProjectedShard, ProjectionRecord
from cocu.catalog.records import Page
from cocu.catalog.states import COMPLETED_CURATIONS, TaskState
from cocu.errors import ConflictError, InvalidInputError, NotFoundError
from cocu.pipeline import projection_tasks
from cocu.platform import Platform
from cocu.projections.density import density
from cocu.projections.positions import Grid
from cocu.storage import arrays, paths

MAPPED = 16
"""Projections whose points stay mapped."""
PICTURES = 64
INK = 112
"""The grey of the picture; it stands out from white and from black alike."""


@dataclass(frozen=True)
class Points:
    """The points of a projection in the order in which they are sent, and the shards that they are of.

    x_P, y_P: uint16. rows_P: global rows, uint32. regions_P: uint8.
    """

    x_P: NDArray[np.uint16]
    y_P: NDArray[np.uint16]
    rows_P: NDArray[np.uint32]
    regions_P: NDArray[np.uint8]
    shards: tuple[ProjectedShard, ...]

    @property
    def row_count(self) -> int:
        """How many global rows there are up to the last one of these shards."""
        return self.shards[-1].first_row + self.shards[-1].samples if self.shards else 0


@dataclass(frozen=True)
class _Rows:
    """The samples of a curation: how many, and the shards that they stand in, with the first row of each."""

    samples: int
    shards: frozenset[tuple[str, int]]


class Projections:
    """Projections of every dataset of a platform."""

    def __init__(self, platform: Platform, labels: RegionLabels) -> None:
        self._platform = platform
        self._labels = labels
        self._points: LruCache[str, Points] = LruCache(MAPPED)
        self._pictures: LruCache[str, bytes] = LruCache(PICTURES)

    def create(self, *, tenant: str, dataset: str, request: schemas.ProjectionCreate) -> schemas.Projection:
        """Create a projection and its task, or return the one that the same request made.

        Raises InvalidInputError for an unknown encoder, NotFoundError without the dataset, ConflictError
        where nothing is embedded, or something is just now.
        """
        try:
            encoder = self._platform.encoders.describe(request.encoder)
        except NotFoundError as error:
            raise InvalidInputError("The encoder is not known.", {"body.encoder": str(error)}) from error
        created = projection_tasks.create(
            self._platform.catalog,
            tenant=tenant,
            dataset_id=dataset,
            encoder=encoder.name,
            encoder_hash=encoder.hash,
            method=request.method or methods()[0],
            seed=request.seed,
        )
        self._platform.enqueue(created.tasks)
        return self._view(created.projection, self._newest_curation(created.projection))

    def list_page(
        self,
        *,
        tenant: str,
        dataset: str,
        limit: int,
        after: str | None,
        samples_of: CurationRecord | None = None,
    ) -> Page[schemas.Projection]:
        """Return the projections of a dataset, newest first, without their regions.

        samples_of: only those that show the samples of this curation. Raises InvalidInputError for a curation
        of another dataset.
        """
        _require_same_dataset(samples_of, dataset)
        shown: list[schemas.Projection] = []
        rows = None if samples_of is None else self._rows_of(samples_of)
        while True:
            page = projections.list_page(
                self._platform.catalog, tenant=tenant, dataset_id=dataset, limit=limit, after=after
            )
            for record in page.items:
                if rows is None or self._has_samples(record, rows):
                    shown.append(view(record))
            if page.next is None and len(shown) <= limit:
                return Page(items=tuple(shown), next=None)
            if len(shown) >= limit:
                return Page(items=tuple(shown[:limit]), next=shown[limit - 1].id)
            after = page.next

    def get(
        self, *, tenant: str, dataset: str, projection: str, labels_of: CurationRecord | None = None
    ) -> schemas.Projection:
        """Return a projection whose regions are labelled by this curation, or by the newest of its dataset.

        Raises NotFoundError, and InvalidInputError for a curation of another dataset.
        """
        record = self.record(tenant=tenant, dataset=dataset, projection=projection)
        _require_same_dataset(labels_of, dataset)
        return self._view(record, labels_of or self._newest_curation(record))

    def record(self, *, tenant: str, dataset: str, projection: str) -> ProjectionRecord:
        """Return the record of a projection of this dataset. Raises NotFoundError."""
        record = projections.get(self._platform.catalog, tenant=tenant, projection_id=projection)
        if record.dataset_id != dataset:
            raise NotFoundError(f"no projection {projection!r} of dataset {dataset!r}")
        return record

    def named(self, *, tenant: str, projection: str, dataset: str | None = None) -> ProjectionRecord:
        """Return the record of the projection that a query names.

        Raises InvalidInputError where the tenant has none, or it is not of this dataset, ConflictError while
        it is not completed.
        """
        try:
            record = projections.get(self._platform.catalog, tenant=tenant, projection_id=projection)
        except NotFoundError as error:
            raise InvalidInputError(
                "There is no such projection.",
                {"query.projection": "list those of a dataset with GET /v1/datasets/{id}/projections"},
            ) from error
        if dataset is not None and record.dataset_id != dataset:
            raise InvalidInputError(
                "The projection is of another dataset.",
                {"query.projection": "choose a projection of the curation's dataset"},
            )
        _require_completed(record)
        return record

    def points(self, record: ProjectionRecord) -> Points:
        """Return the points of a projection, mapped. Raises ConflictError while it is not completed."""
        _require_completed(record)
        return self._points.get(record.id, lambda: self._read(record))

    def points_stream(self, record: ProjectionRecord) -> bytes:
        """Return the points as an Arrow stream of one record batch: x, y, row, region. 9 bytes a point."""
        points = self.points(record)
        columns = {
            "x": pa.array(points.x_P),
            "y": pa.array(points.y_P),
            "row": pa.array(points.rows_P),
            "region": pa.array(points.regions_P),
        }
        return arrow_stream(pa.record_batch(columns))

    def picture(self, record: ProjectionRecord) -> bytes:
        """Return how dense the points are, as PNG: grey, with an alpha channel."""
        _require_completed(record)
        return self._pictures.get(record.id, lambda: self._draw(record))

    def _draw(self, record: ProjectionRecord) -> bytes:
        points = self.points(record)
        grid_P2: Grid = np.stack([points.x_P, points.y_P], axis=1)
        alpha = Image.fromarray(density(grid_P2))
        picture = Image.merge("LA", (Image.new("L", alpha.size, INK), alpha))
        target = io.BytesIO()
        picture.save(target, "PNG")
        return target.getvalue()

    def _read(self, record: ProjectionRecord) -> Points:
        stored = arrays.read_arrays(
            self._platform.objects, paths.projection_points(record.dataset_id, record.id)
        )
        shards = projections.shards(self._platform.catalog, projection_id=record.id)
        return Points(**stored, shards=tuple(shards))

    def _newest_curation(self, record: ProjectionRecord) -> CurationRecord | None:
        page = curations.list_page(
            self._platform.catalog,
            tenant=record.tenant,
            limit=1,
            dataset_id=record.dataset_id,
            states=COMPLETED_CURATIONS,
            newest_first=True,
        )
        return page.items[0] if page.items else None

    def _rows_of(self, curation: CurationRecord) -> _Rows:
        shards = curations.shards(self._platform.catalog, curation_id=curation.id)
        return _Rows(curation.samples, frozenset((shard.shard_id, shard.first_row) for shard in shards))

    def _has_samples(self, record: ProjectionRecord, rows: _Rows) -> bool:
        """Whether a projection shows just these samples, each in this row, or was asked for when the dataset
        had just these.
        """
        if rows.samples not in (record.samples, record.samples + record.left_out):
            return False
        shards = projections.shards(self._platform.catalog, projection_id=record.id)
        return rows.shards >= {(shard.shard_id, shard.first_row) for shard in shards}

    def _view(self, record: ProjectionRecord, labels_of: CurationRecord | None) -> schemas.Projection:
        projection = view(record)
        if labels_of is not None:
            same = self._has_samples(record, self._rows_of(labels_of))
            projection = projection.model_copy(update={"labels_of": labels_of.id, "same_samples": same})
        if not projection.completed or record.regions is None:
            return projection
        labels: list[list[str]] = []
        if labels_of is not None:
            points = self.points(record)
            labels = self._labels.get(
                labels_of,
                projection=record.id,
                shards=points.shards,
                rows_P=points.rows_P,
                regions_P=points.regions_P,
            )
        regions = [
            schemas.Region(region=number, label=labels[number] if labels else [], **region)
            for number, region in enumerate(record.regions["regions"])
        ]
        return projection.model_copy(update={"regions": regions})


def view(record: ProjectionRecord) -> schemas.Projection:
    """Return a projection without its regions."""
    is_done = record.task_state == TaskState.DONE
    return schemas.Projection.model_validate(
        {
            "id": record.id,
            "dataset": record.dataset_id,
            "encoder": record.encoder,
            "encoder_hash": record.encoder_hash,
            "method": record.method,
            "seed": record.seed,
            "state": projections.state_of(record.task_state),
            "created_at": record.created_at,
            "samples": record.samples + record.left_out,
            "points": record.points if is_done else None,
            "samples_done": record.samples if is_done else record.task_units_done,
            "left_out": record.left_out,
            "error": record.task_error if record.task_state == TaskState.FAILED else None,
        }
    )


def methods() -> tuple[schemas.ProjectionMethod, ...]:
    """Return the methods that the packages beside the API allow, the best first; workers are installed like
    it.
    """
    return ("pca",) if find_spec("umap") is None else ("umap", "pca")


def _require_same_dataset(curation: CurationRecord | None, dataset: str) -> None:
    if curation is not None and curation.dataset_id != dataset:
        raise InvalidInputError(
            "The curation is of another dataset.", {"query.curation": "name a curation of this dataset"}
        )


def _require_completed(record: ProjectionRecord) -> None:
    state = projections.state_of(record.task_state)
    if state == "completed":
        return
    if state == "failed":
        raise ConflictError(f"the projection failed ({record.task_error}); ask for it again, or for another")
    raise ConflictError(f"the projection is {state}; its points can be read when it is completed")
