"""Vision-driven expansion: the concepts of an image's own caption and of its neighbours' captions."""

from __future__ import annotations

import numba
import numpy as np

from cocu.curation.archives import Candidates, Ids, Ints, Mentions
from cocu.curation.sorting import sort_keys

__all__ = ["expand"]


def expand(
    mentions: Mentions,
    anchors_B: Ids,
    neighbours_BL: Ids,
    *,
    own_caption: bool = True,
    as_returned: bool = False,
) -> Candidates:
    """Collect the candidates of B images, each with its origins.

    anchors_B and neighbours_BL are int64 rows of the N samples of `mentions`. Negative neighbours
    (NO_NEIGHBOUR) count as absent, and so do the anchor itself and every repeat of a neighbour: the first
    position keeps it. With `as_returned` the anchor and repeats count, as in the released script. With
    `own_caption` the anchor's own concepts are candidates, with origin OWN_CAPTION.

    Candidates are sorted by concept within an image; an image's candidates depend on its own rows alone.

    Raises ValueError when shapes do not fit or a row is not one of the N samples.
    Reference: section 5 (expansion), section 10.1 (which neighbours count).
    """
    anchors_B, neighbours_BL = _checked_rows(mentions, anchors_B, neighbours_BL)
    captions_BL1 = np.concatenate([anchors_B[:, None], neighbours_BL], axis=1)
    lengths_N = np.diff(mentions.offsets_N1)
    # An upper bound of what each image can bring: every mention of every caption it draws on.
    bounds_B = np.where(captions_BL1 < 0, 0, lengths_N[np.maximum(captions_BL1, 0)]).sum(axis=1)
    offsets_B1, concepts_C, origin_offsets_C1, origins_O = _expand(
        mentions.offsets_N1,
        mentions.concepts_M,
        captions_BL1,
        bool(own_caption),
        bool(as_returned),
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _expand(
    offsets_N1: Ids,
    concepts_M: Ints,
    captions_BL1: Ids,
    own_caption: bool,
    as_returned: bool,
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
        # Origins are packed below the concept, OWN_CAPTION as 0, so that one sort orders concepts and their
        # origins.
        found = 0
        for place in range(width):
            row = captions_BL1[image, place]
            if not _counts(captions_BL1[image], place, own_caption, as_returned):
                continue
            for mention in range(offsets_N1[row], offsets_N1[row + 1]):
                keys[found] = np.int64(concepts_M[mention]) * width + place
                found += 1
        sort_keys(keys, scratch, found)
        previous = np.int64(-1)
        for pair in range(found):
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


@numba.njit(nogil=True, cache=True, error_model="numpy")
def _counts(captions_L1: Ids, place: int, own_caption: bool, as_returned: bool) -> bool:
    """Whether the caption at this place (0 is the anchor's own) brings candidates."""
    row = captions_L1[place]
    if row < 0:
        return False
    if place == 0:
        return own_caption
    if as_returned:
        return True
    # Place 0 is among the earlier ones, so the anchor itself drops out here.
    for earlier in range(place):  # noqa: SIM110 (compiled: no generators)
        if captions_L1[earlier] == row:
            return False
    return True
