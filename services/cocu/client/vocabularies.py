"""Vocabularies and encoders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from cocu.client.exceptions import ClientError
from cocu.client.models import Concept, Encoder, Overlap, Vocabulary, VocabularyCreate, VocabularyMined
from cocu.client.transport import Transport, segment


class Vocabularies:
    """`client.vocabularies`; creating the same vocabulary again answers the one that exists."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def shipped(self, *, without: Sequence[str] = ()) -> Vocabulary:
        """The vocabulary that comes with the platform, without the class names of the given benchmarks."""
        return self._create(VocabularyCreate(shipped=True, without=list(without)))

    def from_file(self, path: str | Path, *, name: str | None = None) -> Vocabulary:
        """A vocabulary of your own: `.txt` with one concept a line, or `.json` in the platform's format."""
        file = Path(path)
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise ClientError(f"cannot read a vocabulary from {file}: {error}") from error
        if file.suffix.lower() == ".json":
            return self._create(VocabularyCreate(document=text, name=name))
        return self._create(VocabularyCreate(text=text, name=name or file.stem))

    def mine(
        self, dataset: str, *, name: str | None = None, minimum_count: int = 5, maximum_concepts: int = 5000
    ) -> Vocabulary:
        """A vocabulary of the noun phrases that are frequent in a dataset's captions."""
        source = VocabularyMined(
            dataset=dataset, minimum_count=minimum_count, maximum_concepts=maximum_concepts
        )
        return self._create(VocabularyCreate(mined=source, name=name))

    def _create(self, body: VocabularyCreate) -> Vocabulary:
        return self._transport.post(Vocabulary, "/v1/vocabularies", body)

    def list(self) -> Iterator[Vocabulary]:
        """Every vocabulary."""
        return self._transport.pages(Vocabulary, "/v1/vocabularies")

    def get(self, vocabulary: str) -> Vocabulary:
        """One vocabulary by id."""
        return self._transport.get(Vocabulary, f"/v1/vocabularies/{segment(vocabulary)}")

    def concepts(self, vocabulary: str) -> Iterator[Concept]:
        """The concepts of a vocabulary in name order."""
        return self._transport.pages(Concept, f"/v1/vocabularies/{segment(vocabulary)}/concepts")

    def overlap(self, vocabulary: str) -> tuple[Overlap, ...]:
        """How much of each benchmark's class names it names."""
        path = f"/v1/vocabularies/{segment(vocabulary)}/overlap"
        return tuple(self._transport.pages(Overlap, path))


class Encoders:
    """`client.encoders`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Encoder]:
        """The encoders that the server can use."""
        return self._transport.pages(Encoder, "/v1/encoders")
