"""The path of each object in the object store; no other module spells paths."""

from __future__ import annotations

import re

from cocu.errors import InvalidInputError

HASH_CHARACTERS = 16
"""Characters of a hash in a folder's name: enough that two never collide, few enough to read."""

_SEGMENT = re.compile(r"[A-Za-z0-9_=@+-][A-Za-z0-9_.=@+-]*")
_LONGEST_PATH = 1024


def dataset(dataset_id: str) -> str:
    """The folder of everything that belongs to a dataset, except its curations."""
    return f"datasets/{dataset_id}"


def upload(dataset_id: str, token: str) -> str:
    """A file as it was uploaded, until it is ingested; each attempt has its own token."""
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


def phashes(dataset_id: str, encoder_hash: str, shard_id: str) -> str:
    """Perceptual hashes, which tell copies of an image from other images of the same thing, uint64 [n].

    The folder, and the array `fingerprints_N` in the file, keep their old names, which stored datasets have.
    """
    return f"datasets/{dataset_id}/fingerprints/{encoder_hash[:HASH_CHARACTERS]}/{shard_id}.arrow"


def curation(curation_id: str) -> str:
    """The folder of everything that belongs to a curation."""
    return f"curations/{curation_id}"


def ivf_lists(curation_id: str) -> str:
    """The inverted lists (IVF) of the samples, and how many lists a search looks through.

    The stage that writes it is `ivf`; the file keeps its old name, which completed curations have.
    """
    return f"curations/{curation_id}/cells.arrow"


def ivf_rows(curation_id: str) -> str:
    """The image embeddings in the order of the inverted lists, float16 [N, D]."""
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


def audit(curation_id: str, content_hash: str) -> str:
    """What the audit of archives of this content deals."""
    return f"curations/{curation_id}/audit/{content_hash[:HASH_CHARACTERS]}.arrow"


def verdicts(curation_id: str, labels_hash: str, shard_id: str, content_hash: str) -> str:
    """What labels say of the concepts in archives of this content."""
    return f"{verdict_folder(curation_id, labels_hash)}/{shard_id}-{content_hash[:HASH_CHARACTERS]}.arrow"


def verdict_classes(curation_id: str, labels_hash: str) -> str:
    """The names of the classes of labels; it is there when all verdicts are."""
    return f"{verdict_folder(curation_id, labels_hash)}/classes.arrow"


def verdict_folder(curation_id: str, labels_hash: str) -> str:
    """The folder of what labels say of a curation."""
    return f"curations/{curation_id}/labels/{labels_hash[:HASH_CHARACTERS]}"


def changed_lists(curation_id: str, shard_id: str) -> str:
    """Which samples of a shard have other neighbours than in the previous curation; only for old shards."""
    return f"curations/{curation_id}/changed/{shard_id}.arrow"


def concepts(curation_id: str) -> str:
    """How many captions and how many archives name each concept."""
    return f"curations/{curation_id}/concepts.arrow"


def concept_index(curation_id: str, shard_id: str, content_hash: str) -> str:
    """In which archives of this content each concept is."""
    return f"curations/{curation_id}/indexes/{shard_id}-{content_hash[:HASH_CHARACTERS]}.arrow"


def archive_columns(curation_id: str, shard_id: str, content_hash: str) -> str:
    """The numbers by which lists of archives of this content are filtered and sorted."""
    return f"curations/{curation_id}/columns/{shard_id}-{content_hash[:HASH_CHARACTERS]}.arrow"


def comparison(curation_id: str, other_id: str, contents_hash: str) -> str:
    """The differences between two curations; `contents_hash` is over the content hashes of both."""
    return f"curations/{curation_id}/comparisons/{other_id}-{contents_hash[:HASH_CHARACTERS]}.arrow"


def vocabulary(vocabulary_hash: str) -> str:
    """The document of a vocabulary."""
    return f"vocabularies/{vocabulary_hash}.json"


def concept_embeddings(encoder_hash: str, vocabulary_hash: str) -> str:
    """The text embeddings of a vocabulary's concepts, float32 [V, D]."""
    folder = encoder_hash[:HASH_CHARACTERS]
    return f"vocabularies/embeddings/{folder}/{vocabulary_hash}.arrow"


def concept_pairs(encoder_hash: str, vocabulary_hash: str) -> str:
    """The pairs of a vocabulary's concepts that are near in meaning."""
    folder = encoder_hash[:HASH_CHARACTERS]
    return f"vocabularies/embeddings/{folder}/pairs/{vocabulary_hash}.arrow"


def labels(dataset_id: str, token: str) -> str:
    """The document of labels that are kept with a dataset; each has its own token."""
    return f"datasets/{dataset_id}/labels/{token}.json"


def gaps(dataset_id: str, encoder_hash: str, vocabulary_hash: str, snapshot_hash: str) -> str:
    """The phrases of a dataset's captions that a vocabulary lacks; `snapshot_hash` is over its shards."""
    folder = f"{encoder_hash[:HASH_CHARACTERS]}-{vocabulary_hash[:HASH_CHARACTERS]}"
    return f"datasets/{dataset_id}/gaps/{folder}/{snapshot_hash[:HASH_CHARACTERS]}.arrow"


def projection_points(dataset_id: str, projection_id: str) -> str:
    """The points of a projection, in the order in which they are sent."""
    return f"datasets/{dataset_id}/projections/{projection_id}.arrow"


def thumbnail(dataset_id: str, sha256: str, size: int) -> str:
    """The thumbnail of every image of a dataset with this SHA-256 (hex), `size` pixels on its longer side."""
    return f"{thumbnails(dataset_id, sha256)}/{sha256}-{size}.jpg"


def thumbnails(dataset_id: str, sha256: str) -> str:
    """The folder of the thumbnails of images whose SHA-256 (hex) begins like this: one of 256.

    A folder holds a few thousand files where a dataset has a million images, so listing one needs little
    memory.
    """
    return f"datasets/{dataset_id}/thumbnails/{sha256[:2]}"


def check(path: str) -> None:
    """Check that a text is a path of an object. Raises InvalidInputError."""
    if len(path) > _LONGEST_PATH or not all(_SEGMENT.fullmatch(segment) for segment in path.split("/")):
        raise InvalidInputError(
            f"object path {path[:100]!r} must be segments of letters, digits and _.=@+- joined by /, "
            f"none starting with a dot, at most {_LONGEST_PATH} characters"
        )
