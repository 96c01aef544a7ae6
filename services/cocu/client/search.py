"""Search: samples by text, by image, by sample."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from cocu.client.exceptions import ClientError
from cocu.client.models import SearchFilters, SearchHit, SearchPage, SearchRequest
from cocu.client.transport import Transport


class Search:
    """`client.search`.

        for hit in client.search.by_text(dataset.id, "a dog on a beach"):
            print(hit.key, hit.similarity)

    The `by_…` methods yield every hit, nearest first, fetched page by page as they are consumed. Keyword
    arguments are the fields of `SearchRequest` (curation, encoder, limit) and `filters`.
    """

    def __init__(self, transport: Transport) -> None:
        self._transport = transport

    def by_text(
        self, dataset: str, text: str, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples of a dataset by how well they fit a text."""
        return self.hits(search_request(filters=filters, dataset=dataset, text=text, **options))

    def by_image(
        self, dataset: str, image: bytes | str | Path, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples most similar to an image: its bytes, or the file that holds it."""
        return self.hits(search_request(filters=filters, dataset=dataset, image=encoded(image), **options))

    def by_sample(
        self, dataset: str, key: str, *, filters: SearchFilters | None = None, **options: Any
    ) -> Iterator[SearchHit]:
        """The samples most similar to one of the dataset, itself left out."""
        return self.hits(search_request(filters=filters, dataset=dataset, sample=key, **options))

    def hits(self, request: SearchRequest) -> Iterator[SearchHit]:
        """Every hit of a request."""
        while True:
            found = self.page(request)
            yield from found.items
            if found.next is None:
                return
            request = request.model_copy(update={"cursor": found.next})

    def page(self, request: SearchRequest) -> SearchPage:
        """One page of hits; the first has the facets."""
        return self._transport.post(SearchPage, "/v1/search", request, idempotent=True)


def encoded(image: bytes | str | Path) -> str:
    """An image as a request carries it: base64 of its bytes. Raises ClientError for a file not to be read."""
    if isinstance(image, bytes):
        return base64.b64encode(image).decode()
    try:
        return encoded(Path(image).read_bytes())
    except OSError as error:
        raise ClientError(f"cannot read the image {image}: {error.strerror or error}") from error


def search_request(
    *, filters: SearchFilters | Mapping[str, Any] | None = None, **fields: Any
) -> SearchRequest:
    """A request of these fields; raises ClientError for what cannot be searched for."""
    given = {name: value for name, value in fields.items() if value is not None}
    if filters is not None:
        given["filters"] = filters
    try:
        return SearchRequest(**given)
    except ValidationError as error:
        wrong = "; ".join(
            f"{'.'.join(map(str, each['loc']))} {each['msg']}".strip() for each in error.errors()
        )
        raise ClientError(f"this cannot be searched for: {wrong}") from error
