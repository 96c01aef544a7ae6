"""The class names of segmentation and detection benchmarks, and the phrases that each may be found by.

Evaluation is "zero-shot" only as far as the vocabulary does not contain the names evaluated; this module
says which names there are. Which of them a vocabulary covers is `vocabulary.overlap`.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources

from cocu.curation import vocabulary_files


@cache
def benchmarks() -> dict[str, tuple[vocabulary_files.Entry, ...]]:
    """The classes of every benchmark we know, by its short name ("voc", "coco", "lvis", …), background left
    out."""
    file = resources.files("cocu.curation") / "vocabularies" / "benchmarks.json"
    listed = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    return {
        benchmark: tuple(vocabulary_files.parse_entry(line) for line in lines)
        for benchmark, lines in listed.items()
    }


def classes(benchmark: str) -> tuple[vocabulary_files.Entry, ...]:
    """The classes of one benchmark.

    Raises:
        ValueError: there is no benchmark of that name; says which there are.
    """
    known = benchmarks()
    if benchmark not in known:
        raise ValueError(f"no benchmark {benchmark!r}; there are {', '.join(sorted(known))}")
    return known[benchmark]


def phrases(class_name: str) -> Iterator[str]:
    """The phrases that a class name as benchmarks write it may be found by, the most literal first.

    "windowpane;window" reads as either; "door-stuff" and "sky-other" without the ending; "wall-concrete" also
    "concrete wall"; "bow (weapon)" also "weapon bow" and "bow"; underscores and outer spaces do not matter.
    """
    for alternative in class_name.split(";"):
        written = alternative.replace("_", " ").strip()
        yield written
        plain = written.removesuffix("-other").removesuffix("-stuff")
        if plain != written:
            yield plain
        if plain.count("-") == 1:
            first, second = plain.split("-")
            yield f"{second} {first}"
        bare, parenthesis, note = plain.partition("(")
        if parenthesis:
            yield f"{note.partition(')')[0]} {bare}"
            yield f"{bare} {note.partition(')')[0]}"
            yield bare + note.partition(")")[2]
            yield bare
