"""A preview: the archives that a few samples would have under other parameters, computed without storing.

It stands on a completed curation of the same samples with the same encoder and vocabulary. Their mentions and
sums do not depend on parameters, and neighbour lists of fewer neighbours are the beginnings of its lists. So
the archives equal those that a curation gives, except where `differs` says why they may not.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from functools import cached_property

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.catalog import curations, reuse
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import Ids
from cocu.curation.calibration import calibrate, calibration_rows
from cocu.curation.curate import curate
from cocu.curation.parameters import CurationParameters
from cocu.curation.statistics import Calibration, Statistics
from cocu.errors import ConflictError
from cocu.neighbours.duplicates import group_duplicates
from cocu.neighbours.exact import available_engine, top_neighbours
from cocu.pipeline.context import CurationContext
from cocu.pipeline.neighbour_lists import DeduplicatedLists, read_lists, without_copies
from cocu.pipeline.stages.neighbours import raw_count
from cocu.pipeline.submit import Choice, CurationPlan
from cocu.platform import Platform
from cocu.storage import paths, tables

MAX_SAMPLES = 1_000_000
"""The largest dataset that is previewed: what is read of every sample are some 300 bytes."""


@dataclass(frozen=True)
class Preview:
    """Archives in the form of the table of archives, with the places of their samples: shard, and row in it.

    basis: the curation whose files were read. differs: why the archives may differ from those of a curation;
    empty where they are equal.
    """

    basis: CurationRecord
    places: tuple[tuple[CurationShardRecord, int], ...]
    table: pa.Table
    differs: tuple[str, ...]


def preview(
    platform: Platform, *, tenant: str, dataset: str, choice: Choice, plan: CurationPlan, count: int
) -> Preview:
    """Return the archives of `count` samples of a dataset under these choices.

    The cost: at most `count` exact searches among all samples, and where the number of neighbours or the
    threshold of duplicates is another than that of the basis, one pass over its lists and a calibration.
    Memory: some 300 bytes for each sample of the dataset, while it runs.

    Raises ConflictError where there is no such completed curation, and beyond MAX_SAMPLES.
    """
    samples = sum(shard.samples for shard in plan.shards)
    if samples > MAX_SAMPLES:
        raise ConflictError(
            f"the dataset has {samples:,} samples, and previews are made of up to {MAX_SAMPLES:,}: "
            "curate a part of it to try parameters"
        )
    basis = _basis(platform, tenant=tenant, dataset=dataset, choice=choice, plan=plan)
    context = _PreviewContext.on(platform, basis, choice.parameters)
    rows_B = drawn_rows(dataset, samples, count)
    lists = context.lists(rows_B)
    archives = curate(
        mentions=context.mentions,
        anchors_B=rows_B,
        neighbours_BL=lists.ids_BL,
        neighbour_similarities_BL=lists.similarities_BL,
        images_BD=context.embeddings_of(rows_B),
        concepts_VD=context.concept_embeddings,
        names=context.vocabulary.names,
        parameters=context.parameters,
        statistics=context.statistics,
        embeddings_of=context.embeddings_of,
    )
    table = tables.archives_table(
        archives,
        keys=[str(row) for row in rows_B],  # places name the samples
        names=context.vocabulary.names,
        neighbours_BL=lists.ids_BL,
        neighbour_similarities_BL=lists.similarities_BL,
    )
    return Preview(basis, context.places(rows_B), table, context.differs)


def drawn_rows(dataset: str, samples: int, count: int) -> Ids:
    """Return `count` rows of a dataset, ascending: the same ones as long as it does not grow."""
    seed = int.from_bytes(hashlib.sha256(f"preview of {dataset}".encode()).digest()[:8], "big")
    drawn = np.random.default_rng(seed).choice(samples, size=min(count, samples), replace=False)
    return np.sort(drawn).astype(np.int64)


def _basis(
    platform: Platform, *, tenant: str, dataset: str, choice: Choice, plan: CurationPlan
) -> CurationRecord:
    """The completed curation to stand on: of those with the same inputs the one whose parameters fit best."""
    wanted = choice.parameters
    runs = [
        run
        for run in reuse.of_inputs(
            platform.catalog,
            tenant=tenant,
            dataset_id=dataset,
            snapshot=plan.snapshot,
            encoder_hash=choice.encoder.hash,
            vocabulary_hash=choice.vocabulary.hash,
        )
        if {
            shard.shard_id: shard.revision for shard in curations.shards(platform.catalog, curation_id=run.id)
        }
        == {shard.shard_id: shard.revision for shard in plan.shard_records()}
    ]
    if not runs:
        raise ConflictError(
            "a preview stands on a completed curation of the same samples with the same encoder and "
            "vocabulary, and there is none yet: start one, and try other parameters then"
        )

    def fit(run: CurationRecord) -> tuple[bool, bool, int]:
        parameters = CurationParameters.from_stored(run.parameters)
        same_lists = _same_lists(parameters, wanted, run.samples)
        return same_lists and parameters.scoring == "evidence", same_lists, parameters.neighbours

    return max(runs, key=fit)


def _same_lists(first: CurationParameters, second: CurationParameters, samples: int) -> bool:
    """Whether two curations of the same samples have the same neighbour lists and groups of copies."""
    return (
        first.neighbours == second.neighbours
        and first.duplicate_similarity == second.duplicate_similarity
        and first.searches_exactly(samples) == second.searches_exactly(samples)
    )


@dataclass(frozen=True)
class _PreviewContext(CurationContext):
    """The context of the basis with other parameters: its files, and what follows from them anew."""

    stored: CurationParameters

    @classmethod
    def on(cls, platform: Platform, basis: CurationRecord, parameters: CurationParameters) -> _PreviewContext:
        changed = replace(basis, parameters=asdict(parameters), parameters_hash=parameters.hash)
        shards = tuple(curations.shards(platform.catalog, curation_id=basis.id))
        return cls(platform, changed, shards, CurationParameters.from_stored(basis.parameters))

    @cached_property
    def differs(self) -> tuple[str, ...]:
        """Why the archives may differ from those of a curation."""
        reasons = []
        if not self.searches_exactly and not self._has_same_lists:
            reasons.append("neighbours are compared exactly here, and a curation searches the nearest cells")
        if not self._has_same_lists and not self._lists_suffice:
            reasons.append(
                f"copies and weights are those of curation {self.curation.id}, which has "
                f"{self.stored.neighbours} neighbours: of so many more they are known after a curation only"
            )
        return tuple(reasons)

    def lists(self, rows_B: Ids) -> DeduplicatedLists:
        """The neighbours of these samples."""
        count = raw_count(self.parameters.neighbours)
        if self._has_same_lists or self._lists_suffice:
            return self._listed(rows_B, count)
        ids_BK, similarities_BK = top_neighbours(
            self.embeddings,
            rows_B,
            count=count,
            engine=available_engine(),
            threads=self.platform.settings.cores,
        )
        return without_copies(self, rows_B, ids_BK=ids_BK, similarities_BK=similarities_BK.astype(np.float16))

    def places(self, rows_B: Ids) -> tuple[tuple[CurationShardRecord, int], ...]:
        """The shard of each row, and its row in that shard."""
        ordinals_B = np.searchsorted(self._first_rows, rows_B, side="right") - 1
        return tuple(
            (self.shards[ordinal], int(row) - self.shards[ordinal].first_row)
            for ordinal, row in zip(ordinals_B.tolist(), rows_B.tolist(), strict=True)
        )

    @cached_property
    def duplicate_groups(self) -> Ids:
        """The groups that a curation would find; those of the basis beyond its lists."""
        if self._has_same_lists or not self._lists_suffice:
            return super().duplicate_groups
        count = raw_count(self.parameters.neighbours)
        hashes: list[bytes] = []
        has_image: list[NDArray[np.bool_]] = []
        for shard in self.shards:
            path = paths.samples(self.curation.dataset_id, shard.shard_id)
            table = tables.read_table(self.platform.objects, path, columns=["sha256", "size"])
            hashes += table["sha256"].to_pylist()
            has_image.append(table["size"].to_numpy() > 0)
        return group_duplicates(
            hashes=hashes,
            lists=self._lists_with_copies(count),
            threshold=self.parameters.duplicate_similarity,
            phashes_N=self.phashes(),
            has_phash_N=np.concatenate(has_image),
        ).groups_N

    @cached_property
    def statistics(self) -> Statistics:
        """The sums of the basis, with the weights that fit these parameters."""
        statistics = super().statistics
        is_calibrated = self.stored.scoring == "evidence"
        if self.parameters.scoring != "evidence":
            return statistics
        if is_calibrated and (self._has_same_lists or not self._lists_suffice):
            return statistics
        chosen_S = calibration_rows(self.samples)
        lists = self._listed(
            chosen_S, min(raw_count(self.parameters.neighbours), raw_count(self.stored.neighbours))
        )
        return calibrate(
            statistics.with_calibration(Calibration()),
            mentions=self.mentions,
            anchors_S=chosen_S,
            neighbours_SL=lists.ids_BL,
            neighbour_similarities_SL=lists.similarities_BL,
            images_SD=self.embeddings_of(chosen_S),
            concepts_VD=self.concept_embeddings,
        )

    @cached_property
    def _has_same_lists(self) -> bool:
        return _same_lists(self.stored, self.parameters, self.samples)

    @cached_property
    def _lists_suffice(self) -> bool:
        """Whether the lists of the basis begin with those of a curation."""
        return (
            self.parameters.neighbours <= self.stored.neighbours
            and self.searches_exactly
            and self.stored.searches_exactly(self.samples)
        )

    def _lists_with_copies(self, count: int) -> Iterator[tuple[Ids, NDArray[np.float16]]]:
        for shard in self.shards:
            ids_NK, similarities_NK = read_lists(self, shard)
            yield ids_NK[:, :count], similarities_NK[:, :count]

    def _listed(self, rows_B: Ids, count: int) -> DeduplicatedLists:
        """The neighbours of samples from the stored lists."""
        ids_BK = np.empty((len(rows_B), count), np.int64)
        similarities_BK = np.empty((len(rows_B), count), np.float16)
        for shard in self.shards:
            in_shard_B = (rows_B >= shard.first_row) & (rows_B < shard.first_row + shard.samples)
            if in_shard_B.any():
                ids_NK, similarities_NK = read_lists(self, shard)
                local_rows = rows_B[in_shard_B] - shard.first_row
                ids_BK[in_shard_B] = ids_NK[local_rows, :count]
                similarities_BK[in_shard_B] = similarities_NK[local_rows, :count]
        return without_copies(self, rows_B, ids_BK=ids_BK, similarities_BK=similarities_BK)
