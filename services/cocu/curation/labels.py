"""Label maps: versioned maps from the labels of annotated datasets to the words that mean them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources

import numpy as np

from cocu.curation.archives import Ints
from cocu.curation.strict_json import parse_strict

__all__ = ["NO_LABEL", "LabelMap"]

NO_LABEL = -1
"""The label of a concept that means none of the given labels."""


@dataclass(frozen=True, kw_only=True)
class LabelMap:
    """The words that count as each label, beside its own name: synonyms ("sofa" is a couch) and kinds of it.

    accepted: label -> phrases; a phrase is accepted by one label at most. A label that is not in the map
    accepts its own name only, so the empty map fits every label set. The map states what the words mean; it
    is not fitted to any images.
    """

    name: str
    version: str
    accepted: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        owners: dict[str, str] = {}
        for label, phrases in self.accepted.items():
            for phrase in (label, *phrases):
                if owners.setdefault(phrase, label) != label:
                    raise ValueError(
                        f"label map {self.name!r}: {phrase!r} is accepted by both {owners[phrase]!r} and "
                        f"{label!r}; keep it under one of them"
                    )

    @classmethod
    def by_name(cls) -> LabelMap:
        """Return the map in which every label accepts only its own name."""
        return cls(name="by name", version="1")

    @classmethod
    def shipped(cls, name: str = "coco") -> LabelMap:
        """Load a map that comes with the package: "coco", for the 80 categories of COCO instances.

        Raises:
            ValueError: there is no such map; the message lists the known ones.
        """
        folder = resources.files("cocu.curation") / "label_maps"
        files = (file.name for file in folder.iterdir())
        names = sorted(file.removesuffix(".json") for file in files if file.endswith(".json"))
        if name not in names:
            raise ValueError(f"there is no label map {name!r}; there are {', '.join(names)}")
        return cls.from_json((folder / f"{name}.json").read_text(encoding="utf-8"))

    @classmethod
    def from_json(cls, text: str) -> LabelMap:
        """Parse a map from JSON: {"name", "version", "accepted": {label: [phrase, ...]}}.

        Raises:
            ValueError: not JSON (see `parse_strict`), or not of this shape.
        """
        try:
            document = parse_strict(text)
        except ValueError as error:
            raise ValueError(f"a label map is JSON: {error}") from error
        if not isinstance(document, dict) or not isinstance(document.get("accepted"), dict):
            raise ValueError('a label map is an object with "accepted": {label: [phrase, ...]}')
        accepted: dict[str, tuple[str, ...]] = {}
        for label, phrases in document["accepted"].items():
            if not isinstance(phrases, list) or not all(isinstance(phrase, str) for phrase in phrases):
                raise ValueError(f"label map: the phrases of {label!r} must be a list of texts")
            accepted[label] = tuple(phrases)
        name, version = str(document.get("name", "")), str(document.get("version", ""))
        return cls(name=name, version=version, accepted=accepted)

    def labels_of_concepts(
        self, *, labels: Sequence[str], concept_count: int, find: Callable[[str], int | None]
    ) -> Ints:
        """Return the label of every concept of a vocabulary.

        `find` returns the concept whose name or surface form equals a phrase (`Vocabulary.find`). A concept
        that several labels could claim belongs to the label it is the name of, before one that merely
        accepts it; then to the first.

        Returns:
            labels_V int32 [concept_count]: a position in `labels`, or NO_LABEL.

        Raises:
            ValueError: a label is given twice.
        """
        if len(set(labels)) != len(labels):
            raise ValueError("every label must be given once")
        labels_V = np.full(concept_count, NO_LABEL, dtype=np.int32)
        phrases = [(position, label) for position, label in enumerate(labels)]
        phrases += [
            (position, phrase)
            for position, label in enumerate(labels)
            for phrase in self.accepted.get(label, ())
        ]
        for position, phrase in phrases:
            concept = find(phrase)
            if concept is not None and labels_V[concept] == NO_LABEL:
                labels_V[concept] = position
        return labels_V
