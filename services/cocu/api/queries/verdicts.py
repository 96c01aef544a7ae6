"""Verdicts by kept labels: computed once for a curation and its labels, stored, and read shard by shard."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np

from cocu import schemas
from cocu.api.label_matches import classes_of, label_map_of, match_labels
from cocu.api.labels import LabelTable
from cocu.api.queries import label_sets
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.samples import Samples
from cocu.catalog import label_sets as kept
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.label_sets import LabelSetRecord
from cocu.curation.archives import Ids, Ints
from cocu.curation.concept_index import ConceptIndex
from cocu.curation.verdicts import ShardVerdicts, judge
from cocu.errors import IntegrityError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths
from cocu.storage.embedding_files import affordable

SHARDS = 128
"""Shards whose verdicts stay open; they are memory-mapped."""
SETS = 64


@dataclass(frozen=True)
class Judged:
    """A curation seen by the labels that its dataset keeps under a name.

    Equal where curation and labels are, so that it can be a part of keys and tags.
    """

    curation_id: str
    labels_hash: str
    record: CurationRecord = field(repr=False, compare=False)
    labels: LabelSetRecord = field(repr=False, compare=False)
    classes: tuple[str, ...] = field(repr=False, compare=False)
    verdicts: Verdicts = field(repr=False, compare=False)

    def shard(self, shard: CurationShardRecord) -> ShardVerdicts:
        """The verdicts over the archives of a shard."""
        return self.verdicts.read(self, shard)

    def missed(self, shard: CurationShardRecord, row: int) -> list[str] | None:
        """The labels that an archive lacks, sorted; None where its image has no labels."""
        missed = self.shard(shard).missed(row)
        return None if missed is None else [self.classes[label] for label in missed]


class Verdicts:
    """The verdicts of every curation of a platform, by the labels that datasets keep."""

    def __init__(self, platform: Platform, samples: Samples, concepts: Concepts) -> None:
        self._platform = platform
        self._samples = samples
        self._concepts = concepts
        self._shards: LruCache[tuple[str, str, str, str], ShardVerdicts] = LruCache(min(SHARDS, affordable()))
        self._classes: LruCache[tuple[str, str | None, str], tuple[str, ...]] = LruCache(SETS)
        self._computing = threading.Lock()

    def of(self, record: CurationRecord, name: str) -> Judged:
        """Return a completed curation seen by the labels of this name.

        The first time, names are matched with the keys of all samples (candidates for a match are in memory),
        and every archive is judged, shard by shard. Later it is one small file. Raises InvalidInputError
        where the dataset keeps no such labels.
        """
        labels = label_sets.find(self._platform, record, name, field="query.labels")
        classes = self._classes.get(
            (record.id, record.content_hash, labels.hash), lambda: self._read_classes(record, labels)
        )
        return Judged(
            curation_id=record.id,
            labels_hash=labels.hash,
            record=record,
            labels=labels,
            classes=classes,
            verdicts=self,
        )

    def read(self, judged: Judged, shard: CurationShardRecord) -> ShardVerdicts:
        """Return the verdicts over the archives of a shard.

        Computes those of all shards again where the file is missing or damaged. Raises NotFoundError where
        the labels were deleted meanwhile.
        """
        content_hash = shard.content_hash or ""
        path = paths.verdicts(judged.curation_id, judged.labels_hash, shard.shard_id, content_hash)

        def read() -> ShardVerdicts:
            try:
                return ShardVerdicts(**arrays.read_arrays(self._platform.objects, path))
            except (NotFoundError, IntegrityError, TypeError):
                # Deleted with labels that are kept again now, or damaged.
                with self._computing:
                    try:
                        return ShardVerdicts(**arrays.read_arrays(self._platform.objects, path))
                    except (NotFoundError, IntegrityError, TypeError):
                        self._compute(judged.record, judged.labels)
                return ShardVerdicts(**arrays.read_arrays(self._platform.objects, path))

        return self._shards.get((judged.curation_id, judged.labels_hash, shard.shard_id, content_hash), read)

    def _read_classes(self, record: CurationRecord, labels: LabelSetRecord) -> tuple[str, ...]:
        stored = self._stored_classes(record, labels)
        if stored is None:
            # One after another: of two requests for the same labels the second finds what the first computed.
            with self._computing:
                stored = self._stored_classes(record, labels)
                if stored is None:
                    stored = self._compute(record, labels)
        return stored

    def _stored_classes(self, record: CurationRecord, labels: LabelSetRecord) -> tuple[str, ...] | None:
        try:
            stored = arrays.read_arrays(self._platform.objects, paths.verdict_classes(record.id, labels.hash))
        except (NotFoundError, IntegrityError):
            return None
        return tuple(json.loads(stored["names"].tobytes()))

    def _compute(self, record: CurationRecord, labels: LabelSetRecord) -> tuple[str, ...]:
        with LabelTable(self._platform.settings.data_folder) as table:
            label_sets.read_into(self._platform, table, labels)
            table.name_images()
            classes = tuple(classes_of(table))
            positions = {label: position for position, label in enumerate(classes)}
            vocabulary = self._platform.vocabularies.of_hash(record.vocabulary_hash)
            labels_V = label_map_of(table).labels_of_concepts(
                labels=classes, concept_count=len(vocabulary.names), find=vocabulary.find
            )
            shards = self._concepts.archived_shards(record)
            matches = match_labels(table, (self._keys(record, shard) for shard in shards))
            names = {key: name for name, key in matches.keys.items()}
            for shard in shards:
                self._judge_shard(record, labels, shard, table, names, positions, labels_V)
        encoded = np.frombuffer(json.dumps(classes).encode(), np.uint8)
        # Last: where it is, all verdicts are.
        path = paths.verdict_classes(record.id, labels.hash)
        arrays.write_arrays(self._platform.objects, path, {"names": encoded})
        if not kept.is_kept(self._platform.catalog, dataset_id=record.dataset_id, hash=labels.hash):
            # Deleted while archives were judged: nobody else deletes what was just written.
            self._platform.objects.delete_prefix(paths.verdict_folder(record.id, labels.hash))
        return classes

    def _judge_shard(
        self,
        record: CurationRecord,
        labels: LabelSetRecord,
        shard: CurationShardRecord,
        table: LabelTable,
        names: Mapping[str, str],
        positions: Mapping[str, int],
        labels_V: Ints,
    ) -> None:
        index = self._concepts.index(record, shard)
        of_images: list[list[int] | None] = []
        for key in self._keys(record, shard):
            of_image = table.get(names[key]) if key in names else None
            of_images.append(None if of_image is None else [positions[label] for label in of_image])
        verdicts = judge(
            offsets_B1=index.offsets_B1,
            concepts_C=index.concepts_C,
            labels=of_images,
            labels_V=labels_V,
            classes=len(positions),
        )
        path = paths.verdicts(record.id, labels.hash, shard.shard_id, shard.content_hash or "")
        arrays.write_arrays(self._platform.objects, path, verdicts.to_arrays())

    def _keys(self, record: CurationRecord, shard: CurationShardRecord) -> list[str]:
        return self._samples.keys(record.dataset_id, shard.shard_id)


@dataclass(frozen=True)
class VerdictFilter:
    """Selects archives by verdict: those with a concept of it, or (missed) those that lack a label."""

    judged: Judged
    verdict: schemas.VerdictChoice

    def rows(
        self,
        index: ConceptIndex,
        shard: CurationShardRecord,
        *,
        concepts: tuple[int, ...],
        added: bool | None,
        min_score: float | None,
    ) -> list[Ids]:
        """Return sets of rows of a shard, ascending; archives are in all of them.

        hit, false: each of `concepts`, or without any one concept, has the verdict and meets the other
        conditions. missed: whatever the concepts are. A pass over one byte per entry of the shard.
        """
        verdicts = self.judged.shard(shard)
        if self.verdict == "missed":
            return [verdicts.rows_missing()]
        return [
            verdicts.rows_with(self.verdict, index, concept=concept, added=added, min_score=min_score)
            for concept in (concepts or (None,))
        ]


ArchiveModel = TypeVar("ArchiveModel", bound=schemas.Archive)


def with_verdicts(
    archive: ArchiveModel, index: ConceptIndex, judged: Judged, shard: CurationShardRecord, row: int
) -> ArchiveModel:
    """Return an archive with the verdict of each concept, and the labels that it lacks."""
    verdicts = judged.shard(shard)
    first = index.archive(row).start
    concepts = [
        concept.model_copy(update={"verdict": verdicts.verdict(first + position)})
        for position, concept in enumerate(archive.concepts)
    ]
    return archive.model_copy(update={"concepts": concepts, "missed": judged.missed(shard, row)})
