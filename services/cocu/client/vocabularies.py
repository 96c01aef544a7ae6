"""Vocabularies and encoders."""

from __future__ import annotations

import builtins
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

from cocu.client.exceptions import ClientError
from cocu.client.transport import Call, Model, Params, Transport, segment
from cocu.client.wait import wait_until_computed
from cocu.schemas import (
    Concept,
    Encoder,
    Gap,
    MergeCandidate,
    NearConcept,
    Overlap,
    Page,
    Vocabulary,
    VocabularyCreate,
    VocabularyMined,
)
from cocu.text.encodings import read_text

DocumentFormat = Literal["json", "text"]
COMPUTE_SECONDS = 600.0
"""How long the client waits for what the platform computes on the first request."""


class Vocabularies:
    """`client.vocabularies`; to create the same vocabulary again returns the existing one."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def shipped(self, *, without: Sequence[str] = ()) -> Vocabulary:
        """The vocabulary shipped with the platform, without the class names of these benchmarks."""
        return self._create(VocabularyCreate(shipped=True, without=list(without)))

    def from_file(self, path: str | Path, *, name: str | None = None) -> Vocabulary:
        """Your own vocabulary: `.txt` with one concept per line, or `.json` in the platform's format.

        The encoding is UTF-8; any other is guessed, with a warning in the log.
        """
        file = Path(path)
        try:
            text = read_text(file)
        except OSError as error:
            raise ClientError(f"cannot read a vocabulary from {file}: {error}") from error
        if file.suffix.lower() == ".json":
            return self.from_document(text, name=name)
        return self.from_text(text, name=name or file.stem)

    def from_text(self, text: str, *, name: str | None = None) -> Vocabulary:
        """A vocabulary from lines `name` or `name = synonym, synonym`."""
        return self._create(VocabularyCreate(text=text, name=name))

    def from_document(self, document: str, *, name: str | None = None) -> Vocabulary:
        """A vocabulary from a document in the platform's JSON format, as `document` returns it."""
        return self._create(VocabularyCreate(document=document, name=name))

    def mine(
        self, dataset: str, *, name: str | None = None, minimum_count: int = 5, maximum_concepts: int = 5000
    ) -> Vocabulary:
        """A vocabulary from the frequent noun phrases in a dataset's captions."""
        source = VocabularyMined(
            dataset=dataset, minimum_count=minimum_count, maximum_concepts=maximum_concepts
        )
        return self._create(VocabularyCreate(mined=source, name=name))

    def next_version(self, vocabulary: str, *, name: str | None = None) -> Vocabulary:
        """The vocabulary after the feedback about it (`client.feedback`).

        Blocked concepts are left out, and merged ones give their forms to others. The same feedback gives the
        same vocabulary; without any it is the one that it was.
        """
        return self._create(
            VocabularyCreate.model_validate({"from": vocabulary, "feedback": True, "name": name})
        )

    def _create(self, body: VocabularyCreate) -> Vocabulary:
        return self._transport.post(Vocabulary, "/v1/vocabularies", body)

    def list(self, *, limit: int | None = None, page_size: int | None = None) -> Iterator[Vocabulary]:
        """The vocabularies, at most `limit`."""
        return self._transport.pages(Vocabulary, "/v1/vocabularies", limit=limit, page_size=page_size)

    def get(self, vocabulary: str) -> Vocabulary:
        """One vocabulary by id."""
        return self._transport.get(Vocabulary, f"/v1/vocabularies/{segment(vocabulary)}")

    def document(self, vocabulary: str, *, format: DocumentFormat = "json") -> str:
        """The vocabulary in the form in which it can be sent again.

        json: `from_document` makes the same vocabulary of it. text: lines for people to change, for
        `from_text`. Raises ConflictError where lines cannot say what the vocabulary has.
        """
        call = Call(
            path=f"/v1/vocabularies/{segment(vocabulary)}/document",
            params={"format": format},
            headers={"Accept": "application/json, text/plain, application/problem+json"},
        )
        return self._transport.send(call).text

    def delete(self, vocabulary: str) -> None:
        """Delete a vocabulary by its id, with what was said about its concepts.

        Raises ConflictError where a curation uses it.
        """
        self._transport.send(Call(method="DELETE", path=f"/v1/vocabularies/{segment(vocabulary)}"))

    def concepts(
        self,
        vocabulary: str,
        *,
        prefix: str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
    ) -> Iterator[Concept]:
        """The concepts of a vocabulary in the order of their names, at most `limit`.

        prefix: only those whose names begin with it; case, accents and hyphens do not matter.
        """
        path = f"/v1/vocabularies/{segment(vocabulary)}/concepts"
        params = {"prefix": prefix}
        return self._transport.pages(Concept, path, params=params, limit=limit, page_size=page_size)

    def concept_page(
        self,
        vocabulary: str,
        *,
        prefix: str | None = None,
        cursor: str | None = None,
        limit: int | None = None,
    ) -> Page[Concept]:
        """One page of these; `next` of it is the `cursor` of the following page."""
        path = f"/v1/vocabularies/{segment(vocabulary)}/concepts"
        params = {"prefix": prefix, "cursor": cursor, "limit": limit}
        return self._transport.get(Page[Concept], path, params=params)

    def near(
        self,
        vocabulary: str,
        *,
        text: str | None = None,
        concept: str | None = None,
        dataset: str | None = None,
        sample: str | None = None,
        encoder: str | None = None,
        curation: str | None = None,
        limit: int = 20,
        timeout: float = COMPUTE_SECONDS,
    ) -> builtins.list[NearConcept]:
        """Return the concepts nearest to a text, another concept, or a sample of a dataset, nearest first.

        Give exactly one of these. encoder: name or hash; the server's default if omitted. curation: one with
        this vocabulary, to add its frequencies. timeout: seconds to wait while the platform computes the
        embeddings of the concepts. Raises UnavailableError after them.
        """
        return wait_until_computed(
            lambda: (
                self._transport.get(
                    Page[NearConcept],
                    f"/v1/vocabularies/{segment(vocabulary)}/near",
                    params={
                        "text": text,
                        "concept": concept,
                        "dataset": dataset,
                        "sample": sample,
                        "encoder": encoder,
                        "curation": curation,
                        "limit": limit,
                    },
                ).items
            ),
            timeout=timeout,
        )

    def merge_candidates(
        self,
        vocabulary: str,
        *,
        min_similarity: float | None = None,
        encoder: str | None = None,
        curation: str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: float = COMPUTE_SECONDS,
    ) -> Iterator[MergeCandidate]:
        """List pairs of concepts that are near in meaning, most similar first, `limit` of them at most.

        The other arguments are as in `near`.
        """
        params = {"min_similarity": min_similarity, "encoder": encoder, "curation": curation}
        path = f"/v1/vocabularies/{segment(vocabulary)}/merge-candidates"
        return self._computed(MergeCandidate, path, params, limit, page_size, timeout)

    def gaps(
        self,
        vocabulary: str,
        dataset: str,
        *,
        max_similarity: float | None = None,
        min_captions: int | None = None,
        encoder: str | None = None,
        limit: int | None = None,
        page_size: int | None = None,
        timeout: float = COMPUTE_SECONDS,
    ) -> Iterator[Gap]:
        """List phrases of a dataset's captions that are far from every concept, most captions first.

        The other arguments are as in `near`.
        """
        params = {"dataset": dataset, "max_similarity": max_similarity, "min_captions": min_captions}
        path = f"/v1/vocabularies/{segment(vocabulary)}/gaps"
        return self._computed(Gap, path, {**params, "encoder": encoder}, limit, page_size, timeout)

    def _computed(
        self,
        model: type[Model],
        path: str,
        params: Params,
        limit: int | None,
        page_size: int | None,
        timeout: float,
    ) -> Iterator[Model]:
        """The items of a list that is computed on the first request."""
        items = self._transport.pages(model, path, params=params, limit=limit, page_size=page_size)
        wait_until_computed(
            lambda: self._transport.get(Page[model], path, params={**params, "limit": 1}),  # type: ignore[valid-type]
            timeout=timeout,
        )
        return items

    def overlap(self, vocabulary: str) -> tuple[Overlap, ...]:
        """How many class names of each benchmark the vocabulary has."""
        path = f"/v1/vocabularies/{segment(vocabulary)}/overlap"
        return tuple(self._transport.pages(Overlap, path))


class Encoders:
    """`client.encoders`."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def list(self) -> Iterator[Encoder]:
        """The encoders that the server can use."""
        return self._transport.pages(Encoder, "/v1/encoders")
