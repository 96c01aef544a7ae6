"""Previews of curations: ten archives under other parameters, computed while the request waits."""

from __future__ import annotations

import threading

from cocu import schemas
from cocu.api.queries.archives import Archives
from cocu.errors import UnavailableError
from cocu.pipeline.preview import preview
from cocu.pipeline.submit import Choice, plan_curation
from cocu.platform import Platform

AT_ONCE = 1
"""Previews that are computed at a time: each may read the neighbour lists of a million samples."""
WAIT_SECONDS = 10.0


class Previews:
    """Previews of every dataset of a platform; nothing is stored."""

    def __init__(self, platform: Platform, archives: Archives) -> None:
        self._platform = platform
        self._archives = archives
        self._turn = threading.BoundedSemaphore(AT_ONCE)

    def of(self, *, tenant: str, dataset: str, choice: Choice, count: int) -> schemas.CurationPreview:
        """Return the archives of `count` samples. Raises NotFoundError, ConflictError, UnavailableError."""
        platform = self._platform
        with platform.catalog.read() as connection:
            plan = plan_curation(
                connection,
                dataset_id=dataset,
                encoder_hash=choice.encoder.hash,
                vocabulary_hash=choice.vocabulary.hash,
                parameters_hash=choice.parameters.hash,
            )
        if not self._turn.acquire(timeout=WAIT_SECONDS):
            raise UnavailableError("another preview is being computed; try again in a moment")
        try:
            previewed = preview(
                platform, tenant=tenant, dataset=dataset, choice=choice, plan=plan, count=count
            )
        finally:
            self._turn.release()
        archives = [
            self._archives.describe_row(
                previewed.basis, shard, row, values, own_caption=choice.parameters.own_caption
            )
            for (shard, row), values in zip(previewed.places, previewed.table.to_pylist(), strict=True)
        ]
        return schemas.CurationPreview(
            id=plan.curation_id,
            dataset=dataset,
            basis=previewed.basis.id,
            samples=sum(shard.samples for shard in plan.shards),
            archives=[archive.model_copy(update={"curation": plan.curation_id}) for archive in archives],
            differs=list(previewed.differs),
        )
