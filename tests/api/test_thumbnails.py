"""Thumbnails: three sizes, made once and stored, made again where damaged, gone with their dataset."""

from __future__ import annotations

import hashlib
import io
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.local_platform import picture, tar_of
from tests.pipeline.damage import flip

from cocu.api.dependencies import tenant
from cocu.api.queries import Samples, Thumbnails
from cocu.api.server import LocalServer
from cocu.catalog import datasets
from cocu.client import CocuClient, NotFoundError
from cocu.errors import NoRoomError, UnavailableError
from cocu.errors import NotFoundError as NothingFoundError
from cocu.platform import Platform
from cocu.schemas import THUMBNAIL_SIZES, Dataset, ThumbnailSize
from cocu.storage import checksums, paths
from cocu.storage.objects import StoredObject

SIDE = 700
KEYS = ("first", "the/second", "copy")
PICTURES = {
    "first": picture(1, side=SIDE),
    "the/second": picture(2, side=SIDE),
    "copy": picture(1, side=SIDE),
}


@pytest.fixture
def dataset(client: CocuClient, tmp_path: Path) -> Iterator[Dataset]:
    """Three large pictures, the last of them a copy of the first."""
    made = client.datasets.create("thumbnails")
    members = {f"{key}.jpg": PICTURES[key] for key in KEYS} | {f"{key}.txt": b"a dog" for key in KEYS}
    (tmp_path / "pictures.tar").write_bytes(tar_of(members))
    client.datasets.upload(made.id, tmp_path / "pictures.tar")
    client.datasets.wait(made.id, timeout=60)
    yield made
    with suppress(NotFoundError):
        client.datasets.delete(made.id)


def url_of(dataset: Dataset, key: str = "first", size: int = 256) -> str:
    return f"/v1/datasets/{dataset.id}/samples/{key.replace('/', '%2F')}/image?size={size}"


def path_of(dataset: Dataset, key: str = "first", size: int = 256) -> str:
    return paths.thumbnail(dataset.id, hashlib.sha256(PICTURES[key]).hexdigest(), size)


def stored_paths(platform: Platform, dataset: Dataset) -> list[str]:
    return platform.objects.list(f"{paths.dataset(dataset.id)}/thumbnails")


@pytest.mark.parametrize("size", THUMBNAIL_SIZES)
def test_thumbnails__fit_into_their_size_and_are_stored(
    client: CocuClient, server: LocalServer, dataset: Dataset, size: ThumbnailSize
) -> None:
    data = client.datasets.image(dataset.id, "first", size=size)
    assert Image.open(io.BytesIO(data)).size == (size, size)
    stored = server.platform.objects.get(path_of(dataset, size=size))
    assert checksums.unseal("stored", stored) == data
    # Other programs can read the file in spite of its checksum.
    assert Image.open(io.BytesIO(stored)).size == (size, size)


@pytest.mark.parametrize(
    "size", ["16", "64", "255", "1024", "0", "-256", "256.5", "1e3", "9" * 30, "wide", ""]
)
def test_other_sizes__are_refused_with_a_sentence(http: httpx.Client, dataset: Dataset, size: str) -> None:
    answer = http.get(f"/v1/datasets/{dataset.id}/samples/first/image", params={"size": size})
    assert answer.status_code == 422
    (field,) = answer.json()["errors"]
    assert field["field"] == "query.size"
    if size.isdigit() and len(size) < 10:
        assert "96, 256 or 512" in field["problem"]


def test_a_stored_thumbnail__is_read_and_not_made(
    http: httpx.Client, server: LocalServer, dataset: Dataset
) -> None:
    first = http.get(url_of(dataset))
    other = picture(3, side=10)
    server.platform.objects.put(path_of(dataset), checksums.seal(other))
    assert first.content != other
    assert http.get(url_of(dataset)).content == other


def test_two_samples_with_one_image__share_the_stored_thumbnail(
    http: httpx.Client, server: LocalServer, dataset: Dataset
) -> None:
    answers = [http.get(url_of(dataset, key)) for key in KEYS]
    assert answers[0].content == answers[2].content != answers[1].content
    assert answers[0].headers["etag"] == answers[2].headers["etag"] != answers[1].headers["etag"]
    assert stored_paths(server.platform, dataset) == sorted({path_of(dataset, key) for key in KEYS})
    assert len(stored_paths(server.platform, dataset)) == 2


@pytest.mark.parametrize("damage", ["a byte", "cut off", "empty", "another file", "no checksum"])
def test_a_damaged_thumbnail__is_made_again(
    http: httpx.Client, server: LocalServer, dataset: Dataset, damage: str
) -> None:
    objects, path, good = server.platform.objects, path_of(dataset), http.get(url_of(dataset)).content
    sealed = objects.get(path)
    if damage == "a byte":
        flip(server.platform, path)
    else:
        contents = {"cut off": sealed[:-9], "empty": b"", "another file": b"x" * 500, "no checksum": good}
        objects.put(path, contents[damage])
    assert http.get(url_of(dataset)).content == good
    assert objects.get(path) == sealed


