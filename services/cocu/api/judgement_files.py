"""Judgements as files: JSON lines, and CSV for spreadsheets."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from cocu.api.report_csv import format_line
from cocu.schemas import Judgement

HEADER = ("key", "concept", "judgement", "score", "added", "dealt", "author", "created_at")
WORDS = {True: "right", False: "wrong", None: "unsure"}


def format_jsonl(judgements: Iterable[Judgement]) -> Iterator[str]:
    """Yield a line of JSON per judgement, with everything that GET tells of it."""
    for judgement in judgements:
        yield judgement.model_dump_json() + "\n"


def format_csv(judgements: Iterable[Judgement]) -> Iterator[str]:
    """Yield a head line and a line per judgement, safe for spreadsheets (see `report_csv`)."""
    yield format_line(HEADER)
    for judgement in judgements:
        yield format_line(
            (
                judgement.key,
                judgement.concept,
                WORDS[judgement.right],
                judgement.score,
                str(judgement.added).lower(),
                str(judgement.dealt).lower(),
                judgement.author or "",
                judgement.created_at.isoformat(),
            )
        )
