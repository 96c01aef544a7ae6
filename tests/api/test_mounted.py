"""The platform behind a proxy that serves it under a path: uploads, curations, exports, batches, docs."""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urljoin

import httpx
import pytest
from tests.api.conftest import Curated
from tests.api.tus_requests import VERSION
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from tests.servers.http_proxy import http_proxy

from cocu.api.locations import make_relative
from cocu.api.server import LocalServer
from cocu.client import CocuClient, UnexpectedAnswerError
from cocu.client.transport import Call, Transport

SAMPLES = {"first": "a dog and a cat", "second": "a bench by a tree"}


@pytest.fixture(scope="module")
def mounted(server: LocalServer) -> Iterator[str]:
    """A proxy that removes its prefix, without a header that names it."""
    with http_proxy(server.url, "/tools/cocu") as url:
        yield url


@pytest.fixture
def through(mounted: str) -> Iterator[CocuClient]:
    with CocuClient(mounted) as opened:
        yield opened


def test_client__does_all_its_work_through_it(through: CocuClient, tmp_path: Path) -> None:
    file = tmp_path / "samples.tar"
    file.write_bytes(tar_of_samples(SAMPLES))
    dataset = through.datasets.create("mounted")
    for resumable, name in ((True, "in-pieces.tar"), (False, "whole.tar")):
        named = file.with_name(name)
        named.write_bytes(
            file.read_bytes() if resumable else tar_of_samples({"third": "a car"}, first_seed=9)
        )
        through.datasets.upload(dataset.id, named, resumable=resumable)
    through.datasets.wait(dataset.id, timeout=60)
    (tmp_path / "things.txt").write_text("dog\ncat\nbench\ntree\ncar\n")
    vocabulary = through.vocabularies.from_file(tmp_path / "things.txt")
    curation = through.curations.create(dataset.id, vocabulary=vocabulary.id)
    assert through.curations.wait(curation.id, timeout=120).samples == 3
    manifest = through.curations.export(curation.id, tmp_path / "export", "jsonl")
    assert sorted(path.name for path in (tmp_path / "export").glob("*.jsonl")) == [
        file.name for file in manifest.files
    ]
    assert sum(len(batch.keys) for batch in through.batches.stream(curation.id, global_batch=2)) == 3
    through.datasets.delete(dataset.id)


