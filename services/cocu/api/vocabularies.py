"""From a request to a vocabulary: shipped, from text, from a document, or mined."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from cocu.api.reading import Samples
from cocu.client import models
from cocu.curation.phrases import MiningParameters, Phrase, mine
from cocu.curation.vocabulary import Vocabulary
from cocu.errors import InvalidInputError, LimitExceededError
from cocu.platform import Platform
from cocu.storage.catalog import datasets
from cocu.storage.catalog import samples as sample_queries


@dataclass(frozen=True)
class Built:
    """A vocabulary, its source as the catalog calls it, and where it was mined the phrases with counts."""

    vocabulary: Vocabulary
    source: str
    phrases: tuple[Phrase, ...] = ()


def build(platform: Platform, samples: Samples, *, tenant: str, request: models.VocabularyCreate) -> Built:
    """The vocabulary that the request asks for.

    Its version is a hash of what it was made from unless a document states one, so that a changed file is a
    new version. Raises InvalidInputError, NotFoundError without the dataset to mine, LimitExceededError.
    """
    field = next(
        name
        for name in ("shipped", "text", "document", "mined")
        if getattr(request, name) not in (None, False)
    )
    try:
        built = _from(platform, samples, tenant, request)
        left = _without(built.vocabulary, request.without, request.without_phrases)
    except (ValueError, RecursionError) as error:
        raise InvalidInputError("The vocabulary cannot be read.", {f"body.{field}": str(error)}) from error
    if len(left.concepts) > platform.settings.max_vocabulary_concepts:
        raise LimitExceededError(
            f"the vocabulary has {len(left.concepts):,} concepts; "
            f"at most {platform.settings.max_vocabulary_concepts:,} are taken"
        )
    return replace(built, vocabulary=left)


def _from(platform: Platform, samples: Samples, tenant: str, request: models.VocabularyCreate) -> Built:
    if request.text is not None:
        version = _short_hash(request.text)
        return Built(
            Vocabulary.from_lines(request.text, name=request.name or "own", version=version), "uploaded"
        )
    if request.mined is not None:
        return _mined(platform, samples, tenant, request.name, request.mined)
    if request.document is not None:
        made, source = Vocabulary.from_json(request.document), "uploaded"
    else:
        made, source = Vocabulary.shipped(), "shipped"
    return Built(made if request.name is None else replace(made, name=request.name), source)


def _mined(
    platform: Platform, samples: Samples, tenant: str, name: str | None, request: models.VocabularyMined
) -> Built:
    dataset = datasets.get(platform.catalog, tenant=tenant, dataset_id=request.dataset)
    shards = sample_queries.shards(platform.catalog, tenant=tenant, dataset_id=dataset.id)
    parameters = MiningParameters(
        minimum_count=request.minimum_count, maximum_phrases=request.maximum_concepts
    )
    found = mine(_captions(samples, dataset.id, [shard.id for shard in shards]), parameters)
    version = _short_hash("\n".join([str(parameters), *(shard.sha256 for shard in shards)]))
    made = found.vocabulary(name=name or f"mined from {dataset.name}"[:200], version=version)
    return Built(made, "mined", found.phrases)


def _captions(samples: Samples, dataset: str, shards: Sequence[str]) -> Iterator[str]:
    for shard in shards:
        for _, caption in samples.keys_and_captions(dataset, shard):
            yield caption


def _without(vocabulary: Vocabulary, benchmarks: Sequence[str], phrases: Sequence[str]) -> Vocabulary:
    left = vocabulary.without_benchmarks(benchmarks).without(phrases)
    if left is vocabulary:
        return vocabulary
    left_out = _short_hash("\n".join([*sorted(benchmarks), "", *sorted(phrases)]))
    return replace(left, version=f"{vocabulary.version}-without-{left_out}")


def _short_hash(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
