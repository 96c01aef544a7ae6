"""The query parameter `labels`: answers about archives with what kept labels say of them."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query, Response

from cocu.api import conditional
from cocu.api.dependencies import ArchivesOf, CurationId, Tenant, VerdictsOf
from cocu.api.queries import Judged
from cocu.schemas.evaluations import LABELS_NAME


def _judged_by(
    *,
    curation: CurationId,
    archives: ArchivesOf,
    verdicts: VerdictsOf,
    tenant: Tenant,
    labels: Annotated[
        str | None,
        Query(
            max_length=64,
            pattern=LABELS_NAME,
            description="The name of labels that the dataset keeps, by which concepts get their verdict.",
        ),
    ] = None,
) -> Judged | None:
    if labels is None:
        return None
    return verdicts.of(archives.completed(tenant=tenant, curation=curation), labels)


JudgedBy = Annotated[Judged | None, Depends(_judged_by)]
"""A curation seen by the labels that a request names; None where it names none."""


def mark(response: Response, tag: str, judged: Judged | None) -> None:
    """Let clients cache an answer: for ever, and by labels until these are replaced."""
    if judged is None:
        conditional.mark_immutable(response, tag)
    else:
        conditional.mark_checked(response, tag)


def not_modified(tag: str, judged: Judged | None) -> Response:
    """Return the 304 response that goes with `mark`."""
    cache = conditional.IMMUTABLE if judged is None else conditional.CHECKED
    return conditional.not_modified_response(tag, cache=cache)
