"""Judgements of the concepts that a curation added."""

from __future__ import annotations

from collections.abc import Iterator

from cocu.client.transport import Call, Transport, segment
from cocu.schemas import AuditPairs, Judgement, JudgementCreate, JudgementSummary


class Judgements:
    """`client.judgements`: one for each concept of an image; the later one wins."""

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def judge(
        self, curation: str, key: str, concept: str, right: bool | None, *, author: str | None = None
    ) -> Judgement:
        """Say whether a concept of a sample's archive is right; None for not sure.

        Raises InvalidInputError for a concept that the archive does not have.
        """
        body = JudgementCreate(key=key, concept=concept, right=right, author=author)
        return self._transport.post(Judgement, _path(curation), body)

    def next(self, curation: str, count: int = 1) -> AuditPairs:
        """The pairs to judge next, at most 100: those that nobody judged."""
        return self._transport.get(AuditPairs, f"{_path(curation)}/next", params={"n": count})

    def summary(self, curation: str, *, precision: float | None = None) -> JudgementSummary:
        """What the judgements say of all added concepts.

        precision: the one wished for; `reached` is the lowest score from which it holds.
        """
        params = {"precision": precision}
        return self._transport.get(JudgementSummary, f"{_path(curation)}/summary", params=params)

    def list(
        self, curation: str, *, limit: int | None = None, page_size: int | None = None
    ) -> Iterator[Judgement]:
        """The judgements of a curation, in the order of its samples, at most `limit`."""
        return self._transport.pages(Judgement, _path(curation), limit=limit, page_size=page_size)

    def get(self, curation: str, key: str, concept: str) -> Judgement:
        """What was said about a concept of a sample. Raises NotFoundError if nothing was."""
        return self._transport.get(Judgement, f"{_path(curation)}/{segment(key)}/{segment(concept)}")

    def undo(self, curation: str, key: str, concept: str) -> None:
        """Forget what was said about a concept of a sample."""
        path = f"{_path(curation)}/{segment(key)}/{segment(concept)}"
        self._transport.send(Call(method="DELETE", path=path))

    def export(self, curation: str, format: str = "jsonl") -> str:
        """All judgements as text: a line of JSON each ("jsonl"), or a table for spreadsheets ("csv")."""
        call = Call(path=f"{_path(curation)}/export", params={"format": format})
        return self._transport.send(call).text


def _path(curation: str) -> str:
    return f"/v1/curations/{segment(curation)}/judgements"
