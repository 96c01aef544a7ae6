"""Concepts as texts: each in a template that is drawn for it, or alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from cocu.batches.parameters import PLACE
from cocu.curation.archives import Ids, Ints
from cocu.curation.randomness import seeds_of, uniforms
from cocu.curation.sampling import NO_CONCEPT


@cache
def imagenet_templates() -> tuple[str, ...]:
    """The 80 templates with which CLIP names the classes of ImageNet (Radford et al. 2021), sorted."""
    document = json.loads((files("cocu.batches") / "templates.json").read_text(encoding="utf-8"))
    return tuple(document["templates"])


def draw_templates(
    keys: Sequence[str], *, curation_hash: str, seed: int, epoch: int, concepts: int, templates: int
) -> Ids:
    """Which template each of B samples' K texts stands in, int64 [B, K], all alike: a pure function of
    (curation hash, seed, epoch, key, position)."""
    seeds_B = seeds_of(("templates", curation_hash, seed, epoch), keys)
    return np.asarray((uniforms(seeds_B, concepts) * templates).astype(np.int64))


def texts(
    *, names: pa.Array, captions: pa.Array, concepts_BK: Ints, templates: Sequence[str], templates_BK: Ids
) -> pa.Array:
    """The texts of B samples, list<string> of K each: the concepts in their templates, then the caption where
    there are fewer (section 8 of the reference)."""
    drawn_BK = concepts_BK != NO_CONCEPT
    named = names.take(pa.array(concepts_BK[drawn_BK]))
    if templates:
        before, after = zip(*(template.split(PLACE) for template in templates), strict=True)
        chosen = pa.array(templates_BK[drawn_BK])
        named = pc.binary_join_element_wise(
            pa.array(before, pa.string()).take(chosen), named, pa.array(after, pa.string()).take(chosen), ""
        )
    places_BK = np.where(
        drawn_BK,
        np.cumsum(drawn_BK.reshape(-1)).reshape(drawn_BK.shape) - 1,
        len(named) + np.arange(len(concepts_BK))[:, None],
    )
    flat = pa.concat_arrays([named, captions]).take(pa.array(places_BK.reshape(-1)))
    return lists_of(flat, np.full(len(concepts_BK), concepts_BK.shape[1]))


def lists_of(values: pa.Array, lengths_B: NDArray[np.integer]) -> pa.Array:
    """Values as lists of these lengths."""
    offsets = np.concatenate([[0], np.cumsum(lengths_B)]).astype(np.int32)
    return pa.ListArray.from_arrays(pa.array(offsets), values)
