"""Two curations side by side: computed when first asked for, shard by shard, and stored as an object."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cocu.api.reading.concepts import Concepts
from cocu.api.reading.samples import Samples
from cocu.client import models
from cocu.curation.archives import Ids
from cocu.curation.comparison import Comparison, Ranked, combined, compare
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import InvalidInputError
from cocu.platform import Platform
from cocu.storage import arrays, content, paths
from cocu.storage.catalog.curations import CurationRecord, CurationShardRecord
from cocu.storage.catalog.records import Page

Item = TypeVar("Item", bound=models.Answer)

MOST_CONCEPTS = 20
"""Concepts gained and lost that a comparison itself carries; the list of concepts has them all."""


@dataclass(frozen=True)
class Pair:
    """Two curations of one dataset, and the shards of which both have archives."""

    first: CurationRecord
    second: CurationRecord
    shards: tuple[tuple[CurationShardRecord, CurationShardRecord], ...]
    names: tuple[str, ...]

    @property
    def contents_hash(self) -> str:
        """The hash of both contents."""
        return content.combined_hash([self.first.content_hash or "", self.second.content_hash or ""])


class Comparisons:
    """Comparisons of any two curations of a platform."""

    def __init__(self, platform: Platform, samples: Samples, concepts: Concepts) -> None:
        self._platform = platform
        self._samples = samples
        self._concepts = concepts

    def pair(self, first: CurationRecord, second: CurationRecord) -> Pair:
        """Two curations to compare. Raises InvalidInputError where they are not of one dataset."""
        if first.dataset_id != second.dataset_id:
            raise InvalidInputError(
                "The curations are of different datasets.",
                {"path.other": f"name a curation of dataset {first.dataset_id}"},
            )
        of_second = {shard.shard_id: shard for shard in self._concepts.archived_shards(second)}
        shards = tuple(
            (shard, of_second[shard.shard_id])
            for shard in self._concepts.archived_shards(first)
            if shard.shard_id in of_second
        )
        names = sorted({*self._concepts.names(first), *self._concepts.names(second)})
        return Pair(first, second, shards, tuple(names))

    def get(self, pair: Pair) -> models.Comparison:
        """What is different between two curations, in numbers."""
        found = self._compared(pair)
        images = len(found.change_B)
        correlations = found.correlation_B[~np.isnan(found.correlation_B)]
        return models.Comparison(
            first=pair.first.id,
            second=pair.second.id,
            samples=images,
            samples_changed=int((found.change_B > 0).sum()),
            only_in_first=self._samples_with_archives(pair.first) - images,
            only_in_second=self._samples_with_archives(pair.second) - images,
            change=float(found.change_B.mean()) if images else 0.0,
            rank_correlation=float(correlations.mean()) if len(correlations) else None,
            shared=int(found.shared_B.sum()),
            gained=int(found.gained_B.sum()),
            lost=int(found.lost_B.sum()),
            gained_most=_most_changed(pair, found, found.gained_V),
            lost_most=_most_changed(pair, found, found.lost_V),
        )

    def concepts(self, pair: Pair, *, limit: int, after: str | None) -> Page[models.ConceptChange]:
        """The concepts that any archive gained or lost, most changes first, ties by name."""
        found = self._compared(pair)
        changes_V = found.gained_V + found.lost_V
        order_K = np.argsort(-changes_V, kind="stable")[: np.count_nonzero(changes_V)]
        begin = 0 if after is None else int(after)
        items = [_change(pair, found, concept) for concept in order_K[begin : begin + limit].tolist()]
        return _page(items, begin, len(order_K))

    def samples(self, pair: Pair, *, limit: int, after: str | None) -> Page[models.SampleChange]:
        """The samples whose archives changed, those that changed most first, ties in sample order."""
        found = self._compared(pair)
        order_B = np.argsort(-found.change_B, kind="stable")[: np.count_nonzero(found.change_B)]
        begin = 0 if after is None else int(after)
        first_rows = list(accumulate((shard.samples for shard, _ in pair.shards), initial=0))
        items = [
            self._sample(pair, found, first_rows, image) for image in order_B[begin : begin + limit].tolist()
        ]
        return _page(items, begin, len(order_B))

    def _compared(self, pair: Pair) -> Comparison:
        path = paths.comparison(pair.first.id, pair.second.id, pair.contents_hash)
        if not self._platform.objects.exists(path):
            arrays.write_arrays(self._platform.objects, path, vars(self._compare(pair)))
        return Comparison(**arrays.read_arrays(self._platform.objects, path))

    def _compare(self, pair: Pair) -> Comparison:
        ids_first, ids_second = self._common_ids(pair, pair.first), self._common_ids(pair, pair.second)
        nothing = Ranked(np.zeros(1, np.int64), np.zeros(0, np.int32))
        parts = [compare(nothing, nothing, concepts=len(pair.names))]
        for of_first, of_second in pair.shards:
            first = self._concepts.index(pair.first, of_first)
            second = self._concepts.index(pair.second, of_second)
            parts.append(
                compare(_ranked(first, ids_first), _ranked(second, ids_second), concepts=len(pair.names))
            )
        return combined(parts)

    def _common_ids(self, pair: Pair, record: CurationRecord) -> NDArray[np.int32]:
        """For every concept of a curation's vocabulary its position among the names of both."""
        position = {name: number for number, name in enumerate(pair.names)}
        return np.array([position[name] for name in self._concepts.names(record)], np.int32)

    def _samples_with_archives(self, record: CurationRecord) -> int:
        return sum(shard.samples for shard in self._concepts.archived_shards(record))

    def _sample(
        self, pair: Pair, found: Comparison, first_rows: Sequence[int], image: int
    ) -> models.SampleChange:
        ordinal = int(np.searchsorted(first_rows, image, side="right")) - 1
        of_first, of_second = pair.shards[ordinal]
        row = image - first_rows[ordinal]
        key, caption = self._samples.key_and_caption(pair.first.dataset_id, of_first.shard_id, row)
        before = self._listed(pair.first, of_first, row)
        after = self._listed(pair.second, of_second, row)
        correlation = float(found.correlation_B[image])
        return models.SampleChange(
            key=key,
            caption=caption,
            change=float(found.change_B[image]),
            rank_correlation=None if np.isnan(correlation) else correlation,
            shared=int(found.shared_B[image]),
            gained=[name for name in after if name not in before],
            lost=[name for name in before if name not in after],
            **self._samples.pictures(pair.first.dataset_id, of_first.shard_id, row),
        )

    def _listed(self, record: CurationRecord, shard: CurationShardRecord, row: int) -> list[str]:
        index, names = self._concepts.index(record, shard), self._concepts.names(record)
        part = slice(index.offsets_B1[row], index.offsets_B1[row + 1])
        return [names[concept] for concept in index.concepts_C[part].tolist()]


def _ranked(index: ConceptIndex, ids_V: NDArray[np.int32]) -> Ranked:
    return Ranked(index.offsets_B1, ids_V[index.concepts_C])


def _most_changed(pair: Pair, found: Comparison, by_V: Ids) -> list[models.ConceptChange]:
    most_K = np.argsort(-by_V, kind="stable")[:MOST_CONCEPTS].tolist()
    return [_change(pair, found, concept) for concept in most_K if by_V[concept]]


def _change(pair: Pair, found: Comparison, concept: int) -> models.ConceptChange:
    return models.ConceptChange(
        concept=pair.names[concept],
        first=int(found.first_V[concept]),
        second=int(found.second_V[concept]),
        gained=int(found.gained_V[concept]),
        lost=int(found.lost_V[concept]),
    )


def _page(items: Sequence[Item], begin: int, total: int) -> Page[Item]:
    end = begin + len(items)
    return Page(items=tuple(items), next=str(end) if end < total else None)
