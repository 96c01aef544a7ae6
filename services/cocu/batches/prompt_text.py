"""Prompts assembled byte by byte in one pass, where Arrow would need several passes over all text."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.curation.archives import Ids, Ints
from cocu.curation.numba_cache import compiled
from cocu.curation.sampling import NO_CONCEPT
from cocu.errors import LimitExceededError

Bytes = NDArray[np.uint8]
Offsets = NDArray[np.int32]

_MAX_BYTES = 2**31 - 1
"""The largest offset in a column of text."""


def format_prompts(
    *,
    befores: pa.Array,
    names: pa.Array,
    afters: pa.Array,
    captions: pa.Array,
    concepts_BK: Ints,
    templates_BK: Ids,
) -> pa.Array:
    """Return B x K texts as one string column: befores[t] + names[c] + afters[t] for concept c and template
    t.

    Where a concept is NO_CONCEPT, the text is the caption of the sample and the template is ignored. Raises
    LimitExceededError when one column cannot hold the text.
    """
    parts = tuple(_bytes_of(column) for column in (befores, names, afters, captions))
    lengths_BK = _lengths(concepts_BK, templates_BK, *(offsets for offsets, _ in parts))
    total = int(lengths_BK.sum())
    if total > _MAX_BYTES:
        raise LimitExceededError(
            f"the texts of {len(concepts_BK)} samples take {total:,} bytes, more than the {_MAX_BYTES:,} of "
            "one column; ask for a smaller batch or fewer concepts"
        )
    offsets = np.zeros(lengths_BK.size + 1, np.int32)
    np.cumsum(lengths_BK, out=offsets[1:])
    text = np.empty(total, np.uint8)
    _fill(text, concepts_BK, templates_BK, *parts)
    return pa.StringArray.from_buffers(lengths_BK.size, pa.py_buffer(offsets), pa.py_buffer(text))


def _bytes_of(texts: pa.Array) -> tuple[Offsets, Bytes]:
    """Return the offsets and the bytes of a column of text."""
    _, offsets, data = texts.buffers()
    if not len(texts):
        return np.zeros(1, np.int32), np.empty(0, np.uint8)
    offsets_N1 = np.frombuffer(offsets, np.int32, len(texts) + 1, texts.offset * 4)
    return offsets_N1, np.empty(0, np.uint8) if data is None else np.frombuffer(data, np.uint8)


_compiled = compiled(nogil=True)


@_compiled
def _lengths(
    concepts_BK: Ints, templates_BK: Ids, befores: Offsets, names: Offsets, afters: Offsets, captions: Offsets
) -> Ids:
    lengths_BK = np.empty(concepts_BK.shape, np.int64)
    for sample in range(concepts_BK.shape[0]):
        caption = captions[sample + 1] - captions[sample]
        for draw in range(concepts_BK.shape[1]):
            concept, template = concepts_BK[sample, draw], templates_BK[sample, draw]
            if concept == NO_CONCEPT:
                lengths_BK[sample, draw] = caption
                continue
            lengths_BK[sample, draw] = (
                befores[template + 1]
                - befores[template]
                + names[concept + 1]
                - names[concept]
                + afters[template + 1]
                - afters[template]
            )
    return lengths_BK


@_compiled
def _fill(
    text: Bytes,
    concepts_BK: Ints,
    templates_BK: Ids,
    befores: tuple[Offsets, Bytes],
    names: tuple[Offsets, Bytes],
    afters: tuple[Offsets, Bytes],
    captions: tuple[Offsets, Bytes],
) -> None:
    position = 0
    for sample in range(concepts_BK.shape[0]):
        for draw in range(concepts_BK.shape[1]):
            concept, template = concepts_BK[sample, draw], templates_BK[sample, draw]
            if concept == NO_CONCEPT:
                position = _put(text, position, captions, sample)
                continue
            position = _put(text, position, befores, template)
            position = _put(text, position, names, concept)
            position = _put(text, position, afters, template)


@_compiled
def _put(text: Bytes, position: int, source: tuple[Offsets, Bytes], number: int) -> int:
    offsets, data = source
    start, length = offsets[number], offsets[number + 1] - offsets[number]
    # Unsigned: the compiler then knows that indices do not count from the end.
    for byte in range(np.uint64(length)):
        text[np.uint64(position) + byte] = data[np.uint64(start) + byte]
    return int(position + length)
