"""Comparison of two curations: computed at the first request, shard by shard, and stored as an object."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from cocu import schemas
from cocu.api.queries.concepts import Concepts
from cocu.api.queries.samples import Samples
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.catalog.records import Page
from cocu.curation.archives import Ids
from cocu.curation.comparison import Comparison, Ranked, combine, compare
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError, InvalidInputError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, content_hash, paths

logger = logging.getLogger(__name__)

Item = TypeVar("Item", bound=schemas.ResponseModel)

MAX_CONCEPTS = 20
"""The most concepts gained, and lost, in a comparison; the list of its concepts has all of them."""


@dataclass(frozen=True)
class Pair:
    """Two curations of one dataset, and the shards that have archives in both.

    names: the concepts of both vocabularies, sorted.
    """

    first: CurationRecord
    second: CurationRecord
    shards: tuple[tuple[CurationShardRecord, CurationShardRecord], ...]
    names: tuple[str, ...]

    @property
    def contents_hash(self) -> str:
        """The hash of the content hashes of both."""
        return content_hash.combined_hash([self.first.content_hash or "", self.second.content_hash or ""])


class Comparisons:
    """Comparisons of any two curations of a platform."""

    def __init__(self, platform: Platform, samples: Samples, concepts: Concepts) -> None:
        self._platform = platform
        self._samples = samples
        self._concepts = concepts

    def pair(self, first: CurationRecord, second: CurationRecord) -> Pair:
        """Return two curations to compare. Raises InvalidInputError where they are not of one dataset."""
        if first.dataset_id != second.dataset_id:
            raise InvalidInputError(
                "The curations are of different datasets.",
                {"path.other": f"name a curation of dataset {first.dataset_id}"},
            )
        second_shards = {shard.shard_id: shard for shard in self._concepts.archived_shards(second)}
        shards = tuple(
            (shard, second_shards[shard.shard_id])
            for shard in self._concepts.archived_shards(first)
            if shard.shard_id in second_shards
        )
        names = sorted({*self._concepts.names(first), *self._concepts.names(second)})
        return Pair(first, second, shards, tuple(names))

    def get(self, pair: Pair) -> schemas.Comparison:
        """Return the differences between two curations as numbers."""
        comparison = self._comparison(pair)
        images = len(comparison.change_B)
        correlations = comparison.correlation_B[~np.isnan(comparison.correlation_B)]
        return schemas.Comparison(
            first=pair.first.id,
            second=pair.second.id,
            samples=images,
            samples_changed=int((comparison.change_B > 0).sum()),
            only_in_first=self._samples_with_archives(pair.first) - images,
            only_in_second=self._samples_with_archives(pair.second) - images,
            change=float(comparison.change_B.mean()) if images else 0.0,
            rank_correlation=float(correlations.mean()) if len(correlations) else None,
            shared=int(comparison.shared_B.sum()),
            gained=int(comparison.gained_B.sum()),
            lost=int(comparison.lost_B.sum()),
            gained_most=_most_changed(pair, comparison, comparison.gained_V),
            lost_most=_most_changed(pair, comparison, comparison.lost_V),
        )

    def concepts(self, pair: Pair, *, limit: int, after: str | None) -> Page[schemas.ConceptChange]:
        """Return the concepts that any archive gained or lost, most changes first, ties by name."""
        comparison = self._comparison(pair)
        changes_V = comparison.gained_V + comparison.lost_V
        order_K = np.argsort(-changes_V, kind="stable")[: np.count_nonzero(changes_V)]
        begin = 0 if after is None else int(after)
        items = [_change(pair, comparison, concept) for concept in order_K[begin : begin + limit].tolist()]
        return _page(items, begin, len(order_K))

    def samples(self, pair: Pair, *, limit: int, after: str | None) -> Page[schemas.SampleChange]:
        """Return the samples whose archives changed, most changed first, ties in sample order."""
        comparison = self._comparison(pair)
        order_B = np.argsort(-comparison.change_B, kind="stable")[: np.count_nonzero(comparison.change_B)]
        begin = 0 if after is None else int(after)
        first_rows = list(accumulate((shard.samples for shard, _ in pair.shards), initial=0))
        items = [
            self._sample(pair, comparison, first_rows, image)
            for image in order_B[begin : begin + limit].tolist()
        ]
        return _page(items, begin, len(order_B))

    def _comparison(self, pair: Pair) -> Comparison:
        path = paths.comparison(pair.first.id, pair.second.id, pair.contents_hash)
        try:
            return Comparison(**arrays.read_arrays(self._platform.objects, path))
        except NotFoundError:
            pass
        except (IntegrityError, TypeError) as error:
            logger.warning("a stored comparison cannot be read and is computed again: %s", error)
        arrays.write_arrays(self._platform.objects, path, vars(self._compare(pair)))
        return Comparison(**arrays.read_arrays(self._platform.objects, path))

    def _compare(self, pair: Pair) -> Comparison:
        ids_first, ids_second = self._common_ids(pair, pair.first), self._common_ids(pair, pair.second)
        empty = Ranked(np.zeros(1, np.int64), np.zeros(0, np.int32))
        parts = [compare(empty, empty, concepts=len(pair.names))]
        for shard_of_first, shard_of_second in pair.shards:
            first = self._concepts.index(pair.first, shard_of_first)
            second = self._concepts.index(pair.second, shard_of_second)
            parts.append(
                compare(_ranked(first, ids_first), _ranked(second, ids_second), concepts=len(pair.names))
            )
        return combine(parts)

    def _common_ids(self, pair: Pair, record: CurationRecord) -> NDArray[np.int32]:
        """Return for every concept of a curation's vocabulary its position among the names of both."""
        position = {name: index for index, name in enumerate(pair.names)}
        return np.array([position[name] for name in self._concepts.names(record)], np.int32)

    def _samples_with_archives(self, record: CurationRecord) -> int:
        return sum(shard.samples for shard in self._concepts.archived_shards(record))

    def _sample(
        self, pair: Pair, comparison: Comparison, first_rows: Sequence[int], image: int
    ) -> schemas.SampleChange:
        # The shard of an image is the last one that does not begin after it.
        ordinal = int(np.searchsorted(first_rows, image, side="right")) - 1
        shard_of_first, shard_of_second = pair.shards[ordinal]
        row = image - first_rows[ordinal]
        key, caption = self._samples.key_and_caption(pair.first.dataset_id, shard_of_first.shard_id, row)
        before = self._listed(pair.first, shard_of_first, row)
        after = self._listed(pair.second, shard_of_second, row)
        correlation = float(comparison.correlation_B[image])
        return schemas.SampleChange(
            key=key,
            caption=caption,
            change=float(comparison.change_B[image]),
            rank_correlation=None if np.isnan(correlation) else correlation,
            shared=int(comparison.shared_B[image]),
            gained=[name for name in after if name not in before],
            lost=[name for name in before if name not in after],
            **self._samples.image_paths(pair.first.dataset_id, shard_of_first.shard_id, row),
        )

    def _listed(self, record: CurationRecord, shard: CurationShardRecord, row: int) -> list[str]:
        index, names = self._concepts.index(record, shard), self._concepts.names(record)
        part = slice(index.offsets_B1[row], index.offsets_B1[row + 1])
        return [names[concept] for concept in index.concepts_C[part].tolist()]


def _ranked(index: ConceptIndex, ids_V: NDArray[np.int32]) -> Ranked:
    return Ranked(index.offsets_B1, ids_V[index.concepts_C])


def _most_changed(pair: Pair, comparison: Comparison, by_V: Ids) -> list[schemas.ConceptChange]:
    top_K = np.argsort(-by_V, kind="stable")[:MAX_CONCEPTS].tolist()
    return [_change(pair, comparison, concept) for concept in top_K if by_V[concept]]


def _change(pair: Pair, comparison: Comparison, concept: int) -> schemas.ConceptChange:
    return schemas.ConceptChange(
        concept=pair.names[concept],
        first=int(comparison.first_V[concept]),
        second=int(comparison.second_V[concept]),
        gained=int(comparison.gained_V[concept]),
        lost=int(comparison.lost_V[concept]),
    )


def _page(items: Sequence[Item], begin: int, total: int) -> Page[Item]:
    end = begin + len(items)
    return Page(items=tuple(items), next=str(end) if end < total else None)
