"""The vocabulary: concepts with surface forms and prompt templates, and the concepts that a caption names."""

from __future__ import annotations

import hashlib
import json
import re
from bisect import bisect_left
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import resources
from pathlib import Path
from typing import NoReturn

import numpy as np

from cocu.curation import class_names, segmentation, surface_forms, vocabulary_files
from cocu.curation.archives import Ids, Ints
from cocu.curation.caption_matching import Matcher, Place, SegmentedMatcher

DEFAULT_TEMPLATES = ("a photo of a {}",)


@dataclass(frozen=True)
class Concept:
    """One concept: its name as shown and embedded, and every form in which a caption may write it.

    forms are as `surface_forms.form` writes them, sorted and unique. A form belongs to one concept of a
    vocabulary.
    """

    name: str
    forms: tuple[str, ...]


@dataclass(frozen=True)
class Vocabulary:
    """A versioned list of concepts; the id of a concept is its position, and concepts are sorted by name.

    `hash` covers everything that matching and prompts depend on: vocabularies with the same hash find the
    same concepts in the same captions.
    """

    name: str
    version: str
    concepts: tuple[Concept, ...]
    templates: tuple[str, ...] = DEFAULT_TEMPLATES
    segmenter: str | None = None
    """The segmenter of scripts without spaces (`segmentation.version`). None if no form is in such a script,
    or if no segmenter was installed when the vocabulary was made: a run in a caption is then one word."""

    def __post_init__(self) -> None:
        names = [concept.name for concept in self.concepts]
        if names != sorted(set(names)):
            raise ValueError("concepts must be unique and sorted by name; Vocabulary.build sorts them")
        _check_texts(self.name, self.version, *names, *self.templates)
        _check_owners(self.concepts)
        _check_templates(self.templates)

    @classmethod
    def build(
        cls,
        entries: Iterable[vocabulary_files.Entry],
        *,
        name: str,
        version: str = "1",
        templates: Sequence[str] = DEFAULT_TEMPLATES,
    ) -> Vocabulary:
        """Build a vocabulary from names and synonyms, with the surface forms that the rules derive.

        A form that several concepts could claim belongs to the one with the strongest claim: its own name,
        then a synonym as stated, then a name without its sense note ("bow (weapon)"), then an alternative
        ("barrel/bucket"), then a form by rule (a plural, a spelling, a compound) of these in the same
        order. Where claims are equally strong, two names or two stated synonyms are an error; a weaker form
        is ambiguous and belongs to no concept.

        Raises:
            ValueError: a name or a synonym is stated for two concepts, or has no letter or digit.
        """
        entries = list(entries)
        unspaced = any(
            segmentation.is_unspaced(text) for entry in entries for text in (entry.name, *entry.synonyms)
        )
        segmenter = segmentation.version() if unspaced else None
        claims = surface_forms.claims if segmenter is None else surface_forms.segmented_claims
        owners: dict[str, tuple[int, int]] = {}
        for position, entry in enumerate(entries):
            _check_synonyms(entry)
            if not any(character.isalnum() for character in surface_forms.form(entry.name)):
                raise ValueError(f"{entry.where}the concept {entry.name!r} has no letter or digit")
            for text, strength in claims(entry.name, entry.synonyms).items():
                claim = owners.get(text)
                if claim is None or strength < claim[1]:
                    owners[text] = (position, strength)
                elif strength == claim[1] and position != claim[0]:
                    if strength <= surface_forms.SYNONYM:
                        _refuse(text, entries[max(claim[0], 0)], entry)
                    owners[text] = (_AMBIGUOUS, strength)
        forms: list[list[str]] = [[] for _ in entries]
        for text, (position, _) in owners.items():
            if position != _AMBIGUOUS:
                forms[position].append(text)
        concepts = [
            Concept(entry.name, tuple(sorted(own))) for entry, own in zip(entries, forms, strict=True)
        ]
        concepts.sort(key=lambda concept: concept.name)
        return cls(name, version, tuple(concepts), tuple(templates), segmenter)

    @classmethod
    def shipped(cls) -> Vocabulary:
        """Return the vocabulary of visual nouns and noun phrases that comes with the package."""
        file = resources.files("cocu.curation") / "vocabularies" / "visual.json"
        return cls.from_json(file.read_text(encoding="utf-8"))

    @classmethod
    def from_text(cls, text: str, *, file_name: str) -> Vocabulary:
        """Build a vocabulary from the text of a `.txt` file (`from_lines`) or a `.json` file (`from_json`).

        Whoever has the bytes of a file decodes them with `cocu.text.encodings`, as for all texts.

        Raises:
            ValueError: the file is neither, or not well formed; the message names the line.
        """
        path = Path(file_name)
        if path.suffix.lower() == ".json":
            return cls.from_json(text)
        if path.suffix.lower() != ".txt":
            raise ValueError(f"{path.name}: a vocabulary is a .txt file (a concept a line) or a .json file")
        return cls.from_lines(text, name=path.stem)

    @classmethod
    def from_lines(cls, text: str, *, name: str, version: str = "1") -> Vocabulary:
        """Build a vocabulary from lines `name` or `name = synonym, synonym`; `#` starts a comment.

        Raises:
            ValueError: a line is not well formed; the message names it.
        """
        return cls.build(vocabulary_files.parse_lines(text), name=name, version=version)

    @classmethod
    def from_json(cls, text: str) -> Vocabulary:
        """Build a vocabulary from the output of `to_json`, or from entries (see `vocabulary_files`).

        Raises:
            ValueError: the text is not JSON or has another structure; the message says where.
        """
        document = vocabulary_files.parse_json(text)
        if document.entries is not None:
            return cls.build(
                document.entries, name=document.name, version=document.version, templates=document.templates
            )
        concepts = tuple(Concept(name, forms) for name, forms in document.concepts)
        return cls(document.name, document.version, concepts, document.templates, document.segmenter)

    def to_json(self) -> str:
        """Return the vocabulary with every form as canonical JSON; `from_json` reads it."""
        document = {
            "format": vocabulary_files.FORMAT,
            "name": self.name,
            "version": self.version,
            "rules": surface_forms.RULES,
            "templates": self.templates,
            "concepts": [{"name": concept.name, "forms": concept.forms} for concept in self.concepts],
        } | ({} if self.segmenter is None else {"segmenter": self.segmenter})
        return json.dumps(document, ensure_ascii=True, sort_keys=True, separators=(",", ":"))

    @cached_property
    def hash(self) -> str:
        """SHA-256 of `to_json()`, in hexadecimal."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of the concepts, in order of their ids."""
        return tuple(concept.name for concept in self.concepts)

    def __len__(self) -> int:
        return len(self.concepts)

    def match(self, caption: str) -> list[int]:
        """Return the ids of the concepts that a caption names, ascending.

        Matches the longest forms from left to right, on word boundaries, each word used once. Any text is
        safe; the time is linear in its length. In scripts without spaces, the segmenter that is installed
        here finds the words, even if it is not the vocabulary's `segmenter`.
        """
        return sorted(set(self._matcher.find_all(caption)))

    def locate(self, caption: str) -> list[Place]:
        """Return where a caption names concepts, in order of appearance.

        The concepts are those of `match`, repetitions included. A place is whole characters with all their
        combining marks; two places overlap only in a character that stands for several words (½). The time
        is linear in the caption's length, and a few times that of `match`.
        """
        return self._matcher.locate(caption)

    def match_captions(self, captions: Iterable[str]) -> tuple[Ids, Ints]:
        """Match N captions.

        Returns:
            offsets_N1 int64 and concepts_M int32: caption n names, in ascending order,
            concepts_M[offsets_N1[n]:offsets_N1[n + 1]].

        Raises:
            ValueError: the installed segmenter is not the vocabulary's `segmenter`. Another one would match
                other concepts under the same hash.
        """
        if self.segmenter is not None and self.segmenter != segmentation.version():
            raise ValueError(
                f"the vocabulary finds words of scripts without spaces by {self.segmenter}, and here is "
                f"{segmentation.version() or 'nothing that does'}: install that ({segmentation.INSTALL}), or "
                "make the vocabulary again"
            )
        find_all = self._matcher.find_all
        offsets = [0]
        concepts: list[int] = []
        for caption in captions:
            concepts += sorted(set(find_all(caption)))
            offsets.append(len(concepts))
        return np.array(offsets, dtype=np.int64), np.array(concepts, dtype=np.int32)

    def find(self, phrase: str) -> int | None:
        """Return the id of the concept whose name or form equals the phrase, or None."""
        segmented = self.segmenter is not None and segmentation.is_unspaced(phrase)
        form = surface_forms.unspaced_form if segmented else surface_forms.form
        return self.ids_by_name.get(phrase, self._forms.get(form(phrase)))

    def with_prefix(self, prefix: str) -> list[int]:
        """Return the ids of the concepts whose names begin with a text, ascending.

        Both are compared as `surface_forms.form` writes them: case, accents and hyphens do not matter.
        """
        start = surface_forms.form(prefix)
        forms, ids = self._names_by_form
        begin = bisect_left(forms, start)
        # Among the forms from there on, those with the prefix come first.
        end = bisect_left(forms, True, begin, key=lambda form: not form.startswith(start))
        return sorted(ids[begin:end])

    @property
    def unmatched(self) -> int:
        """The number of concepts in scripts without spaces, if captions are not segmented; else 0."""
        if self.segmenter is not None:
            return 0
        return sum(segmentation.is_unspaced(name) for name in self.names)

    def prompts(self) -> list[list[str]]:
        """Return for each concept the text of each template with the name in it."""
        return [[template.replace("{}", name) for template in self.templates] for name in self.names]

    def without(self, phrases: Collection[str]) -> Vocabulary:
        """Return the vocabulary without the concepts that these phrases find."""
        left_out = {self.find(phrase) for phrase in phrases}
        kept = tuple(concept for index, concept in enumerate(self.concepts) if index not in left_out)
        return self if len(kept) == len(self.concepts) else replace(self, concepts=kept)

    def find_class(self, class_name: str, synonyms: Iterable[str] = ()) -> int | None:
        """Return the id of the concept that a class of a benchmark means, by any reading of its names, or
        None."""
        readings = (phrase for text in (class_name, *synonyms) for phrase in class_names.phrases(text))
        return next((concept for phrase in readings if (concept := self.find(phrase)) is not None), None)

    def without_benchmarks(self, benchmarks: Iterable[str]) -> Vocabulary:
        """Return the vocabulary without any concept that is a class of these benchmarks ("voc", "coco", …).

        It removes every reading of a class name and of its synonyms, so that a model cannot learn them from
        the concepts.

        Raises:
            ValueError: there is no benchmark of that name.
        """
        classes = [entry for benchmark in benchmarks for entry in class_names.classes(benchmark)]
        return self.without(
            [
                phrase
                for entry in classes
                for text in (entry.name, *entry.synonyms)
                for phrase in class_names.phrases(text)
            ]
        )

    @cached_property
    def _forms(self) -> dict[str, int]:
        return {text: index for index, concept in enumerate(self.concepts) for text in concept.forms}

    @cached_property
    def ids_by_name(self) -> dict[str, int]:
        """The id of each concept by its name."""
        return {name: index for index, name in enumerate(self.names)}

    @cached_property
    def _names_by_form(self) -> tuple[list[str], list[int]]:
        """The forms of all names, sorted, and their ids."""
        pairs = sorted((surface_forms.form(name), concept) for concept, name in enumerate(self.names))
        return [form for form, _ in pairs], [concept for _, concept in pairs]

    @cached_property
    def _matcher(self) -> Matcher:
        return Matcher(self._forms) if self.segmenter is None else SegmentedMatcher(self._forms)


