"""Membership by substring, as the official script tests it: a caption with "woman" also names "man".

Only the scoring `official` uses it, to reproduce published results (defect D1 of the reference).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence

import numpy as np

from cocu.curation.archives import Floats, Ids, Ints, Mentions
from cocu.curation.ragged import offsets_of, owners, take

__all__ = ["add_substring_mentions", "contained_names"]

_ROWS = 4096


@functools.lru_cache(maxsize=4)
def contained_names(names: tuple[str, ...]) -> tuple[Ids, Ints]:
    """Find the other names that each name contains as a substring.

    Returns compressed rows: concept v contains the concepts contained[offsets_V1[v]:offsets_V1[v+1]],
    ascending, without v itself. The result is cached, so callers must not write to the arrays.
    """
    text = "\n".join(names)
    starts = np.cumsum([0] + [len(name) + 1 for name in names])
    containers: list[int] = []
    contained: list[int] = []
    for concept, name in enumerate(names):
        position = text.find(name)
        while position >= 0 and name:
            container = int(np.searchsorted(starts, position, side="right")) - 1
            if container != concept:
                containers.append(container)
                contained.append(concept)
            # One occurrence in a container is enough: continue behind that container.
            position = text.find(name, int(starts[container + 1]))
    order = np.lexsort((contained, containers))
    lengths_V = np.bincount(np.asarray(containers, np.int64), minlength=len(names))
    return offsets_of(lengths_V), np.asarray(contained, np.int32)[order]


def add_substring_mentions(
    *,
    mentions: Mentions,
    names: Sequence[str],
    concepts_VD: Floats,
    embeddings_of: Callable[[Ids], Floats],
) -> Mentions:
    """Add to every sample the concepts whose names are substrings of the names that the sample mentions.

    `embeddings_of` returns the unit image embeddings [n, D] of samples by row. It is called only for samples
    that gain a mention, with at most 4,096 rows at a time, in ascending order.
    """
    inner_offsets_V1, inner = contained_names(tuple(names))
    rows_M = owners(mentions.offsets_N1)
    gained_offsets_M1, inner_positions = take(inner_offsets_V1, mentions.concepts_M.astype(np.int64))
    gained_rows = rows_M[owners(gained_offsets_M1)]
    width = np.int64(max(len(names), 1))
    keys = np.concatenate(
        [rows_M * width + mentions.concepts_M, gained_rows * width + inner[inner_positions]]
    )
    # Named mentions come first, so that the first of equal keys is the one whose similarity is known.
    keys, first = np.unique(keys, return_index=True)
    rows, concepts = keys // width, (keys % width).astype(np.int32)
    similarities = np.empty(len(keys), mentions.similarities_M.dtype)
    named = first < len(rows_M)
    similarities[named] = mentions.similarities_M[first[named]]
    _fill(
        similarities,
        unknown=np.flatnonzero(~named),
        rows=rows,
        concepts=concepts,
        concepts_VD=concepts_VD,
        embeddings_of=embeddings_of,
    )
    offsets_N1 = np.searchsorted(rows, np.arange(len(mentions.offsets_N1)))
    return Mentions(offsets_N1=offsets_N1.astype(np.int64), concepts_M=concepts, similarities_M=similarities)


def _fill(
    similarities: Floats,
    *,
    unknown: Ids,
    rows: Ids,
    concepts: Ints,
    concepts_VD: Floats,
    embeddings_of: Callable[[Ids], Floats],
) -> None:
    distinct, position = np.unique(rows[unknown], return_inverse=True)
    for start in range(0, len(distinct), _ROWS):
        images = embeddings_of(distinct[start : start + _ROWS])
        entries = np.flatnonzero((position >= start) & (position < start + _ROWS))
        for first in range(0, len(entries), _ROWS):
            part = entries[first : first + _ROWS]
            pairs = unknown[part]
            similarities[pairs] = np.einsum(
                "pd,pd->p", images[position[part] - start], concepts_VD[concepts[pairs]]
            )
