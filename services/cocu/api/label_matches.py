"""What labels of a request are about: the samples that their names mean, and the words that mean a label."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Any

from cocu.api.labels import LabelTable
from cocu.curation.labels import LabelMap
from cocu.errors import InvalidInputError
from cocu.sample_names import NameMatches, last_part, match_names

LABELS_OF_COCO = "coco"
MAX_CLASSES = 100_000

MAX_NAMES = 100
"""The most names without a sample, and the most ambiguous names, that are stored."""


def label_map_of(table: LabelTable) -> LabelMap:
    """Return the label map that a request names; without one, that of COCO for a COCO file, else names alone.

    Raises InvalidInputError for an unknown map.
    """
    name = table.label_map
    if name is None and table.coco:
        name = LABELS_OF_COCO
    if name is None:
        return LabelMap.by_name()
    try:
        return LabelMap.shipped(name)
    except ValueError as error:
        raise InvalidInputError("The label map is not known.", {"body.label_map": str(error)}) from error


def classes_of(table: LabelTable) -> list[str]:
    """Return the distinct labels, sorted. Raises InvalidInputError for more than MAX_CLASSES."""
    names: set[str] = set()
    for _, labels in table.items():
        names.update(labels)
        if len(names) > MAX_CLASSES:
            raise InvalidInputError(
                "These are too many labels.",
                {"body.labels": f"has more than {MAX_CLASSES:,} distinct labels; labels are classes"},
            )
    return sorted(names)


def match_labels(table: LabelTable, keys_of_shards: Iterable[Sequence[str]]) -> NameMatches:
    """Return the keys that match the names of a table; only candidates for a match are kept in memory.

    `LabelTable.name_images` was called before.
    """
    keys: list[str] = []
    for keys_of_shard in keys_of_shards:
        last_parts = {key: last_part(key) for key in keys_of_shard}
        known = table.known_last_parts(last_parts.values())
        keys += [key for key, part in last_parts.items() if part in known]
    return match_names(table.names_of({last_part(key) for key in keys}), keys)


def count_unmatched(table: LabelTable, matches: NameMatches) -> dict[str, Any]:
    """Count the names that match no sample or several, with the first of each."""
    matched = matches.keys.keys() | set(matches.ambiguous)
    missing = islice((name for name, _ in table.items() if name not in matched), MAX_NAMES)
    return {
        "labels_without_sample": len(table) - len(matches.keys) - len(matches.ambiguous),
        "labels_ambiguous": len(matches.ambiguous),
        "without_sample": list(missing),
        "ambiguous": list(matches.ambiguous[:MAX_NAMES]),
    }
