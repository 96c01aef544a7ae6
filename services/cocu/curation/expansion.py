"""Vision-driven expansion: the concepts of an image's own caption and of its neighbours' captions."""

from __future__ import annotations

import numpy as np

from cocu.curation.archives import Candidates, Ids, Ints, Mentions
from cocu.curation.kernels import sort_keys
from cocu.curation.numba_cache import compiled

__all__ = ["expand"]


def expand(
    mentions: Mentions,
    anchors_B: Ids,
    neighbours_BL: Ids,
    *,
    own_caption: bool = True,
    count_anchor: bool = False,
) -> Candidates:
    """Collect the candidates of B images, each with its origins.

    anchors_B and neighbours_BL are int64 rows of the N samples of `mentions`. Negative neighbours
    (NO_NEIGHBOUR) count as absent, and so do the anchor itself and every repetition of a neighbour: only its
    first position counts. With `count_anchor` the anchor and repetitions count, as in the official script.
    With `own_caption` the anchor's own concepts are candidates, with the origin OWN_CAPTION.

    Candidates are sorted by concept within an image. An image's candidates depend on its own rows only.

    Raises ValueError when shapes do not fit or a row is not one of the N samples.
    Reference: section 5 (expansion), section 10.1 (which neighbours count).
    """
    anchors_B, neighbours_BL = _checked_rows(mentions, anchors_B, neighbours_BL)
    captions_BL1 = np.concatenate([anchors_B[:, None], neighbours_BL], axis=1)
    lengths_N = np.diff(mentions.offsets_N1)
    # An upper bound of the candidates of each image: all mentions of all captions that it uses.
    bounds_B = np.where(captions_BL1 < 0, 0, lengths_N[np.maximum(captions_BL1, 0)]).sum(axis=1)
    offsets_B1, concepts_C, origin_offsets_C1, origins_O = _expand(
        mentions.offsets_N1,
        mentions.concepts_M,
        captions_BL1,
        bool(own_caption),
        bool(count_anchor),
        int(bounds_B.sum()),
        int(bounds_B.max(initial=0)),
    )
    return Candidates(
        offsets_B1=offsets_B1,
        concepts_C=concepts_C,
        origin_offsets_C1=origin_offsets_C1,
        origins_O=origins_O,
    )


def _checked_rows(mentions: Mentions, anchors_B: Ids, neighbours_BL: Ids) -> tuple[Ids, Ids]:
    anchors_B = np.ascontiguousarray(anchors_B, dtype=np.int64)
    neighbours_BL = np.ascontiguousarray(neighbours_BL, dtype=np.int64)
    if anchors_B.ndim != 1 or neighbours_BL.ndim != 2 or len(anchors_B) != len(neighbours_BL):
        raise ValueError(
            f"anchors_B {anchors_B.shape} and neighbours_BL {neighbours_BL.shape} must be a row per image: "
            "give shapes (B,) and (B, L)"
        )
    count = len(mentions.offsets_N1) - 1
    if count < 0 or mentions.offsets_N1[0] != 0 or mentions.offsets_N1[-1] != len(mentions.concepts_M):
        raise ValueError(f"mentions.offsets_N1 must go from 0 to the {len(mentions.concepts_M)} mentions")
    if np.any((anchors_B < 0) | (anchors_B >= count)):
        wrong = anchors_B[(anchors_B < 0) | (anchors_B >= count)][0]
        raise ValueError(f"anchor {wrong} is not one of the {count} samples that mentions describe")
    if np.any(neighbours_BL >= count):
        wrong = neighbours_BL[neighbours_BL >= count][0]
        raise ValueError(f"neighbour {wrong} is not one of the {count} samples that mentions describe")
    return anchors_B, neighbours_BL


@compiled(nogil=True, error_model="numpy")
def _expand(
    offsets_N1: Ids,
    concepts_M: Ints,
    captions_BL1: Ids,
    own_caption: bool,
    count_anchor: bool,
    total_bound: int,
    image_bound: int,
) -> tuple[Ids, Ints, Ids, Ints]:
    images, width = captions_BL1.shape
    offsets_B1 = np.zeros(images + 1, np.int64)
    concepts = np.empty(total_bound, np.int32)
    origin_offsets = np.zeros(total_bound + 1, np.int64)
    origins = np.empty(total_bound, np.int32)
    keys = np.empty(image_bound, np.int64)
    scratch = np.empty(image_bound, np.int64)
    candidates = 0
    pairs = 0
    for image in range(images):
        # A key holds the concept above and the origin below (OWN_CAPTION as 0): one sort orders both.
        count = 0
        for column in range(width):
            row = captions_BL1[image, column]
            if not _brings_candidates(captions_BL1[image], column, own_caption, count_anchor):
                continue
            for mention in range(offsets_N1[row], offsets_N1[row + 1]):
                keys[count] = np.int64(concepts_M[mention]) * width + column
                count += 1
        sort_keys(keys, scratch, count)
        previous = np.int64(-1)
        for pair in range(count):
            concept = keys[pair] // width
            if concept != previous:
                concepts[candidates] = concept
                candidates += 1
                previous = concept
            origins[pairs] = keys[pair] - concept * width - 1
            pairs += 1
            origin_offsets[candidates] = pairs
        offsets_B1[image + 1] = candidates
    return (
        offsets_B1,
        concepts[:candidates].copy(),
        origin_offsets[: candidates + 1].copy(),
        origins[:pairs].copy(),
    )


@compiled(nogil=True, error_model="numpy")
def _brings_candidates(captions_L1: Ids, column: int, own_caption: bool, count_anchor: bool) -> bool:
    """Whether the caption in this column (0 is the anchor's own) contributes candidates."""
    row = captions_L1[column]
    if row < 0:
        return False
    if column == 0:
        return own_caption
    if count_anchor:
        return True
    # Column 0 is one of the earlier ones, so this also drops the anchor itself.
    for earlier in range(column):  # noqa: SIM110 (compiled: no generators)
        if captions_L1[earlier] == row:
            return False
    return True
