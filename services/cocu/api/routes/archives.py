"""Archives: the ranked concepts of every image, and their origins."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response

from cocu import schemas
from cocu.api import conditional
from cocu.api.dependencies import ArchivesOf, ConceptsOf, CurationId, EvidenceOf, Tenant
from cocu.api.judged import JudgedBy, mark, not_modified
from cocu.api.paths import SampleKey
from cocu.api.queries.verdicts import with_verdicts

router = APIRouter(prefix="/v1/curations/{curation}/archives", tags=["archives"])


@router.get("/{key:path}", response_model=schemas.ArchiveDetail)
def get_archive(
    *,
    curation: CurationId,
    key: SampleKey,
    request: Request,
    response: Response,
    archives: ArchivesOf,
    evidence: EvidenceOf,
    tenant: Tenant,
    concepts: ConceptsOf,
    judged: JudgedBy,
) -> schemas.ArchiveDetail | Response:
    """Return the archive of one sample: each concept with score, cluster, and the captions that name it.

    Lists of archives lack what only this has: the parts `prior` and `support` of scores, the weights of
    origins, the captions and images of neighbours, and where captions name concepts.
    """
    record = archives.completed(tenant=tenant, curation=curation)
    # Earlier versions had less in an archive, and clients keep answers as long as the tag stays.
    parts = [record.content_hash, "detail", key]
    tag = conditional.make_tag(*parts if judged is None else (*parts, judged))
    archive = evidence.get(record, key)
    if judged is not None:
        stored = archives.find(record, key)
        index = concepts.index(record, stored.shard)
        archive = with_verdicts(archive, index, judged, stored.shard, stored.row)
    if conditional.not_modified(request, tag):
        return not_modified(tag, judged)
    mark(response, tag, judged)
    return archive
