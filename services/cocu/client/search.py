"""Search: samples by text, by image, by sample, by vector."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cocu.client.exceptions import ClientError
from cocu.client.transport import Transport, choose_page_size
from cocu.schemas import SearchFilters, SearchHit, SearchPage, SearchRequest


class Search:
    """`client.search`.

        for hit in client.search.by_text(dataset.id, "a dog on a beach"):
            print(hit.key, hit.similarity)

    The `by_…` methods yield hits, nearest first, at most `limit`, fetched in pages of `page_size` as they are
    consumed. Other keyword arguments are `filters` and fields of `SearchRequest` (curation, encoder). The
    `limit` of a `SearchRequest` itself is the size of a page.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def by_text(
        self, dataset: str, text: str, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples of a dataset, those whose images fit a text best first."""
        return self._limited(filters=filters, dataset=dataset, text=text, **options)

    def by_image(
        self, dataset: str, image: bytes | str | Path, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples most similar to an image, given as bytes or as a file."""
        return self._limited(filters=filters, dataset=dataset, image=encode_image(image), **options)

    def by_sample(
        self, dataset: str, key: str, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples most similar to a sample of the dataset, without this sample."""
        return self._limited(filters=filters, dataset=dataset, sample=key, **options)

    def by_vector(
        self, dataset: str, vector: str, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples nearest to a vector: the `vector` of the page of an earlier search."""
        return self._limited(filters=filters, dataset=dataset, vector=vector, **options)

    def hits(self, request: SearchRequest, *, limit: int | None = None) -> Iterator[SearchHit]:
        """The hits of a request, at most `limit`; the request's own `limit` is the size of a page."""
        choose_page_size(limit, None)  # raises here, not when the first hit is read
        return islice(self._hits(request), limit)

    def _limited(
        self, *, limit: int | None = None, page_size: int | None = None, **fields: Any
    ) -> Iterator[SearchHit]:
        request = make_search_request(limit=choose_page_size(limit, page_size), **fields)
        return self.hits(request, limit=limit)

    def _hits(self, request: SearchRequest) -> Iterator[SearchHit]:
        while True:
            page = self.page(request)
            yield from page.items
            if page.next is None:
                return
            request = request.model_copy(update={"cursor": page.next})

    def page(self, request: SearchRequest) -> SearchPage:
        """One page of hits; the first has the facets."""
        return self._transport.post(SearchPage, "/v1/search", request, idempotent=True)


def encode_image(image: bytes | str | Path) -> str:
    """The base64 text of an image, as a request holds it. Raises ClientError when the file cannot be read."""
    if isinstance(image, bytes):
        return base64.b64encode(image).decode()
    try:
        return encode_image(Path(image).read_bytes())
    except OSError as error:
        raise ClientError(f"cannot read the image {image}: {error.strerror or error}") from error


def make_search_request(
    *, filters: SearchFilters | Mapping[str, Any] | None = None, **fields: Any
) -> SearchRequest:
    """A request with these fields; raises ClientError when they are invalid."""
    values = {name: value for name, value in fields.items() if value is not None}
    if filters is not None:
        values["filters"] = filters
    try:
        return SearchRequest(**values)
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))} {problem['msg']}".strip() for problem in error.errors()
        )
        raise ClientError(f"this cannot be searched for: {problems}") from error