@dataclass(frozen=True)
class Overlap:
    """How many of a benchmark's `total` classes a vocabulary covers, and the names of those it does not."""

    benchmark: str
    total: int
    missing: tuple[str, ...]

    @property
    def covered(self) -> int:
        """The number of classes that are concepts of the vocabulary, by name or by another form."""
        return self.total - len(self.missing)


def overlap(vocabulary: Vocabulary, benchmark: str | Iterable[str]) -> Overlap:
    """Compute which classes of a benchmark are concepts of a vocabulary.

    Args:
        vocabulary: the vocabulary.
        benchmark: a name known to `class_names.benchmarks`, or class names as the caller has them.

    Raises:
        ValueError: there is no benchmark of that name.
    """
    if isinstance(benchmark, str):
        name, classes = benchmark, class_names.classes(benchmark)
    else:
        name, classes = "given", tuple(vocabulary_files.Entry(class_name) for class_name in benchmark)
    missing = [entry.name for entry in classes if vocabulary.find_class(entry.name, entry.synonyms) is None]
    return Overlap(name, len(classes), tuple(missing))


_AMBIGUOUS = -1


def _check_texts(*texts: str) -> None:
    for text in texts:
        if not text or not text.isprintable():
            raise ValueError(f"{text!r} is empty or has a character that cannot be shown; remove it")


