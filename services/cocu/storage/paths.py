"""Where each object lies in the object store; the one place that spells paths."""

from __future__ import annotations

HASH_CHARACTERS = 16
"""How much of a hash a folder's name carries: enough that two never meet, short enough to read."""


def dataset(dataset_id: str) -> str:
    """The folder of everything that belongs to a dataset but its curations."""
    return f"datasets/{dataset_id}"


def upload(dataset_id: str, token: str) -> str:
    """A file as it was sent in, until it has become shards; every attempt has a token of its own."""
    return f"datasets/{dataset_id}/uploads/{token}"


def shard(dataset_id: str, shard_id: str) -> str:
    """A clean tar of samples."""
    return f"datasets/{dataset_id}/shards/{shard_id}.tar"


def samples(dataset_id: str, shard_id: str) -> str:
    """The sample table of a shard."""
    return f"datasets/{dataset_id}/samples/{shard_id}.parquet"


def embeddings(dataset_id: str, encoder_hash: str, shard_id: str) -> str:
    """The image embeddings of a shard, float16 [n, D]."""
    return f"datasets/{dataset_id}/embeddings/{encoder_hash[:HASH_CHARACTERS]}/{shard_id}.npy"


def fingerprints(dataset_id: str, encoder_hash: str, shard_id: str) -> str:
    """What tells copies of a picture from pictures of the same thing, uint64 [n]."""
    return f"datasets/{dataset_id}/fingerprints/{encoder_hash[:HASH_CHARACTERS]}/{shard_id}.arrow"


def curation(curation_id: str) -> str:
    """The folder of everything that belongs to a curation."""
    return f"curations/{curation_id}"


def cells(curation_id: str) -> str:
    """How the samples are split among cells of the space, and how many cells a search looks through."""
    return f"curations/{curation_id}/cells.arrow"


def cell_rows(curation_id: str) -> str:
    """The image embeddings in the order of the cells, float16 [N, D]."""
    return f"curations/{curation_id}/cell_rows.npy"


def neighbours(curation_id: str, shard_id: str) -> str:
    """The nearest samples of a shard's samples, duplicates among them."""
    return f"curations/{curation_id}/neighbours/{shard_id}.arrow"


def mentions(curation_id: str, shard_id: str) -> str:
    """The concepts that a shard's captions name."""
    return f"curations/{curation_id}/mentions/{shard_id}.arrow"


def statistics_part(curation_id: str, shard_id: str) -> str:
    """A shard's part of the statistics."""
    return f"curations/{curation_id}/statistics/{shard_id}.arrow"


def all_mentions(curation_id: str) -> str:
    """The mentions of every sample of the snapshot."""
    return f"curations/{curation_id}/mentions.arrow"


def statistics(curation_id: str) -> str:
    """The statistics of the snapshot."""
    return f"curations/{curation_id}/statistics.arrow"


def duplicates(curation_id: str) -> str:
    """The duplicate group of every sample."""
    return f"curations/{curation_id}/duplicates.arrow"


def archives(curation_id: str, shard_id: str) -> str:
    """The archives of a shard's samples."""
    return f"curations/{curation_id}/archives/{shard_id}.parquet"


def changed_lists(curation_id: str, shard_id: str) -> str:
    """Which of a shard's samples have other neighbours than in the curation before; of old shards alone."""
    return f"curations/{curation_id}/changed/{shard_id}.arrow"


def concepts(curation_id: str) -> str:
    """How many captions and how many archives name each concept."""
    return f"curations/{curation_id}/concepts.arrow"


def concept_index(curation_id: str, shard_id: str, content_hash: str) -> str:
    """Where each concept stands in the archives of this content."""
    return f"curations/{curation_id}/indexes/{shard_id}-{content_hash[:HASH_CHARACTERS]}.arrow"


def comparison(curation_id: str, other_id: str, contents_hash: str) -> str:
    """What is different between two curations; `contents_hash` is over the contents of both."""
    return f"curations/{curation_id}/comparisons/{other_id}-{contents_hash[:HASH_CHARACTERS]}.arrow"


def vocabulary(vocabulary_hash: str) -> str:
    """The document of a vocabulary."""
    return f"vocabularies/{vocabulary_hash}.json"


def concept_embeddings(encoder_hash: str, vocabulary_hash: str) -> str:
    """The text embeddings of a vocabulary's concepts, float32 [V, D]."""
    folder = encoder_hash[:HASH_CHARACTERS]
    return f"vocabularies/embeddings/{folder}/{vocabulary_hash}.arrow"
