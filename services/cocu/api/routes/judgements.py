"""Judgements of added concepts, the audit that deals them, and the threshold that follows from them."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Query, Response
from fastapi.responses import StreamingResponse

from cocu import schemas
from cocu.api import judgement_files
from cocu.api.dependencies import ArchivesOf, CurationId, JudgementsOf, Tenant
from cocu.api.idempotency import IdempotentRoute
from cocu.api.pages import Cursor, Limit, make_page, read_cursor
from cocu.api.paths import ConceptInPath, SampleKey
from cocu.client.transport import segment

router = APIRouter(
    prefix="/v1/curations/{curation}/judgements", tags=["judgements"], route_class=IdempotentRoute
)

TEXT = {"schema": {"type": "string"}}


@router.post("", status_code=201)
def create_judgement(
    *,
    curation: CurationId,
    body: schemas.JudgementCreate,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
    response: Response,
) -> schemas.Judgement:
    """Say whether a concept of an archive is right, wrong, or that nobody can be sure.

    One judgement is kept for each concept of a sample, the latest; 200 if there was one before, which
    `replaced` then shows.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    judgement, is_new = judgements.store(record, body)
    response.status_code = 201 if is_new else 200
    response.headers["Location"] = (
        f"/v1/curations/{curation}/judgements/{segment(judgement.key)}/{segment(judgement.concept)}"
    )
    return judgement


@router.get("")
def list_judgements(
    *,
    curation: CurationId,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
    limit: Limit = 100,
    cursor: Cursor = None,
) -> schemas.Page[schemas.Judgement]:
    """List the judgements of a curation, in the order of its samples."""
    record = archives.completed(tenant=tenant, curation=curation)
    listing = f"judgements {curation}"
    page = judgements.list_page(record, limit=limit, after=read_cursor(listing, cursor))
    return make_page(listing, page, lambda judgement: judgement, schemas.Judgement)


@router.get("/next")
def list_audit_pairs(
    *,
    curation: CurationId,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
    n: Annotated[int, Query(ge=1, le=100, description="The most pairs.")] = 1,
) -> schemas.AuditPairs:
    """Deal pairs of an image and a concept added to it: what to judge next.

    Each bin of scores has about equally many added concepts, and its pairs are drawn at random; they are
    dealt in turn, always in the same order for a curation. Those that nobody judged come first.
    """
    return judgements.deal(archives.completed(tenant=tenant, curation=curation), n)


@router.get("/summary")
def get_judgement_summary(
    *,
    curation: CurationId,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
    precision: Annotated[
        float | None,
        Query(
            gt=0,
            le=1,
            description="The precision wished for: `reached` is the lowest score from which it holds.",
        ),
    ] = None,
) -> schemas.JudgementSummary:
    """Estimate the precision of added concepts from the judgements, with intervals, by score.

    Precision by bin with Wilson's interval; over several bins the stratified estimate, weighted by their
    sizes. Only pairs that the audit has dealt count, so that what people pick out does not bend it.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    return judgements.sum_up(record, wished=precision)


@router.get(
    "/export",
    response_class=StreamingResponse,
    responses={200: {"content": {"application/jsonl": TEXT, "text/csv": TEXT}, "description": "The lines."}},
)
def export_judgements(
    *,
    curation: CurationId,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
    format: Annotated[
        Literal["jsonl", "csv"], Query(description="JSON lines, or a table for spreadsheets.")
    ] = "jsonl",
) -> Response:
    """Stream all judgements of a curation, a line each."""
    record = archives.completed(tenant=tenant, curation=curation)
    lines, kind = judgement_files.format_jsonl, "application/jsonl"
    if format == "csv":
        lines, kind = judgement_files.format_csv, "text/csv"
    disposition = f'attachment; filename="judgements-{curation}.{format}"'
    return StreamingResponse(
        lines(judgements.all(record)), media_type=kind, headers={"Content-Disposition": disposition}
    )


@router.get("/{key:path}/{concept:path}")
def get_judgement(
    *,
    curation: CurationId,
    key: SampleKey,
    concept: ConceptInPath,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
) -> schemas.Judgement:
    """Return what was said about a concept of a sample. 404 if nothing was."""
    return judgements.get(archives.completed(tenant=tenant, curation=curation), key, concept)


@router.delete("/{key:path}/{concept:path}", status_code=204)
def delete_judgement(
    *,
    curation: CurationId,
    key: SampleKey,
    concept: ConceptInPath,
    archives: ArchivesOf,
    judgements: JudgementsOf,
    tenant: Tenant,
) -> None:
    """Undo what was said about a concept of a sample; 204 also if nothing was."""
    judgements.remove(archives.completed(tenant=tenant, curation=curation), key, concept)
