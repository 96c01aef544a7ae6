"""Prompts: each concept in a template that is drawn for it, or alone."""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from cocu.batches import prompt_text
from cocu.batches.parameters import PLACEHOLDER
from cocu.curation.archives import Ids, Ints
from cocu.curation.randomness import Seeds, seeds_of, uniforms

_ALONE = (PLACEHOLDER,)


@cache
def imagenet_templates() -> tuple[str, ...]:
    """Return the 80 templates with which CLIP names the classes of ImageNet (Radford et al. 2021), sorted."""
    document = json.loads((files("cocu.batches") / "templates.json").read_text(encoding="utf-8"))
    return tuple(document["templates"])


def draw_templates(
    hashes_B: Seeds, *, curation_hash: str, seed: int, epoch: int, concepts: int, templates: int
) -> Ids:
    """Draw a template for each of the K texts of B samples, int64 [B, K], with equal probability.

    The draw is a pure function of (curation hash, seed, epoch, key, position). hashes_B: the hashes of the
    keys (`key_hashes`).
    """
    seeds_B = seeds_of(("templates", curation_hash, seed, epoch), hashes_B)
    return np.asarray((uniforms(seeds_B, concepts) * templates).astype(np.int64))


def texts(
    *, names: pa.Array, captions: pa.Array, concepts_BK: Ints, templates: Sequence[str], templates_BK: Ids
) -> pa.Array:
    """Return the texts of B samples, list<string> of K each: the concepts in their templates, padded with the
    caption (section 8 of the reference)."""
    befores, afters = zip(*(template.split(PLACEHOLDER) for template in templates or _ALONE), strict=True)
    flat = prompt_text.format_prompts(
        befores=pa.array(befores, pa.string()),
        names=names,
        afters=pa.array(afters, pa.string()),
        captions=captions,
        concepts_BK=concepts_BK,
        templates_BK=templates_BK,
    )
    return lists_of(flat, np.full(len(concepts_BK), concepts_BK.shape[1]))


def lists_of(values: pa.Array, lengths_B: NDArray[np.integer]) -> pa.Array:
    """Return values as lists of these lengths."""
    offsets = np.zeros(len(lengths_B) + 1, np.int32)
    np.cumsum(lengths_B, out=offsets[1:])
    return pa.ListArray.from_arrays(pa.array(offsets), values)
