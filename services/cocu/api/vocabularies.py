"""Vocabularies from requests: shipped, from text, from a document, or mined."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cocu import schemas
from cocu.api.bodies import count_values
from cocu.api.queries import Samples, feedback
from cocu.catalog import datasets
from cocu.catalog import samples as sample_queries
from cocu.curation.phrase_mining import MiningParameters, Phrase, mine
from cocu.curation.vocabulary import Vocabulary
from cocu.curation.vocabulary_lines import to_lines
from cocu.errors import ConflictError, InvalidInputError, LimitExceededError, UnavailableError
from cocu.platform import Platform
from cocu.vectors.concepts import ConceptVectors

logger = logging.getLogger(__name__)

MAX_PARTS = 20
"""The most names, synonyms and lines per concept, on average."""
SEPARATORS = ",/\n\r\v\f\x1c\x1d\x1e\x85\u2028\u2029"
MAX_LINE_LENGTH = 100_000


@dataclass(frozen=True)
class BuiltVocabulary:
    """A vocabulary, its source as the catalog names it, and its phrases with counts if it was mined."""

    vocabulary: Vocabulary
    source: str
    phrases: tuple[Phrase, ...] = ()


def build(
    platform: Platform, samples: Samples, *, tenant: str, request: schemas.VocabularyCreate
) -> BuiltVocabulary:
    """Return the vocabulary that a request asks for.

    Its version is a hash of its source, unless a document states one, so that a changed file is a new
    version. Raises InvalidInputError, NotFoundError without the dataset to mine, LimitExceededError.
    """
    field = next(
        name
        for name in ("shipped", "text", "document", "mined", "from_")
        if getattr(request, name) not in (None, False)
    )
    _check_size(platform, field, request.text or request.document or "")
    try:
        built = _from(platform, samples, tenant, request)
        vocabulary = _without(built.vocabulary, request.without, request.without_phrases)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError(
            "The vocabulary cannot be read.", {f"body.{field.rstrip('_')}": str(error)}
        ) from error
    if len(vocabulary.concepts) > platform.settings.max_vocabulary_concepts:
        raise LimitExceededError(
            f"the vocabulary has {len(vocabulary.concepts):,} concepts; "
            f"at most {platform.settings.max_vocabulary_concepts:,} are taken"
        )
    return replace(built, vocabulary=vocabulary)


def as_lines(vocabulary: Vocabulary) -> str:
    """Return a vocabulary a concept a line. Raises ConflictError where lines cannot say what it has."""
    try:
        return to_lines(vocabulary)
    except ValueError as error:
        raise ConflictError(
            f"this vocabulary cannot be written a concept a line: {error}; take it as JSON"
        ) from error


def delete(platform: Platform, *, tenant: str, vocabulary_id: str) -> None:
    """Delete a vocabulary that no curation uses, and its points in the vector store.

    Raises NotFoundError, ConflictError. Points that cannot be reached stay; nothing finds them.
    """
    platform.vocabularies.delete(tenant=tenant, vocabulary_id=vocabulary_id)
    try:
        ConceptVectors(platform.vectors).delete_vocabulary(tenant=tenant, vocabulary=vocabulary_id)
    except UnavailableError as error:
        logger.warning("the points of the deleted vocabulary %s stay: %s", vocabulary_id, error)


def _check_size(platform: Platform, field: str, text: str) -> None:
    """Raise LimitExceededError for a text of far more parts than a vocabulary may have concepts.

    It runs before the text is parsed, because each part becomes an object in memory.
    """
    limit = MAX_PARTS * platform.settings.max_vocabulary_concepts
    parts = sum(text.count(separator) for separator in SEPARATORS)
    if field == "document":
        parts = max(text.count("/"), count_values(text.encode("utf-8", "replace"), limit=limit))
    if parts > limit:
        raise LimitExceededError(
            f"the {field} has more than {limit:,} parts; a vocabulary may have "
            f"{platform.settings.max_vocabulary_concepts:,} concepts"
        )
    longest = 0 if field == "document" else max(map(len, text.splitlines()), default=0)
    if longest > MAX_LINE_LENGTH:
        raise InvalidInputError(
            "The vocabulary cannot be read.",
            {"body.text": f"a line has {longest:,} characters; write one concept a line"},
        )


def _from(
    platform: Platform, samples: Samples, tenant: str, request: schemas.VocabularyCreate
) -> BuiltVocabulary:
    if request.text is not None:
        version = _short_hash(request.text)
        return BuiltVocabulary(
            Vocabulary.from_lines(request.text, name=request.name or "own", version=version), "uploaded"
        )
    if request.mined is not None:
        return _mined(platform, samples, tenant, request.name, request.mined)
    if request.from_ is not None:
        return _next(platform, tenant, request, request.from_)
    if request.document is not None:
        vocabulary, source = Vocabulary.from_json(request.document), "uploaded"
    else:
        vocabulary, source = Vocabulary.shipped(), "shipped"
    return BuiltVocabulary(
        vocabulary if request.name is None else replace(vocabulary, name=request.name), source
    )


def _next(
    platform: Platform, tenant: str, request: schemas.VocabularyCreate, identity: str
) -> BuiltVocabulary:
    record, vocabulary = platform.vocabularies.load(tenant=tenant, vocabulary=identity)
    source = record.source
    if request.feedback:
        changed = feedback.next_version(platform, tenant=tenant, record=record, vocabulary=vocabulary)
        vocabulary, source = changed, source if changed is vocabulary else "feedback"
    return BuiltVocabulary(
        vocabulary if request.name is None else replace(vocabulary, name=request.name), source
    )


def _mined(
    platform: Platform, samples: Samples, tenant: str, name: str | None, request: schemas.VocabularyMined
) -> BuiltVocabulary:
    dataset = datasets.get(platform.catalog, tenant=tenant, dataset_id=request.dataset)
    shards = sample_queries.shards(platform.catalog, tenant=tenant, dataset_id=dataset.id)
    parameters = MiningParameters(
        minimum_count=request.minimum_count, maximum_phrases=request.maximum_concepts
    )
    mining = mine(_captions(samples, dataset.id, [shard.id for shard in shards]), parameters)
    version = _short_hash("\n".join([str(parameters), *(shard.sha256 for shard in shards)]))
    vocabulary = mining.vocabulary(name=name or f"mined from {dataset.name}"[:200], version=version)
    return BuiltVocabulary(vocabulary, "mined", mining.phrases)


def _captions(samples: Samples, dataset: str, shards: Sequence[str]) -> Iterator[str]:
    for shard in shards:
        for _, caption in samples.keys_and_captions(dataset, shard):
            yield caption


def _without(vocabulary: Vocabulary, benchmarks: Sequence[str], phrases: Sequence[str]) -> Vocabulary:
    reduced = vocabulary.without_benchmarks(benchmarks).without(phrases)
    if reduced is vocabulary:
        return vocabulary
    removed_hash = _short_hash("\n".join([*sorted(benchmarks), "", *sorted(phrases)]))
    return replace(reduced, version=f"{vocabulary.version}-without-{removed_hash}")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
