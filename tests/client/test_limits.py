"""`limit` is how many items there are at most, `page_size` how many come at once, in every list."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator

import httpx
import pytest

from cocu.client import CocuClient

ITEMS = 250


class Lists(httpx.BaseTransport):
    """A platform whose every list has ITEMS items; notes the size of each page that is asked for."""

    def __init__(self, item: dict[str, object]) -> None:
        self.item = item
        self.sizes: list[int | None] = []

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        body = request.read()
        query = json.loads(body) if body else dict(request.url.params)
        size = int(query["limit"]) if "limit" in query else None
        self.sizes.append(size)
        begin = int(query.get("cursor", 0))
        end = min(begin + (size or 20), ITEMS)
        items = [self.item] * (end - begin)
        document = {"items": items, "next": str(end) if end < ITEMS else None, "encoder": "e", "facets": []}
        return httpx.Response(200, json=document)


UPLOAD = {"name": "a", "dataset": "d", "state": "ingested", "created_at": "2026-01-01T00:00:00Z"}
HIT = {"key": "k", "similarity": 1.0, "caption": "", "image": None, "thumbnail": None}
FREQUENCY = {"concept": "dog", "id": 1, "captions": 1, "archives": 1, "added": 0, "score": None}
REJECTION = {"upload": "u", "outcome": "skipped", "key": None, "member": "m", "reason": "r", "detail": "d"}
LISTS: dict[str, tuple[dict[str, object], Callable[..., Iterator[object]]]] = {
    "datasets": (
        {"id": "1", "name": "a", "created_at": "2026-01-01T00:00:00Z"},
        lambda client, **sizes: client.datasets.list(**sizes),
    ),
    "uploads": (UPLOAD, lambda client, **sizes: client.datasets.uploads("d", **sizes)),
    "rejections": (REJECTION, lambda client, **sizes: client.datasets.rejections("d", **sizes)),
    "concepts": (FREQUENCY, lambda client, **sizes: client.concepts.list("c", **sizes)),
    "vocabulary": (
        {"name": "dog", "forms": []},
        lambda client, **sizes: client.vocabularies.concepts("v", **sizes),
    ),
    "archives": (
        {
            "curation": "c",
            "dataset": "d",
            "concepts": [],
            "neighbours": [],
            **{k: HIT[k] for k in HIT if k != "similarity"},
        },
        lambda client, **sizes: client.archives.list("c", **sizes),
    ),
    "text": (HIT, lambda client, **sizes: client.search.by_text("d", "a dog", **sizes)),
    "image": (HIT, lambda client, **sizes: client.search.by_image("d", b"image", **sizes)),
    "sample": (HIT, lambda client, **sizes: client.search.by_sample("d", "k", **sizes)),
}


@pytest.fixture(params=LISTS)
def listing(request: pytest.FixtureRequest) -> Iterator[tuple[Lists, Callable[..., Iterator[object]]]]:
    item, call = LISTS[request.param]
    lists = Lists(item)
    with CocuClient("http://platform", transport=lists) as client:
        yield lists, lambda **sizes: call(client, **sizes)


Listing = tuple[Lists, Callable[..., Iterator[object]]]


@pytest.mark.parametrize("limit", [0, 1, 7, 100, 120, 1000])
def test_limit__limits(listing: Listing, limit: int) -> None:
    lists, call = listing
    assert len(list(call(limit=limit))) == min(limit, ITEMS)
    # No page is fetched that nobody reads.
    assert len(lists.sizes) <= -(-min(limit, ITEMS) // 100)


def test_page_size__pages(listing: Listing) -> None:
    lists, call = listing
    assert len(list(call(page_size=50))) == ITEMS
    assert lists.sizes == [50] * 5


def test_both__are_kept_apart(listing: Listing) -> None:
    lists, call = listing
    assert len(list(call(limit=35, page_size=10))) == 35
    assert lists.sizes == [10] * 4


def test_without_either__there_is_everything(listing: Listing) -> None:
    lists, call = listing
    assert len(list(call())) == ITEMS
    assert len(lists.sizes) == 13


@pytest.mark.parametrize(
    ("sizes", "words"), [({"limit": -1}, "limit is -1"), ({"page_size": 0}, "page_size is 0")]
)
def test_sizes__that_make_no_sense_are_refused_before_anything_is_sent(
    listing: Listing, sizes: dict[str, int], words: str
) -> None:
    lists, call = listing
    with pytest.raises(ValueError, match=words):
        call(**sizes)
    assert lists.sizes == []