def test_locations__lead_to_what_was_made(mounted: str) -> None:
    with httpx.Client() as http:
        answer = http.post(f"{mounted}/v1/datasets", json={"name": "mounted locations"})
        dataset = urljoin(str(answer.url), answer.headers["location"])
        assert http.get(dataset).json()["id"] == answer.json()["id"]
        body = tar_of_samples(SAMPLES)
        name = base64.b64encode(b"pieces.tar").decode()
        headers = {**VERSION, "Upload-Length": str(len(body)), "Upload-Metadata": f"filename {name}"}
        created = http.post(f"{dataset}/uploads", headers=headers)
        pieces = urljoin(str(created.url), created.headers["location"])
        headers = {**VERSION, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
        assert http.patch(pieces, content=body, headers=headers).status_code == 204
        assert http.head(pieces, headers=VERSION).headers["upload-offset"] == str(len(body))
        retried = http.post(f"{dataset}/retries")
        assert http.get(urljoin(str(retried.url), retried.headers["location"])).status_code == 200
        vocabulary = http.post(f"{mounted}/v1/vocabularies", json={"text": "dog\ncat"})
        answer = http.get(urljoin(str(vocabulary.url), vocabulary.headers["location"]))
        assert answer.json()["id"] == vocabulary.json()["id"]
        http.delete(dataset)


def test_manifest__names_files_that_are_there(mounted: str, curated: Curated) -> None:
    manifest = f"{mounted}/v1/curations/{curated.curation.id}/export/manifest?format=huggingface"
    for file in httpx.get(manifest).json()["files"]:
        assert httpx.get(urljoin(manifest, file["url"])).status_code == 200


def test_links__in_answers_lead_to_images(mounted: str, curated: Curated) -> None:
    dataset, curation = curated.dataset.id, curated.curation.id
    with httpx.Client() as http:
        search = {"dataset": dataset, "text": "a dog"}
        answers = [
            http.get(f"{mounted}/v1/datasets/{dataset}/samples/folder%2Finside"),
            http.get(f"{mounted}/v1/datasets/{dataset}/samples", params={"limit": 2}),
            http.get(f"{mounted}/v1/curations/{curation}/archives/with%20space"),
            http.get(f"{mounted}/v1/curations/{curation}/archives", params={"limit": 2}),
            http.get(f"{mounted}/v1/curations/{curation}/concepts/dog"),
            http.post(f"{mounted}/v1/search", json=search),
        ]
        for answer in answers:
            links = re.findall(r'"(?:image|thumbnail)":"([^"]+)"', answer.text)
            assert (str(answer.url), len(links) >= 2) == (str(answer.url), True), answer.text
            for link in links[:4]:
                assert http.get(urljoin(str(answer.url), link)).headers["content-type"] == "image/jpeg"


def test_client__has_links_as_whole_urls(through: CocuClient, curated: Curated) -> None:
    sample = through.datasets.sample(curated.dataset.id, "plain")
    listed = next(sample for sample in through.datasets.samples(curated.dataset.id) if sample.key == "plain")
    assert sample == listed
    assert sample.image is not None
    assert httpx.get(sample.image).content == through.datasets.image(curated.dataset.id, "plain")


def test_front_door_and_page__stay_under_the_path(mounted: str) -> None:
    front = httpx.get(f"{mounted}/").text
    for reference in re.findall(r'(?:href|src)="([^"#]+)"', front):
        assert httpx.get(urljoin(f"{mounted}/", reference)).status_code == 200
    page = f"{mounted}/docs"
    links = re.findall(r'href="([^"#]+)"', httpx.get(page).text)
    assert links
    for link in links:
        assert httpx.get(urljoin(page, link)).status_code == 200


def test_openapi__names_the_server_where_it_was_asked(mounted: str) -> None:
    url = f"{mounted}/openapi.json"
    for server in httpx.get(url).json()["servers"]:
        assert urljoin(url, server["url"]).rstrip("/") == mounted


def test_examples__reach_it_where_the_proxy_tells_its_path(server: LocalServer) -> None:
    with http_proxy(server.url, "/cocu", told={"X-Forwarded-Prefix": "/cocu"}) as url:
        assert f"COCU={url}\n" in httpx.get(f"{url}/docs").text
    answer = httpx.get(f"{server.url}/docs", headers={"X-Forwarded-Prefix": "/$(id)<b>"}).text
    assert f"COCU={server.url}\n" in answer


def test_root_path__is_what_a_proxy_leaves_in_front(tmp_path: Path) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    with (
        running(tmp_path / "data", encoder, root_path="/cocu") as server,
        http_proxy(server.url, "/cocu", taken_off=False) as url,
        CocuClient(url) as client,
    ):
        (tmp_path / "samples.tar").write_bytes(tar_of_samples(SAMPLES))
        dataset = client.datasets.create("left in front")
        client.datasets.upload(dataset.id, tmp_path / "samples.tar", resumable=True)
        assert client.datasets.wait(dataset.id, timeout=60).samples == 2
        assert f"COCU={url}\n" in httpx.get(f"{url}/docs").text
        # Clients that do not use the proxy send no prefix.
        assert httpx.get(f"{server.url}/v1/datasets").status_code == 200


def test_relative__is_resolved_to_the_same() -> None:
    for target in ("/v1/datasets/d", "/docs", "/v1/datasets/d/uploads/a%2Fb.tar"):
        for path in ("/", "/v1/datasets", "/v1/datasets/d/uploads", "/v1/datasets/a%2Fb/imports"):
            base = f"https://example.org/some/where{path}"
            assert urljoin(base, make_relative(target, to=path)) == f"https://example.org/some/where{target}"


def test_client__goes_to_no_other_server() -> None:
    answer = httpx.Response(201, headers={"Location": "http://127.0.0.2:9/v1/x"})
    transport = Transport("http://127.0.0.1:9", transport=httpx.MockTransport(lambda request: answer))
    made = transport.send(Call(method="PUT", path="/v1/datasets/d/uploads/x"))
    with pytest.raises(UnexpectedAnswerError, match="another server"):
        transport.resolve(made, made.headers["Location"])
    transport.close()
