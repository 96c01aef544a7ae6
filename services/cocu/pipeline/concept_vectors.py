"""The concepts of a vocabulary by an encoder: embeddings, merge candidates, gaps, points in the vector store.

Each is one file, which is written once; the points are a copy. All of it can take minutes for a hundred
thousand concepts, so every function that computes reports its progress.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cocu.catalog.curations import CurationRecord
from cocu.catalog.samples import ShardRecord
from cocu.curation import concept_space
from cocu.curation.archives import Ids
from cocu.curation.phrase_mining import MiningParameters, mine
from cocu.curation.vocabulary import Vocabulary
from cocu.encoders.concepts import embed_concepts
from cocu.encoders.encoder import Encoder, Float32s
from cocu.errors import IntegrityError, NotFoundError
from cocu.neighbours import available_engine, top_neighbours
from cocu.platform import Platform
from cocu.storage import arrays, paths, tables
from cocu.vectors import ConceptPoint, ConceptVectors, Frequency

logger = logging.getLogger(__name__)

Advance = Callable[[int], None]
"""Called with the number of concepts, captions or phrases done; raises an error to stop the work."""

AT_ONCE = 2_048
"""Concepts between two calls of `Advance`."""
PAIRS_OF_EACH = 10
"""Pairs that each concept makes: with those nearest to it."""
MIN_CAPTIONS = 2
"""The fewest captions that name a gap."""
MAX_PHRASES = 10_000


@dataclass(frozen=True)
class Pairs:
    """Pairs of concepts by number, first < second, with their cosines; most similar first."""

    first_P: Ids
    second_P: Ids
    similarities_P: Float32s


@dataclass(frozen=True)
class Gaps:
    """Phrases of captions that name no concept of a vocabulary, most captions first.

    counts_P: captions that name each. nearest_P: the number of the nearest concept; similarities_P: the
    cosine with it.
    """

    phrases: tuple[str, ...]
    counts_P: Ids
    nearest_P: Ids
    similarities_P: Float32s


def _nothing(done: int) -> None:
    pass


def embeddings(platform: Platform, *, encoder_hash: str, vocabulary_hash: str) -> Float32s | None:
    """Read the text embeddings of a vocabulary's concepts, float32 [V, D]; None if not computed yet."""
    path = paths.concept_embeddings(encoder_hash, vocabulary_hash)
    stored = _read(platform, path, "concepts_VD")
    return None if stored is None else np.asarray(stored["concepts_VD"], np.float32)


def compute_embeddings(
    platform: Platform, encoder: Encoder, vocabulary: Vocabulary, *, advance: Advance = _nothing
) -> Float32s:
    """Return the same; compute and write them if need be. Raises the errors of `embed_concepts`."""
    stored_VD = embeddings(platform, encoder_hash=encoder.hash, vocabulary_hash=vocabulary.hash)
    if stored_VD is not None:
        return stored_VD
    embeddings_VD = _embedded(encoder, vocabulary.prompts(), advance)
    path = paths.concept_embeddings(encoder.hash, vocabulary.hash)
    arrays.write_arrays(platform.objects, path, {"concepts_VD": embeddings_VD})
    return np.asarray(arrays.read_arrays(platform.objects, path)["concepts_VD"], np.float32)


def pairs(platform: Platform, *, encoder_hash: str, vocabulary_hash: str) -> Pairs | None:
    """Read the pairs of a vocabulary's concepts that are near in meaning; None if not computed yet."""
    path = paths.concept_pairs(encoder_hash, vocabulary_hash)
    stored = _read(platform, path, "first_P", "second_P", "similarities_P")
    return None if stored is None else Pairs(**stored)


def compute_pairs(
    platform: Platform,
    concepts_VD: Float32s,
    *,
    encoder_hash: str,
    vocabulary_hash: str,
    advance: Advance = _nothing,
) -> None:
    """Compute and write the pairs by an exact search for the nearest concepts of each."""
    count = len(concepts_VD)
    neighbours_VL = np.zeros((count, min(PAIRS_OF_EACH, count - 1)), np.int64)
    if neighbours_VL.size:
        halves = [concepts_VD.astype(np.float16)]
        for start in range(0, count, AT_ONCE):
            queries = range(start, min(start + AT_ONCE, count))
            nearest = top_neighbours(halves, queries, count=neighbours_VL.shape[1], engine=available_engine())
            neighbours_VL[queries] = nearest.ids_QL
            advance(len(queries))
    first_P, second_P, similarities_P = concept_space.pairs(neighbours_VL, concepts_VD)
    arrays.write_arrays(
        platform.objects,
        paths.concept_pairs(encoder_hash, vocabulary_hash),
        {"first_P": first_P, "second_P": second_P, "similarities_P": similarities_P},
    )


def gaps(
    platform: Platform, *, dataset_id: str, encoder_hash: str, vocabulary_hash: str, snapshot: str
) -> Gaps | None:
    """Read the gaps of a vocabulary in a snapshot of a dataset; None if not computed yet."""
    path = paths.gaps(dataset_id, encoder_hash, vocabulary_hash, snapshot)
    stored = _read(platform, path, "phrases", "counts_P", "nearest_P", "similarities_P")
    if stored is None:
        return None
    text = stored.pop("phrases").tobytes().decode()
    return Gaps(phrases=tuple(text.split("\n") if text else ()), **stored)


