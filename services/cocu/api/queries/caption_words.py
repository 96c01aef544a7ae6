"""Captions by their words, to find the samples whose captions have all the words that are asked for.

Words are those of the vocabulary's matcher (`surface_forms.words`): case and accents make no difference, and
"dogs" is another word than "dog". In scripts without spaces a word is found anywhere in the caption.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from cocu.api.queries.lru_cache import LruCache
from cocu.curation import segmentation, surface_forms
from cocu.curation.archives import Ids
from cocu.storage import paths, tables
from cocu.storage.objects import ObjectStore

CHARACTERS = 2_000
"""Of a caption, that are searched: the longest ones are not worth the time of all others."""
MAX_WORDS = 10
MAX_BYTES = 128 << 20
"""Of captions that a process keeps by their words: those of a million samples, as people write them."""
MAX_SHARDS = 1_000


class CaptionWords:
    """The words of the captions of shards; safe to use from many threads."""

    def __init__(self, objects: ObjectStore) -> None:
        self._objects = objects
        self._words: LruCache[str, pa.Array] = LruCache(
            MAX_SHARDS, size_of=lambda words: int(words.nbytes), max_size=MAX_BYTES
        )

    def is_read(self, dataset: str, shard: str) -> bool:
        """Whether the captions of a shard are cached: `rows` then takes a millisecond, not fifty."""
        return self._words.find(paths.samples(dataset, shard)) is not None

    def rows(self, dataset: str, shard: str, words: Sequence[str]) -> Ids:
        """Return the rows of a shard whose captions have all of these words (see `split`), ascending.

        Raises NotFoundError, IntegrityError.
        """
        path = paths.samples(dataset, shard)
        words_N = self._words.get(path, lambda: self._read(path))
        rows_R = np.arange(len(words_N), dtype=np.int64)
        # Long words first: they are rare, and what has been left out is not compared again.
        for word in sorted(words, key=len, reverse=True):
            pattern = word if segmentation.is_unspaced(word) else f" {word} "
            has_word_R = pc.match_substring(words_N.take(pa.array(rows_R)), pattern)
            rows_R = rows_R[has_word_R.to_numpy(zero_copy_only=False)]
            if not len(rows_R):
                break
        return rows_R

    def _read(self, path: str) -> pa.Array:
        captions = tables.read_table(self._objects, path, columns=["caption"])["caption"]
        captions = pc.utf8_slice_codeunits(captions, 0, CHARACTERS)
        # A space on both sides of every word, so that a whole word can be looked for.
        return pa.array((f" {surface_forms.form(caption)} " for caption in captions.to_pylist()), pa.string())


def split(text: str) -> list[str]:
    """Return the different words of what somebody looks for, at most MAX_WORDS of them.

    Raises ValueError, in words for users, for more words and for none.
    """
    # Punctuation is a token of its own; here it only stands between words.
    tokens = [token for token in surface_forms.words(text) if any(map(str.isalnum, token))]
    words = list(dict.fromkeys(tokens))
    if not words:
        raise ValueError("it has no word to look for; give at least one")
    if len(words) > MAX_WORDS:
        raise ValueError(f"it has {len(words)} words; give at most {MAX_WORDS}")
    return words
