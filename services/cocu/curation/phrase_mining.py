"""A vocabulary mined from the captions of a dataset: its frequent noun phrases, with counts.

There is no tagger: a caption is cut at function words, punctuation, verbs and adverbs into runs that are
mostly noun phrases, and all word sequences in the runs are counted. A sequence becomes a phrase if it
occurs often enough, mostly ends its run (as the head of a noun phrase does), and sticks together
(normalised pointwise mutual information, Bouma 2009, of its weakest joint). "hydrant" is dropped
for "fire hydrant" where it hardly occurs without "fire".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Container, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache

from cocu.curation import surface_forms, vocabulary_files, word_tables
from cocu.curation.vocabulary import Vocabulary

Words = tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class MiningParameters:
    """What counts as a phrase; counts are of captions, cohesions lie in [-1, 1], shares in [0, 1]."""

    minimum_count: int = 5
    maximum_words: int = 4
    maximum_phrases: int = 10_000
    minimum_cohesion: float = 0.3
    minimum_adjective_cohesion: float = 0.55
    """For phrases that begin with an adjective or a participle: "hot dog", but not "white dog"."""
    minimum_head_share: float = 0.35
    """The share of occurrences that end their run."""
    maximum_inner_share: float = 0.7
    """A phrase is dropped if it lies inside one longer phrase in more than this share of its captions."""
    maximum_counters: int = 500_000
    """The limit on memory: beyond it the rarest sequences are dropped; `Mined.lost_count` bounds the loss."""

    def __post_init__(self) -> None:
        for name in ("minimum_count", "maximum_words", "maximum_phrases"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, not {getattr(self, name)}")
        if self.maximum_counters < 1000:
            raise ValueError(f"maximum_counters must be at least 1000, not {self.maximum_counters}")


@dataclass(frozen=True)
class Phrase:
    """A noun phrase, in the singular where the captions have one, and the number of captions that name it."""

    name: str
    count: int
    cohesion: float
    """1.0 for single words."""


@dataclass(frozen=True)
class Mined:
    """The phrases of `captions` captions, most frequent first, ties by name.

    A count may be too small by at most `lost_count`, which is 0 unless the limit on counters was reached.
    """

    phrases: tuple[Phrase, ...]
    captions: int
    lost_count: int

    def vocabulary(self, name: str = "mined", version: str = "1") -> Vocabulary:
        """The phrases as a vocabulary, with the surface forms that the rules give."""
        return Vocabulary.build(
            (vocabulary_files.Entry(phrase.name) for phrase in self.phrases), name=name, version=version
        )


def mine(captions: Iterable[str], parameters: MiningParameters | None = None) -> Mined:
    """Return the frequent noun phrases of captions.

    Reads the captions once, in bounded memory. The result depends on the captions and, only if the limit on
    counters was reached, on their order.
    """
    parameters = parameters or MiningParameters()
    counts = _Counts(parameters.maximum_counters)
    for caption in captions:
        counts.add(list(_runs(surface_forms.words(caption))), parameters.maximum_words)
    merged, final = _merge_numbers(counts.all, counts.all), _merge_numbers(counts.final, counts.all)
    cohesions: dict[Words, float] = {}
    for words, count in merged.items():
        if count >= parameters.minimum_count and final[words] >= parameters.minimum_head_share * count:
            cohesion = _cohesion(words, merged, counts)
            if _is_nominal(words) and cohesion >= _needed_cohesion(words, parameters):
                cohesions[words] = cohesion
    inner = _counts_inside_longer({words: merged[words] for words in cohesions})
    phrases = [
        Phrase(" ".join(words), merged[words], round(cohesion, 6))
        for words, cohesion in cohesions.items()
        if inner[words] <= parameters.maximum_inner_share * merged[words]
    ]
    phrases.sort(key=lambda phrase: (-phrase.count, phrase.name))
    return Mined(tuple(phrases[: parameters.maximum_phrases]), counts.captions, counts.lost)


@dataclass
class _Counts:
    """Captions per word sequence, and per sequence at the end of a run; the rarest are forgotten beyond the
    limit."""

    limit: int
    all: Counter[Words] = field(default_factory=Counter)
    final: Counter[Words] = field(default_factory=Counter)
    captions: int = 0
    lost: int = 0

    def add(self, runs: Sequence[Sequence[str]], maximum_words: int) -> None:
        self.captions += 1
        sequences: set[Words] = set()
        ends: set[Words] = set()
        for run in runs:
            for start in range(len(run)):
                for end in range(start + 1, min(start + maximum_words, len(run)) + 1):
                    sequences.add(tuple(run[start:end]))
            ends.update(tuple(run[start:]) for start in range(max(0, len(run) - maximum_words), len(run)))
        for words in [
            words for words in sequences if any(singular in sequences for singular in _singulars(words))
        ]:
            sequences.discard(words)  # a caption with both numbers is one caption of the singular
            ends.discard(words)
        self.all.update(sequences)
        self.final.update(ends)
        while len(self.all) > self.limit:
            self.lost += 1
            self.all = Counter({words: count - 1 for words, count in self.all.items() if count > 1})
            self.final = Counter({words: count for words, count in self.final.items() if words in self.all})


def _runs(tokens: Sequence[str]) -> Iterator[list[str]]:
    """The parts of a caption that may be noun phrases: what lies between function words, punctuation,
    verbs, adverbs."""
    run: list[str] = []
    for token in tokens:
        if _bounds(token):
            if run:
                yield run
            run = []
        else:
            run.append(token)
    if run:
        yield run


def _bounds(token: str) -> bool:
    if not token.isalpha() or len(token) < 2 or token in word_tables.FUNCTION_WORDS:
        return True
    if token in word_tables.ING_AND_ED_NOUNS:
        return False
    return token in word_tables.VERBS or token.endswith("ly")


def _is_nominal(words: Words) -> bool:
    head = words[-1]
    if len(set(words)) < len(words):
        return False
    return not (head in word_tables.ADJECTIVES or head in word_tables.NOT_THINGS or _is_participle(head))


def _is_participle(word: str) -> bool:
    return word.endswith(("ing", "ed")) and len(word) > 4 and word not in word_tables.ING_AND_ED_NOUNS


def _cohesion(words: Words, merged: Mapping[Words, int], counts: _Counts) -> float:
    """The normalised mutual information at the weakest joint of a phrase; 1 for a single word."""
    return min(
        (
            _normalised_information(
                merged[words], counts.all[words[:joint]], merged[words[joint:]], counts.captions
            )
            for joint in range(1, len(words))
        ),
        default=1.0,
    )


def _needed_cohesion(words: Words, parameters: MiningParameters) -> float:
    if words[0] in word_tables.ADJECTIVES or _is_participle(words[0]):
        return parameters.minimum_adjective_cohesion
    return parameters.minimum_cohesion


def _normalised_information(together: int, left: int, right: int, captions: int) -> float:
    """Normalised pointwise mutual information of two events of captions: 1 always together, 0 independent."""
    if together >= captions:
        return 1.0
    information = math.log(together * captions / (max(left, together) * max(right, together)))
    return information / -math.log(together / captions)


def _singulars(words: Words) -> list[Words]:
    singulars = _singulars_of_word(words[-1])
    return [(*words[:-1], singular) for singular in singulars] if singulars else []


_singulars_of_word = lru_cache(maxsize=100_000)(surface_forms.singulars)


def _merge_numbers(counts: Mapping[Words, int], seen: Container[Words]) -> Counter[Words]:
    """Add plurals to their singular where the captions contain that word; otherwise the plural stays."""
    merged: Counter[Words] = Counter()
    for words, count in counts.items():
        merged[next((singular for singular in _singulars(words) if singular[-1:] in seen), words)] += count
    return merged


def _counts_inside_longer(counts: Mapping[Words, int]) -> Counter[Words]:
    """For every part of a phrase, the count of the most frequent phrase that it lies in."""
    inside: Counter[Words] = Counter()
    for words, count in counts.items():
        parts = {words[start:end] for start in range(len(words)) for end in range(start + 1, len(words) + 1)}
        for part in parts - {words}:
            inside[part] = max(inside[part], count)
    return inside
