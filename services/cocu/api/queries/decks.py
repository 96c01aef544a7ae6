"""Decks: what the audit of a curation deals, from its concept indexes; made once, then one small file."""

from __future__ import annotations

import math
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from cocu.api.queries.concepts import Concepts
from cocu.api.queries.lru_cache import LruCache
from cocu.catalog.curations import CurationRecord, CurationShardRecord
from cocu.curation.archives import Floats
from cocu.curation.audit import Deck, bins_of, choose, dealing_order, find_bins
from cocu.curation.concept_index import ConceptIndex
from cocu.errors import IntegrityError, NotFoundError
from cocu.platform import Platform
from cocu.storage import arrays, paths

DECKS = 64
SAMPLED = 1_000_000
"""Of about so many scores bins are found."""


@dataclass(frozen=True)
class DealtDeck:
    """A deck, and the place in it of each pair of a row of the snapshot and a concept."""

    deck: Deck
    places: Mapping[tuple[int, int], int]


class Decks:
    """The decks of every curation of a platform."""

    def __init__(self, platform: Platform, concepts: Concepts) -> None:
        self._platform = platform
        self._concepts = concepts
        self._decks: LruCache[tuple[str, str | None], DealtDeck] = LruCache(DECKS)
        self._making = threading.Lock()

    def of(self, record: CurationRecord) -> DealtDeck:
        """Return the deck of a completed curation.

        The first time it goes through the scores of all added concepts, three times, with those of one shard
        in memory.
        """
        return self._decks.get((record.id, record.content_hash), lambda: self._read(record))

    def _read(self, record: CurationRecord) -> DealtDeck:
        path = paths.audit(record.id, record.content_hash or "")
        deck = self._stored(path)
        if deck is None:
            # One after another: of two requests for the same deck the second finds what the first made.
            with self._making:
                deck = self._stored(path)
                if deck is None:
                    deck = self._make(record)
                    arrays.write_arrays(self._platform.objects, path, deck.to_arrays())
        pairs = zip(deck.rows_D.tolist(), deck.concepts_D.tolist(), strict=True)
        return DealtDeck(deck, {pair: index for index, pair in enumerate(pairs)})

    def _stored(self, path: str) -> Deck | None:
        try:
            return Deck(**arrays.read_arrays(self._platform.objects, path))
        except (NotFoundError, IntegrityError, TypeError):
            return None

    def _make(self, record: CurationRecord) -> Deck:
        seed = record.content_hash or record.id
        edges_K1 = self._find_bins(record)
        bins = max(0, len(edges_K1) - 1)
        sizes_SK = np.zeros((len(self._concepts.archived_shards(record)), bins), np.int64)
        for number, (_, _, scores_R) in enumerate(self._added(record)):
            if bins:
                sizes_SK[number] = np.bincount(bins_of(scores_R, edges_K1), minlength=bins)
        sizes_K = sizes_SK.sum(axis=0)
        chosen = [choose(seed, bin_, size) for bin_, size in enumerate(sizes_K.tolist())]
        order = dealing_order(seed, [len(places) for places in chosen])
        # (bin, index in the bin) -> index in the deck.
        dealt = [
            {int(chosen[bin_][index]): turn for turn, (of_bin, index) in enumerate(order) if of_bin == bin_}
            for bin_ in range(bins)
        ]
        rows_D, concepts_D = np.zeros(len(order), np.int64), np.zeros(len(order), np.int32)
        scores_D = np.zeros(len(order), np.float32)
        first_K = np.zeros(bins, np.int64)
        for number, (shard, index, scores_R) in enumerate(self._added(record)):
            entries_R = np.flatnonzero(index.added_C)
            bins_R = bins_of(scores_R, edges_K1)
            for bin_ in range(bins):
                end = int(first_K[bin_] + sizes_SK[number, bin_])
                begin = int(first_K[bin_])
                wanted = [which for which in dealt[bin_] if begin <= which < end]
                if wanted:
                    of_bin = entries_R[np.flatnonzero(bins_R == bin_)]
                    entries_K = of_bin[np.array(wanted) - begin]
                    turns_K = [dealt[bin_][which] for which in wanted]
                    rows_D[turns_K] = index.rows_of(entries_K) + shard.first_row
                    concepts_D[turns_K] = index.concepts_C[entries_K]
                    scores_D[turns_K] = index.scores_C[entries_K]
                first_K[bin_] = end
        return Deck(
            edges_K1=edges_K1,
            sizes_K=sizes_K,
            bins_D=np.array([bin_ for bin_, _ in order], np.int32),
            rows_D=rows_D,
            concepts_D=concepts_D,
            scores_D=scores_D,
        )

    def _find_bins(self, record: CurationRecord) -> NDArray[np.float64]:
        _, _, added_V = self._concepts.frequencies(record)
        stride = math.ceil(int(added_V.sum()) / SAMPLED) or 1
        lowest, highest = math.inf, -math.inf
        sample = [np.zeros(0, np.float32)]
        for _, _, scores_R in self._added(record):
            if len(scores_R):
                lowest, highest = min(lowest, float(scores_R.min())), max(highest, float(scores_R.max()))
                sample.append(scores_R[::stride])
        if lowest > highest:
            return np.zeros(0)
        return find_bins(np.concatenate(sample), lowest=lowest, highest=highest)

    def _added(self, record: CurationRecord) -> Iterator[tuple[CurationShardRecord, ConceptIndex, Floats]]:
        """Yield of each shard its index, and the scores of what was added, in the order of the entries."""
        for shard in self._concepts.archived_shards(record):
            index = self._concepts.index(record, shard)
            yield shard, index, index.scores_C[index.added_C == 1]
