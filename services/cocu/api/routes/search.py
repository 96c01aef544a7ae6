"""Search: samples by text, by image, by sample."""

from __future__ import annotations

from fastapi import APIRouter

from cocu.api.dependencies import SearchOf, Tenant
from cocu.client import models

router = APIRouter(tags=["search"])


@router.post("/v1/search")
def search(*, body: models.SearchRequest, search: SearchOf, tenant: Tenant) -> models.SearchPage:
    """Find the samples of a dataset nearest to a text, an image (base64) or another sample.

    With a curation, hits come with the best concepts of their archives, can be filtered by what captions and
    archives hold, and facets count the concepts of the nearest hits' archives. 409: the dataset is not
    indexed yet. 503: the vector store does not answer, or has lost samples; come back after Retry-After.
    """
    return search.page(tenant=tenant, request=body)
