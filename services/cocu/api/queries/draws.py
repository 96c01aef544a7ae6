"""Draws from one archive: the probabilities of its concepts, and what the batch stream sends of it.

The texts are assembled by the code of the stream from one row of the archives, not from a copy of the
sampler; so the cost does not grow with the shard or the dataset.
"""

from __future__ import annotations

from dataclasses import replace
from itertools import chain

import numpy as np
import pyarrow as pa

from cocu import schemas
from cocu.api.queries.archives import Archives, StoredArchive
from cocu.api.queries.samples import Samples
from cocu.batches.assemble import ShardRows, draw_columns
from cocu.batches.parameters import BatchParameters
from cocu.batches.shard_cache import ArchiveColumns, ShardColumns
from cocu.catalog.curations import CurationRecord
from cocu.curation import archives as curated
from cocu.curation.archives import NO_CLUSTER, OWN_CAPTION
from cocu.curation.probabilities import draw_probabilities
from cocu.curation.ragged import offsets_of
from cocu.curation.randomness import key_hashes
from cocu.curation.sampling import named_by_caption
from cocu.errors import ConflictError

MAX_EPOCHS = 20


class Draws:
    """Draws from single archives of every curation of a platform."""

    def __init__(self, samples: Samples, archives: Archives) -> None:
        self._samples = samples
        self._archives = archives

    def get(
        self, record: CurationRecord, key: str, parameters: BatchParameters, *, epochs: int
    ) -> schemas.ArchiveDraws:
        """Return the draws of one sample in `epochs` epochs from `parameters.epoch` on.

        parameters: as of a batch stream; only what concerns draws is read. Raises NotFoundError.
        """
        if record.content_hash is None:
            raise ConflictError(f"curation {record.id} has no archives yet; draws are made from them")
        stored = self._archives.find(record, key)
        _, caption = self._samples.key_and_caption(record.dataset_id, stored.shard.shard_id, stored.row)
        archive = _columns(stored)
        names = pa.array([concept["concept"] for concept in stored.values["concepts"]], pa.string())
        sample = _sample(stored, key, caption, archive)
        drawn = [
            draw_columns(
                [sample], replace(parameters, epoch=epoch), curation_hash=record.content_hash, names=names
            )
            for epoch in range(parameters.epoch, parameters.epoch + epochs)
        ]
        return schemas.ArchiveDraws(
            curation=record.id,
            dataset=record.dataset_id,
            key=key,
            seed=parameters.seed,
            count=parameters.concepts,
            sampler=parameters.sampler,
            temperature=parameters.temperature,
            concepts=self._chances(record, stored, archive, parameters),
            epochs=[
                schemas.EpochDraw(
                    epoch=epoch,
                    concepts=columns["concepts"][0].as_py(),
                    texts=columns["texts"][0].as_py(),
                )
                for epoch, columns in enumerate(drawn, parameters.epoch)
            ],
        )

    def _chances(
        self,
        record: CurationRecord,
        stored: StoredArchive,
        archive: ArchiveColumns,
        parameters: BatchParameters,
    ) -> list[schemas.ConceptChance]:
        own = self._archives.named_by_own_caption(record, stored.shard, stored.row)
        named = archive.named_C.tolist()
        chances = draw_probabilities(
            _archives(archive),
            count=parameters.concepts,
            temperature=parameters.temperature,
            sampler=parameters.sampler,
        )
        return [
            schemas.ConceptChance(
                concept=concept["concept"],
                score=concept["score"],
                cluster=None if concept["cluster"] == NO_CLUSTER else concept["cluster"],
                added=not (named[position] if own is None else concept["concept"] in own),
                first_draw=float(chances.first_C[position]),
                inclusion=float(chances.inclusion_C[position]),
            )
            for position, concept in enumerate(stored.values["concepts"])
        ]


def _columns(stored: StoredArchive) -> ArchiveColumns:
    """The archive as the stream reads it; a concept's number is its position in the archive."""
    concepts = stored.values["concepts"]
    origins = [concept["origins"] for concept in concepts]
    return ArchiveColumns(
        offsets_N1=np.array([0, len(concepts)], np.int64),
        concepts_C=np.arange(len(concepts), dtype=np.int32),
        scores_C=np.array([concept["score"] for concept in concepts], np.float32),
        clusters_C=np.array([concept["cluster"] for concept in concepts], np.int32),
        named_C=named_by_caption(
            offsets_of(np.array([len(of_concept) for of_concept in origins], np.int64)),
            np.fromiter(chain.from_iterable(origins), np.int32),
        ),
    )


def _sample(stored: StoredArchive, key: str, caption: str, archive: ArchiveColumns) -> ShardRows:
    """The sample as the only one of a shard, without its image."""
    none_1 = np.zeros(1, np.int64)
    columns = ShardColumns(
        keys=pa.array([key], pa.string()),
        key_hashes_N=key_hashes([key]),
        captions=pa.array([caption], pa.string()),
        image_offsets_N=none_1,
        image_sizes_N=none_1,
        image_hashes_N=pa.array([b""], pa.binary()),
        archives=archive,
        tar_bytes=0,
    )
    return ShardRows(stored.shard, columns, rows_B=none_1, positions_B=none_1)


def _archives(columns: ArchiveColumns) -> curated.Archives:
    """The archive as probabilities are computed from it; the only origin kept is the own caption."""
    return curated.Archives(
        offsets_B1=columns.offsets_N1,
        concepts_C=columns.concepts_C,
        scores_C=columns.scores_C,
        global_C=columns.scores_C,
        local_C=columns.scores_C,
        clusters_C=columns.clusters_C,
        origin_offsets_C1=offsets_of(columns.named_C.astype(np.int64)),
        origins_O=np.full(columns.named_C.sum(), OWN_CAPTION, np.int32),
    )
