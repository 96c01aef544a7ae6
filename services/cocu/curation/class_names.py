"""The class names of segmentation and detection benchmarks, and the phrases that match each of them.

An evaluation is "zero-shot" only as far as the vocabulary does not contain the evaluated names. This module
lists the names; `vocabulary.overlap` computes which of them a vocabulary contains.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from importlib import resources

from cocu.curation import vocabulary_files


@cache
def benchmarks() -> dict[str, tuple[vocabulary_files.Entry, ...]]:
    """Return the classes of every known benchmark by its short name ("voc", "coco", "lvis", …), without the
    background."""
    file = resources.files("cocu.curation") / "vocabularies" / "benchmarks.json"
    listed = json.loads(file.read_text(encoding="utf-8"))["benchmarks"]
    return {
        benchmark: tuple(vocabulary_files.parse_entry(line) for line in lines)
        for benchmark, lines in listed.items()
    }


def classes(benchmark: str) -> tuple[vocabulary_files.Entry, ...]:
    """The classes of one benchmark.

    Raises:
        ValueError: there is no benchmark of that name; the message lists the known ones.
    """
    all_classes = benchmarks()
    if benchmark not in all_classes:
        raise ValueError(f"no benchmark {benchmark!r}; there are {', '.join(sorted(all_classes))}")
    return all_classes[benchmark]


def phrases(class_name: str) -> Iterator[str]:
    """Yield the phrases that match a class name as benchmarks write it, the most literal first.

    "windowpane;window" matches either; "door-stuff" and "sky-other" also without the ending; "wall-concrete"
    also "concrete wall"; "bow (weapon)" also "weapon bow" and "bow". Underscores and outer spaces
    are ignored.
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