def test_many_at_once__get_the_same_and_leave_one_file(server: LocalServer, dataset: Dataset) -> None:
    def fetch(number: int) -> bytes:
        return httpx.get(server.url + url_of(dataset, KEYS[number % 2]), timeout=60).content

    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(fetch, range(24)))
    assert len(set(answers)) == 2
    assert len(stored_paths(server.platform, dataset)) == 2
    assert list(server.platform.objects.scratch.glob("*.part")) == []


def test_headers__allow_private_caches_to_keep_it(http: httpx.Client, dataset: Dataset) -> None:
    for url in (url_of(dataset), url_of(dataset).partition("?")[0]):
        answer, head = http.get(url), http.head(url)
        assert "private" in answer.headers["cache-control"]
        assert "immutable" in answer.headers["cache-control"]
        again = http.get(url, headers={"If-None-Match": answer.headers["etag"]})
        assert (again.status_code, again.content) == (304, b"")
        for same in (answer, head, again):
            assert same.headers["vary"] == "Authorization, Cookie"
            assert same.headers["etag"] == answer.headers["etag"]


def test_not_modified__is_answered_without_the_catalog(
    http: httpx.Client, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    etag = http.get(url_of(dataset)).headers["etag"]

    def unavailable(*arguments: object, **options: object) -> None:
        raise UnavailableError("the catalog does not answer")

    monkeypatch.setattr(datasets, "require", unavailable)
    assert http.get(url_of(dataset), headers={"If-None-Match": etag}).status_code == 304
    assert http.get(url_of(dataset), headers={"If-None-Match": f'"x", W/{etag}'}).status_code == 304
    assert http.get(url_of(dataset), headers={"If-None-Match": '"another"'}).status_code == 503
    assert http.get(url_of(dataset)).status_code == 503


def test_a_tag__opens_nothing_for_those_who_may_not_see_the_image(
    http: httpx.Client, server: LocalServer, dataset: Dataset
) -> None:
    etag = http.get(url_of(dataset)).headers["etag"]
    with (
        socket.create_server(("127.0.0.1", 0)) as listening,
        LocalServer(server.platform, listening) as second,
    ):
        assert httpx.get(second.url + url_of(dataset), headers={"If-None-Match": etag}).status_code == 304
        second._app.dependency_overrides[tenant] = lambda: "stranger"
        for condition in (etag, "*", f"W/{etag}"):
            answer = httpx.get(second.url + url_of(dataset), headers={"If-None-Match": condition})
            assert answer.status_code == 404
    for url in (url_of(dataset, "missing"), url_of(dataset).replace(dataset.id, "0" * 26)):
        assert http.get(url, headers={"If-None-Match": etag}).status_code == 404
    assert http.get(url_of(dataset, "the/second"), headers={"If-None-Match": etag}).status_code == 200


def test_thumbnails__go_with_their_dataset(
    client: CocuClient, http: httpx.Client, server: LocalServer, dataset: Dataset
) -> None:
    etags = {
        (key, size): http.get(url_of(dataset, key, size)).headers["etag"]
        for key in KEYS
        for size in (96, 512)
    }
    assert len(stored_paths(server.platform, dataset)) == 4
    client.datasets.delete(dataset.id)
    deadline = time.monotonic() + 60
    while server.platform.objects.list(paths.dataset(dataset.id)) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert server.platform.objects.list(paths.dataset(dataset.id)) == []
    for (key, size), etag in etags.items():
        assert http.get(url_of(dataset, key, size)).status_code == 404
        assert http.get(url_of(dataset, key, size), headers={"If-None-Match": etag}).status_code == 404


def test_a_thumbnail_made_while_its_dataset_is_deleted__is_not_left_behind(
    client: CocuClient, server: LocalServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    platform = server.platform
    samples = Samples(platform)
    image = samples.image(tenant="default", dataset=dataset.id, key="first")
    put = platform.objects.put

    def put_late(path: str, data: bytes) -> StoredObject:
        client.datasets.delete(dataset.id)
        while platform.objects.list(paths.dataset(dataset.id)):
            time.sleep(0.02)
        return put(path, data)

    monkeypatch.setattr(platform.objects, "put", put_late)
    with pytest.raises(NothingFoundError):
        Thumbnails(platform, samples).read(tenant="default", image=image, size=96)
    assert stored_paths(platform, dataset) == []


def test_a_full_disk__does_not_keep_thumbnails_from_being_shown(
    http: httpx.Client, server: LocalServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(path: str, data: bytes) -> StoredObject:
        raise NoRoomError("the disk is full")

    monkeypatch.setattr(server.platform.objects, "put", full)
    answer = http.get(url_of(dataset))
    assert answer.status_code == 200
    assert Image.open(io.BytesIO(answer.content)).size == (256, 256)
    assert stored_paths(server.platform, dataset) == []
