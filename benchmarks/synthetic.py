"""A synthetic dataset for benchmarks: as large as wanted, with the shape of a real one, from a seed.

Samples belong to topics of about fifty. An image shows several concepts of its topic and one of any; its
caption names two or three of them (2.5 on average); its neighbours are other samples of its topic. Concepts
are frequent or rare as words are (Zipf), and their embeddings lie in groups of related words, so that
archives hold near-synonyms to cluster.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from cocu.curation.archives import Floats, Ids, Mentions
from cocu.curation.ragged import offsets_of

_TOPIC_SAMPLES = 50
_TOPIC_CONCEPTS = 30
_GROUP_CONCEPTS = 6


@dataclass(frozen=True, kw_only=True)
class SyntheticDataset:
    """N samples with embeddings (float16, as stored), mentions and L neighbours; V concepts."""

    names: tuple[str, ...]
    mentions: Mentions
    neighbours_NL: Ids
    similarities_NL: Floats
    images_ND: Floats
    concepts_VD: Floats


def make_dataset(
    *, samples: int = 100_000, concepts: int = 3_805, dim: int = 512, neighbours: int = 16, seed: int = 0
) -> SyntheticDataset:
    """Make a dataset of a multiple of 50 samples; the same arguments give the same one."""
    if samples % _TOPIC_SAMPLES:
        raise ValueError(f"samples must be a multiple of {_TOPIC_SAMPLES}, not {samples}")
    generator = np.random.default_rng(seed)
    concepts_VD = _concept_embeddings(generator, concepts, dim)
    topics_N = generator.permutation(np.arange(samples) // _TOPIC_SAMPLES)
    mentions_N4 = _named_concepts(generator, topics_N, concepts)
    images_ND = _image_embeddings(generator, topics_N, mentions_N4, concepts_VD)
    neighbours_NL = _neighbours(generator, topics_N, neighbours)
    return SyntheticDataset(
        # Names inside names ("concept 1" in "concept 12"), as the released membership test would find them.
        names=tuple(f"concept {number}" for number in range(concepts)),
        mentions=_mentions(mentions_N4, images_ND, concepts_VD),
        neighbours_NL=neighbours_NL,
        similarities_NL=np.linspace(0.9, 0.7, neighbours, dtype=np.float32)[None].repeat(samples, axis=0),
        images_ND=images_ND,
        concepts_VD=concepts_VD,
    )


def _unit(vectors: Floats) -> Floats:
    return vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)


def _concept_embeddings(generator: np.random.Generator, concepts: int, dim: int) -> Floats:
    """Text embeddings have a large common part (cosines about 0.6), then groups of related words."""
    common = _unit(generator.standard_normal(dim, np.float32))
    groups = _unit(generator.standard_normal((-(-concepts // _GROUP_CONCEPTS), dim), np.float32))
    own = _unit(generator.standard_normal((concepts, dim), np.float32))
    group_V = generator.permutation(np.arange(concepts) // _GROUP_CONCEPTS)
    return _unit(1.2 * common + 0.7 * groups[group_V] + 0.7 * own).astype(np.float32)


def _named_concepts(generator: np.random.Generator, topics_N: Ids, concepts: int) -> Ids:
    """Up to four concepts named by each caption, -1 where fewer: three of the topic's pool and one of any."""
    topics = int(topics_N.max()) + 1
    popularity = 1 / np.arange(1, concepts + 1) ** 0.9
    popularity /= popularity.sum()
    pool_TP = generator.choice(concepts, (topics, _TOPIC_CONCEPTS), p=popularity)
    offset = np.minimum(generator.exponential(_TOPIC_CONCEPTS / 4, (len(topics_N), 4)), _TOPIC_CONCEPTS - 1)
    named_N4 = pool_TP[topics_N[:, None], offset.astype(np.int64)]
    named_N4[:, 3] = generator.choice(concepts, len(topics_N), p=popularity)
    named_N4[generator.random(named_N4.shape) > 0.66] = -1
    return named_N4


def _image_embeddings(
    generator: np.random.Generator, topics_N: Ids, named_N4: Ids, concepts_VD: Floats
) -> Floats:
    """What the topic shares, the sample's own, and what is shown: cosines with concepts of 0.1-0.4."""
    dim = concepts_VD.shape[1]
    common_D = _unit(concepts_VD.mean(axis=0))
    topic_TD = _unit(generator.standard_normal((int(topics_N.max()) + 1, dim), np.float32))
    images_ND = np.empty((len(topics_N), dim), np.float16)
    for start in range(0, len(topics_N), 10_000):
        rows = slice(start, start + 10_000)
        shown = (concepts_VD[named_N4[rows]] * (named_N4[rows] >= 0)[..., None]).mean(axis=1)
        own = _unit(generator.standard_normal((len(shown), dim), np.float32))
        images_ND[rows] = _unit(topic_TD[topics_N[rows]] + 0.7 * own + 0.1 * common_D + 0.5 * shown)
    return images_ND


def _neighbours(generator: np.random.Generator, topics_N: Ids, neighbours: int) -> Ids:
    """Other samples of the same topic, none twice."""
    order = np.argsort(topics_N, kind="stable")
    position_N = np.empty(len(order), np.int64)
    position_N[order] = np.arange(len(order))
    steps_NL = generator.random((len(order), _TOPIC_SAMPLES - 1)).argsort(axis=1)[:, :neighbours] + 1
    first_N = position_N - position_N % _TOPIC_SAMPLES
    moved_NL = first_N[:, None] + (position_N[:, None] % _TOPIC_SAMPLES + steps_NL) % _TOPIC_SAMPLES
    return order[moved_NL]


def _mentions(named_N4: Ids, images_ND: Floats, concepts_VD: Floats) -> Mentions:
    named_N4 = np.sort(named_N4, axis=1)
    kept_N4 = named_N4 >= 0
    kept_N4[:, 1:] &= named_N4[:, 1:] != named_N4[:, :-1]
    rows_M, columns_M = np.nonzero(kept_N4)
    concepts_M = named_N4[rows_M, columns_M].astype(np.int32)
    similarities_M = np.empty(len(rows_M), np.float32)
    for start in range(0, len(rows_M), 10_000):
        part = slice(start, start + 10_000)
        similarities_M[part] = np.einsum("md,md->m", images_ND[rows_M[part]], concepts_VD[concepts_M[part]])
    return Mentions(
        offsets_N1=offsets_of(kept_N4.sum(axis=1)), concepts_M=concepts_M, similarities_M=similarities_M
    )
