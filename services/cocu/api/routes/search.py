"""Search: samples by text, by image, by sample, by vector."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from fastapi.exceptions import RequestValidationError
from pydantic import ValidationError

from cocu import schemas
from cocu.api.bodies import JsonRoute
from cocu.api.dependencies import SearchOf, Tenant
from cocu.errors import InvalidInputError

router = APIRouter(tags=["search"], route_class=JsonRoute)


@router.post("/v1/search")
def search(*, body: schemas.SearchRequest, search: SearchOf, tenant: Tenant) -> schemas.SearchPage:
    """Find the samples of a dataset nearest to a text, an image (base64), another sample or a vector.

    With a curation, hits have the best concepts of their archives, filters select by the concepts of captions
    and archives, and facets count the concepts in the archives of the nearest hits. 409: the dataset is not
    indexed yet. 503: the vector store does not answer, or has lost samples; try again after Retry-After.
    """
    return search.page(tenant=tenant, request=body)


@router.get("/v1/search")
def get_search(
    *, query: Annotated[schemas.SearchQuery, Query()], search: SearchOf, tenant: Tenant
) -> schemas.SearchPage:
    """Find samples as POST does, with the same answer and the same cursors: a search that is a link.

    A search by an image is one too: by the `vector` of its answer.
    """
    try:
        return search.page(tenant=tenant, request=query.to_request())
    except ValidationError as error:
        details = [{**detail, "loc": ("query", *detail["loc"])} for detail in error.errors()]
        raise RequestValidationError(details) from error
    except InvalidInputError as error:
        raise InvalidInputError(
            str(error), {_parameter(field): problem for field, problem in error.fields.items()}
        ) from error


def _parameter(field: str) -> str:
    """Return the name of a query parameter by that of the field of a body."""
    return f"query.{field.removeprefix('body.').removeprefix('filters.')}"