def compute_gaps(
    platform: Platform,
    encoder: Encoder,
    vocabulary: Vocabulary,
    concepts_VD: Float32s,
    *,
    dataset_id: str,
    shards: Sequence[ShardRecord],
    snapshot: str,
    advance: Advance = _nothing,
) -> None:
    """Mine phrases from the captions of these shards, and write those that name no concept.

    A phrase is embedded with the vocabulary's templates, as a concept is, and compared with all concepts.
    The gaps of other snapshots of the dataset are deleted.
    """
    parameters = MiningParameters(minimum_count=MIN_CAPTIONS, maximum_phrases=MAX_PHRASES)
    mined = mine(_captions(platform, dataset_id, shards, advance), parameters)
    phrases = [phrase for phrase in mined.phrases if vocabulary.find(phrase.name) is None]
    prompts = [prompts_of(vocabulary, phrase.name) for phrase in phrases]
    embedded_PD = _embedded(encoder, prompts, advance)
    nearest_P, similarities_P = concept_space.nearest_each(concepts_VD, embedded_PD)
    path = paths.gaps(dataset_id, encoder.hash, vocabulary.hash, snapshot)
    text = "\n".join(phrase.name for phrase in phrases)
    arrays.write_arrays(
        platform.objects,
        path,
        {
            "phrases": np.frombuffer(text.encode(), np.uint8),
            "counts_P": np.array([phrase.count for phrase in phrases], np.int64),
            "nearest_P": nearest_P,
            "similarities_P": similarities_P,
        },
    )
    for other in platform.objects.list(path.rpartition("/")[0]):
        if other != path:
            platform.objects.delete(other)


def prompts_of(vocabulary: Vocabulary, phrase: str) -> list[str]:
    """Return the prompts of a phrase: the vocabulary's templates with the phrase in them."""
    return [template.replace("{}", phrase) for template in vocabulary.templates]


def put(
    platform: Platform,
    vocabulary: Vocabulary,
    concepts_VD: Float32s,
    *,
    tenant: str,
    vocabulary_id: str,
    encoder_hash: str,
    curations: Sequence[CurationRecord] = (),
    advance: Advance = _nothing,
) -> None:
    """Write a vocabulary's concepts to the vector store, with their frequencies in these curations.

    A curation whose frequencies cannot be read is left out. Raises UnavailableError. Repeating it replaces
    the points.
    """
    store = ConceptVectors(platform.vectors)
    store.ensure_collection(encoder=encoder_hash, dimensions=concepts_VD.shape[1])
    frequencies = _frequencies(platform, curations, len(vocabulary))
    for start in range(0, len(vocabulary), AT_ONCE):
        numbers = range(start, min(start + AT_ONCE, len(vocabulary)))
        store.upsert(
            encoder=encoder_hash,
            tenant=tenant,
            vocabulary=vocabulary_id,
            concepts=[
                ConceptPoint(
                    number,
                    vocabulary.concepts[number].name,
                    vocabulary.concepts[number].forms,
                    {
                        version: Frequency(*(int(counts_V[number]) for counts_V in counts))
                        for version, counts in frequencies.items()
                    },
                )
                for number in numbers
            ],
            vectors_CD=concepts_VD[start : numbers.stop],
        )
        advance(len(numbers))


def version_of(curation: CurationRecord) -> str:
    """Return the name under which points keep a curation's frequencies; a repeated run gets another."""
    return f"{curation.id}-{(curation.content_hash or '')[: paths.HASH_CHARACTERS]}"


def _frequencies(
    platform: Platform, curations: Sequence[CurationRecord], concepts: int
) -> Mapping[str, tuple[Ids, Ids, Ids]]:
    frequencies: dict[str, tuple[Ids, Ids, Ids]] = {}
    for curation in curations:
        stored = _read(platform, paths.concepts(curation.id), "captions_V", "archives_V", "added_V")
        if stored is not None and all(len(counts_V) == concepts for counts_V in stored.values()):
            frequencies[version_of(curation)] = (
                stored["captions_V"],
                stored["archives_V"],
                stored["added_V"],
            )
    return frequencies


def _embedded(encoder: Encoder, prompts: Sequence[Sequence[str]], advance: Advance) -> Float32s:
    """Embed concepts in parts. Each part has a whole number of the encoder's batches, whatever the number of
    templates, so the result equals that of a single call."""
    embedded_VD = np.zeros((len(prompts), encoder.dim), np.float32)
    for start in range(0, len(prompts), AT_ONCE):
        part = slice(start, start + AT_ONCE)
        embedded_VD[part] = embed_concepts(encoder, prompts[part])
        advance(len(prompts[part]))
    return embedded_VD


def _captions(
    platform: Platform, dataset_id: str, shards: Sequence[ShardRecord], advance: Advance
) -> Iterator[str]:
    for shard in shards:
        path = paths.samples(dataset_id, shard.id)
        yield from tables.read_table(platform.objects, path, columns=["caption"])["caption"].to_pylist()
        advance(shard.samples)


def _read(platform: Platform, path: str, *names: str) -> dict[str, np.ndarray] | None:
    """Read arrays of a file by name; None if it is missing, or damaged and to be computed again."""
    try:
        stored = arrays.read_arrays(platform.objects, path)
        return {name: stored[name] for name in names}
    except NotFoundError:
        return None
    except (IntegrityError, KeyError) as error:
        logger.warning("%s is computed again: %s", path, error)
        return None
