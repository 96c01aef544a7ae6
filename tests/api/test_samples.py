from __future__ import annotations

import hashlib

import httpx
import pytest
from tests.api.conftest import CAPTIONS, Curated
from tests.local_platform import picture

from cocu.client import CocuClient, NotFoundError


@pytest.mark.parametrize(("seed", "key"), list(enumerate(CAPTIONS)))
def test_image__comes_as_it_was_uploaded(client: CocuClient, curated: Curated, seed: int, key: str) -> None:
    assert client.datasets.image(curated.dataset.id, key) == picture(seed)
    sample = client.datasets.sample(curated.dataset.id, key)
    assert (sample.key, sample.caption, sample.width, sample.height) == (key, CAPTIONS[key], 24, 24)
    assert sample.sha256 == hashlib.sha256(picture(seed)).hexdigest()


def test_list__holds_every_sample_once(client: CocuClient, curated: Curated) -> None:
    assert sorted(sample.key for sample in client.datasets.samples(curated.dataset.id)) == sorted(CAPTIONS)


def test_links__lead_to_the_image(client: CocuClient, http: httpx.Client, curated: Curated) -> None:
    for sample in client.datasets.samples(curated.dataset.id):
        image = http.get(sample.image)
        assert image.status_code == 200
        assert image.headers["content-type"] == "image/jpeg"
        assert image.headers["x-content-type-options"] == "nosniff"
        assert http.get(sample.thumbnail).status_code == 200


def test_image__is_immutable_for_caches(http: httpx.Client, curated: Curated) -> None:
    path = f"/v1/datasets/{curated.dataset.id}/samples/plain/image"
    first, small = http.get(path), http.get(path, params={"size": 96})
    assert "immutable" in first.headers["cache-control"]
    assert first.headers["etag"] != small.headers["etag"]
    assert http.get(path, headers={"If-None-Match": first.headers["etag"]}).status_code == 304


def test_key__with_slashes_may_also_come_unencoded(http: httpx.Client, curated: Curated) -> None:
    answer = http.get(f"/v1/datasets/{curated.dataset.id}/samples/folder/inside")
    assert answer.json()["key"] == "folder/inside"


def test_sample__that_is_not_there(client: CocuClient, curated: Curated) -> None:
    for key in ("missing", "nul\0", "x" * 10_000, "folder", ".", ".."):
        with pytest.raises(NotFoundError):
            client.datasets.sample(curated.dataset.id, key)
        with pytest.raises(NotFoundError):
            client.datasets.image(curated.dataset.id, key)
    with pytest.raises(NotFoundError):
        client.datasets.sample("no-such-dataset", "plain")
