"""Feedback about concepts of vocabularies."""

from __future__ import annotations

from collections.abc import Iterator

from cocu.client.transport import Call, Transport, segment
from cocu.schemas import Feedback, FeedbackCreate


class FeedbackNotes:
    """`client.feedback`: one note for each concept of a vocabulary; the later one wins.

    Vocabularies are named by id, concepts by their name or another form. `note` says why, `author` who.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def block(
        self, vocabulary: str, concept: str, *, note: str | None = None, author: str | None = None
    ) -> Feedback:
        """Leave a concept out of the next version."""
        body = FeedbackCreate(concept=concept, action="block", note=note, author=author)
        return self._transport.post(Feedback, _path(vocabulary), body)

    def allow(
        self, vocabulary: str, concept: str, *, note: str | None = None, author: str | None = None
    ) -> Feedback:
        """Keep a concept: somebody looked, and it is right."""
        body = FeedbackCreate(concept=concept, action="allow", note=note, author=author)
        return self._transport.post(Feedback, _path(vocabulary), body)

    def merge(
        self, vocabulary: str, concept: str, into: str, *, note: str | None = None, author: str | None = None
    ) -> Feedback:
        """Give the forms of a concept to another one in the next version.

        Raises InvalidInputError where merges would go round in a circle.
        """
        body = FeedbackCreate(concept=concept, action="merge", into=into, note=note, author=author)
        return self._transport.post(Feedback, _path(vocabulary), body)

    def list(
        self, vocabulary: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[Feedback]:
        """What was said about concepts of a vocabulary, by concept, at most `limit`."""
        return self._transport.pages(Feedback, _path(vocabulary), limit=limit, page_size=page_size)

    def get(self, vocabulary: str, concept: str) -> Feedback:
        """What was said about a concept. Raises NotFoundError if nothing was."""
        return self._transport.get(Feedback, f"{_path(vocabulary)}/{segment(concept)}")

    def undo(self, vocabulary: str, concept: str) -> None:
        """Forget what was said about a concept."""
        self._transport.send(Call(method="DELETE", path=f"{_path(vocabulary)}/{segment(concept)}"))


def _path(vocabulary: str) -> str:
    return f"/v1/vocabularies/{segment(vocabulary)}/feedback"