_UNFIT = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
"""Control characters, ends of lines, what turns the direction of writing, half characters."""


_HALF = re.compile("[\x00\ud800-\udfff]")


def _check_synonyms(entry: vocabulary_files.Entry) -> None:
    for synonym in entry.synonyms:
        if _UNFIT.search(synonym):
            raise ValueError(
                f"{entry.where}the synonym {synonym!r} has a character that cannot be shown; remove it"
            )


def _check_owners(concepts: Iterable[Concept]) -> None:
    owners: dict[str, str] = {}
    for concept in concepts:
        for text in concept.forms:
            if _HALF.search(text):
                raise ValueError(
                    f"the form {text!r} of {concept.name!r} has half a character in it; remove it"
                )
            if owners.setdefault(text, concept.name) != concept.name:
                raise ValueError(f"{text!r} is a form of {owners[text]!r} and of {concept.name!r}")


def _check_templates(templates: Sequence[str]) -> None:
    if not templates:
        raise ValueError("a vocabulary needs at least one prompt template")
    for template in templates:
        if template.count("{}") != 1:
            raise ValueError(
                f"the template {template!r} must contain {{}} exactly once, where the concept goes"
            )


def _refuse(text: str, first: vocabulary_files.Entry, second: vocabulary_files.Entry) -> NoReturn:
    raise ValueError(
        f"{second.where}{text!r} is stated for the concept {second.name!r} and for {first.name!r}"
        f"{f' ({first.where[:-2]})' if first.where else ''}; keep it in one of them"
    )
