"""Captions per second and core that the shipped vocabulary is found in, beside a regular expression."""

from __future__ import annotations

import random
import re

from benchmarks.report import measure, report
from cocu.curation import surface_forms
from cocu.curation.vocabulary import Vocabulary

CAPTIONS = 20_000
ALTERNATIVE_CAPTIONS = 200
"""The regular expression tries thousands of alternatives at every word; fewer captions give its rate."""

BOUND = 50_000
PATTERNS = (
    "a {} sitting on top of a {}",
    "two {} standing next to a {} in the {}",
    "there is a {} and a {} with some {} on it",
    "the {} is holding a large red {} near the {}",
    "a close up of a {} in front of a {}",
    "people looking at a {}, a {} and another {} outside",
)


def captions(vocabulary: Vocabulary, count: int) -> list[str]:
    """Synthetic captions of about ten words that name two or three concepts each, as COCO captions do."""
    source = random.Random(0)
    return [
        re.sub(r"\{\}", lambda _: source.choice(vocabulary.names), source.choice(PATTERNS)).capitalize() + "."
        for _ in range(count)
    ]


def main() -> None:
    """Print the rates and whether the bound holds."""
    vocabulary = Vocabulary.shipped()
    texts = captions(vocabulary, CAPTIONS)
    words = sum(len(text.split()) for text in texts) / CAPTIONS
    print(f"{len(vocabulary)} concepts; {CAPTIONS} captions of {words:.1f} words on average")

    rate = CAPTIONS / measure(lambda: vocabulary.match_captions(texts), repeats=5).processor
    limit = CAPTIONS / measure(lambda: [surface_forms.words(text) for text in texts]).processor

    forms = sorted((form for concept in vocabulary.concepts for form in concept.forms), key=len, reverse=True)
    alternative = re.compile(r"\b(?:" + "|".join(map(re.escape, forms)) + r")\b")
    few = texts[:ALTERNATIVE_CAPTIONS]
    slow = (
        ALTERNATIVE_CAPTIONS / measure(lambda: [alternative.findall(text.lower()) for text in few]).processor
    )

    print(f"trie of words: {rate:,.0f} captions/s on one core")
    print(f"a regular expression: {slow:,.0f} captions/s; the trie is {rate / slow:,.0f} x as fast")
    print(f"limit, only splitting into words: {limit:,.0f} captions/s; the trie has {rate / limit:.2f}")
    report("caption matching", rate, "captions/s per core", f">= {BOUND}", rate >= BOUND)


if __name__ == "__main__":
    main()
