"""Imports: the platform fetches files itself, and reaches nothing that is forbidden."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import httpx
import numpy as np
import pytest
from obstore.store import from_url
from tests.local_platform import picture, running, tar_of_samples
from tests.pipeline.tiny_encoder import DIM, write_tiny_encoder
from tests.ready_embeddings import Files, partitioned
from tests.servers.s3_server import s3_server

from cocu.api.server import LocalServer
from cocu.catalog.models import Base
from cocu.client import CocuClient
from cocu.schemas import Dataset, Upload, UploadOptions

PAGES: dict[str, bytes] = {}


class Handler(BaseHTTPRequestHandler):
    """Serves PAGES; /away redirects to another host, /noai forbids machine learning."""

    def do_GET(self) -> None:
        if self.path == "/away":
            self.send_response(302)
            self.send_header("Location", "http://169.254.169.254/latest/meta-data/")
        else:
            self.send_response(200 if self.path in PAGES else 404)
        if self.path == "/noai":
            self.send_header("X-Robots-Tag", "noai")
        self.end_headers()
        self.wfile.write(PAGES.get(self.path, b""))

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def importing(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A platform that may reach the site and one foreign bucket, with small limits."""
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    with running(
        folder / "data",
        encoder,
        fetch_networks=["127.0.0.1/32"],
        fetch_ports=[80, 443, int(site.rpartition(":")[2])],
        max_upload_bytes=100_000,
        max_tenant_bytes=400_000,
        import_buckets=["s3://open/shared"],
        retry_seconds=0.01,
    ) as started:
        yield started


@pytest.fixture
def here(importing: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(importing.url) as opened:
        yield opened


@pytest.fixture
def dataset(here: CocuClient, request: pytest.FixtureRequest) -> Iterator[Dataset]:
    dataset = here.datasets.create(f"imports {request.node.name}"[:200])
    yield dataset
    here.datasets.delete(dataset.id)


@pytest.fixture
def s3(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with s3_server() as address:
        for name, value in {
            "AWS_ENDPOINT_URL": address,
            "AWS_ALLOW_HTTP": "true",
            "AWS_ACCESS_KEY_ID": "test",
            "AWS_SECRET_ACCESS_KEY": "test",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        yield address


def ask(server: LocalServer, dataset: Dataset, **body: object) -> httpx.Response:
    return httpx.post(f"{server.url}/v1/datasets/{dataset.id}/imports", json=body, timeout=30)


def uploads(client: CocuClient, dataset: Dataset) -> dict[str, Upload]:
    client.datasets.wait(dataset.id, timeout=60)
    return {upload.name: upload for upload in client.datasets.uploads(dataset.id)}


def test_import__becomes_an_upload_as_if_it_had_been_sent(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str
) -> None:
    PAGES["/sets/dogs.tar?x=1"] = tar_of_samples({"a": "a dog", "b": "a dog on a bench"})
    url = f"{site}/sets/dogs.tar?x=1"
    answer = ask(importing, dataset, url=url)
    assert answer.status_code == 202
    located = answer.url.join(answer.headers["Location"]).path
    assert located == f"/v1/datasets/{dataset.id}/uploads/dogs.tar"
    assert answer.headers["Retry-After"]
    (announced,) = answer.json()["uploads"]
    assert (announced["name"], announced["source"]) == ("dogs.tar", f"{site}/sets/dogs.tar")
    upload = uploads(here, dataset)["dogs.tar"]
    content = PAGES["/sets/dogs.tar?x=1"]
    assert (upload.state, upload.accepted, upload.received) == ("ingested", 2, len(content))
    assert upload.sha256 == hashlib.sha256(content).hexdigest()
    assert ask(importing, dataset, url=url).status_code == 202
    assert here.datasets.get(dataset.id).uploads == 1


def test_imports__of_several_files_have_names_of_their_own(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str
) -> None:
    for number in range(3):
        PAGES[f"/{number}/part.tar"] = tar_of_samples({f"key {number}": "a dog"}, first_seed=number)
    answer = ask(importing, dataset, urls=[f"{site}/{number}/part.tar" for number in range(3)])
    located = answer.url.join(answer.headers["Location"]).path
    assert located == f"/v1/datasets/{dataset.id}/uploads"
    uploads_by_name = uploads(here, dataset)
    assert set(uploads_by_name) == {"part.tar", "part-2.tar", "part-3.tar"}
    assert {upload.state for upload in uploads_by_name.values()} == {"ingested"}
    assert here.datasets.get(dataset.id).samples == 3


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data/",
        "http://[::ffff:127.0.0.1]/",
        "http://2130706433/",
        "http://user@example.org/",
        "http://example.org:22/",
        "s3://open/shared/a.tar",
        "nonsense",
        "",
    ],
)
def test_import__of_what_is_never_fetched_is_refused_at_once(
    importing: LocalServer, here: CocuClient, dataset: Dataset, url: str
) -> None:
    for answer, field in (
        (ask(importing, dataset, url=url), "body.url"),
        (ask(importing, dataset, urls=["http://example.org/", url]), "body.urls.1"),
    ):
        assert answer.status_code == 422
        assert field in {error["field"] for error in answer.json()["errors"]}
    assert here.datasets.get(dataset.id).uploads == 0


@pytest.mark.parametrize(
    ("path", "detail"),
    [
        ("/away", "do not reach"),
        ("/nowhere.tar", "404"),
        ("/noai", "machine learning"),
        ("/large.tar", "limit of 100,000 bytes"),
    ],
)
def test_import__that_fails_says_why(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str, path: str, detail: str
) -> None:
    PAGES["/noai"] = tar_of_samples({"a": "a dog"})
    PAGES["/large.tar"] = b"\0" * 100_001
    assert ask(importing, dataset, url=site + path, name="one.tar").status_code == 202
    upload = uploads(here, dataset)["one.tar"]
    assert upload.state == "failed"
    assert detail in (upload.detail or "")
    report = httpx.get(f"{importing.url}/v1/datasets/{dataset.id}/report").json()
    assert (report["uploads_failed"], report["upload_failures"]) == (1, {"one.tar": upload.detail})
    assert importing.platform.objects.list(f"datasets/{dataset.id}/uploads") == []


def test_import__that_failed_starts_over_when_it_is_asked_for_again(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str
) -> None:
    ask(importing, dataset, url=f"{site}/late.tar")
    assert uploads(here, dataset)["late.tar"].state == "failed"
    PAGES["/late.tar"] = tar_of_samples({"a": "a dog"})
    ask(importing, dataset, url=f"{site}/late.tar")
    assert uploads(here, dataset)["late.tar"].state == "ingested"


def test_import__the_query_of_its_url_is_forgotten_once_fetched_or_given_up(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str
) -> None:
    PAGES["/signed/good.tar?X-Amz-Signature=5ec2e7"] = tar_of_samples({"a": "a dog"})
    urls = [f"{site}/signed/{name}.tar?X-Amz-Signature=5ec2e7" for name in ("good", "gone")]
    assert ask(importing, dataset, urls=urls).status_code == 202
    uploads_by_name = uploads(here, dataset)
    assert [uploads_by_name[f"{name}.tar"].state for name in ("good", "gone")] == ["ingested", "failed"]
    assert (uploads_by_name["gone.tar"].detail or "").endswith("to try again, import it again")
    with importing.platform.catalog.read() as connection:
        for stored in Base.metadata.sorted_tables:
            for row in connection.execute(stored.select()):
                assert "5ec2e7" not in repr(row), stored.name
    assert here.datasets.retry(dataset.id).uploads == []
    # The same address is known again, and another one is not taken for it.
    PAGES["/signed/gone.tar?X-Amz-Signature=5ec2e7"] = tar_of_samples({"b": "a cat"}, first_seed=1)
    assert ask(importing, dataset, urls=urls).status_code == 202
    assert {upload.state for upload in uploads(here, dataset).values()} == {"ingested"}
    assert ask(importing, dataset, url=f"{urls[0]}0").status_code == 409


def test_import__under_a_name_that_is_taken_is_a_conflict(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str, tmp_path: Path
) -> None:
    (tmp_path / "taken.tar").write_bytes(tar_of_samples({"a": "a dog"}))
    here.datasets.upload(dataset.id, tmp_path / "taken.tar")
    answer = ask(importing, dataset, url=f"{site}/taken.tar")
    assert answer.status_code == 409
    assert "another name" in answer.json()["detail"]


def test_import__of_nothing_or_everything_is_refused(importing: LocalServer, dataset: Dataset) -> None:
    for body in (
        {},
        {"url": "http://example.org/", "urls": ["http://example.org/"]},
        {"urls": []},
        {"urls": ["http://example.org/"] * 1001},
        {"urls": ["http://example.org/"], "name": "a.tar"},
        {"url": "http://example.org/", "name": "../a.tar"},
        {"s3": "s3://secret/bucket"},
        {"s3": "s3://open/shared2"},
        {"s3": "s3://open/shared/../other"},
        {"s3": "http://open/shared"},
        {"s3": "s3:///shared"},
    ):
        assert ask(importing, dataset, **body).status_code == 422, body
    answer = httpx.post(f"{importing.url}/v1/datasets/nowhere/imports", json={"url": "http://example.org/"})
    assert answer.status_code == 404


def test_uploads_of_a_tenant__have_a_limit_together(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str
) -> None:
    path = f"{importing.url}/v1/datasets/{dataset.id}/uploads"
    tus = {"Tus-Resumable": "1.0.0", "Upload-Length": "100000"}
    kept = []
    with httpx.Client(timeout=30) as http:
        for name in ("YQ==", "Yg==", "Yw==", "ZA==", "ZQ=="):
            answer = http.post(path, headers={**tus, "Upload-Metadata": f"filename {name}"})
            if answer.status_code == 201:
                kept.append(answer.url.join(answer.headers["Location"]))
        assert 0 < len(kept) < 5
        assert answer.status_code == 413
        assert "400,000 bytes" in answer.json()["detail"]
        assert "max_tenant_bytes" in answer.json()["detail"]

        def chunked() -> Iterator[bytes]:
            yield b"\0" * 100_000

        for content in (b"\0" * 100_000, chunked()):
            refused = http.put(f"{path}/more.tar", content=content)
            assert refused.status_code == 413
            assert "max_tenant_bytes" in refused.json()["detail"]
        PAGES["/more.tar"] = b"\0" * 100_000
        ask(importing, dataset, url=f"{site}/more.tar", name="imported.tar")
        assert "max_tenant_bytes" in (uploads(here, dataset)["imported.tar"].detail or "")
        assert importing.platform.objects.list(f"datasets/{dataset.id}/uploads") == []
        for location in kept:
            assert http.delete(location, headers=tus).status_code == 204
        content = tar_of_samples({"a": "a dog"})
        assert http.put(f"{path}/more.tar", content=content).status_code == 201


def test_import__from_a_bucket_takes_what_lies_under_the_prefix(
    importing: LocalServer, here: CocuClient, dataset: Dataset, s3: str
) -> None:
    httpx.put(f"{s3}/open")
    bucket = from_url("s3://open")
    for number in range(2):
        content = tar_of_samples({f"{number}": "a dog"}, first_seed=number)
        bucket.put(f"shared/sets/{number} é.tar", content)
    bucket.put("shared2/other.tar", b"secret")
    answer = ask(importing, dataset, s3="s3://open/shared/sets")
    assert answer.status_code == 202, answer.text
    assert {upload.state for upload in uploads(here, dataset).values()} == {"ingested"}
    assert here.datasets.get(dataset.id).samples == 2
    assert ask(importing, dataset, s3="s3://open/shared/nothing").status_code == 404


def test_a_table_of_urls__is_read_by_fetching_its_images(
    here: CocuClient, dataset: Dataset, site: str, tmp_path: Path
) -> None:
    PAGES["/one.jpg"] = picture(1)
    PAGES["/two.jpg"] = b"<html>not found</html>"
    rows = [f"{site}/one.jpg\ta dog", f"{site}/two.jpg\ta cat", f"{site}/three.jpg\ta car"]
    rows += ["http://169.254.169.254/latest\tsecrets", "http://10.0.0.1/x.jpg\tinside"]
    (tmp_path / "cc12m.tsv").write_text("\n".join(rows))
    here.datasets.upload(dataset.id, tmp_path / "cc12m.tsv", options=UploadOptions(fetch=True))
    here.datasets.wait(dataset.id, timeout=60)
    (sample,) = here.datasets.samples(dataset.id)
    assert sample.caption == "a dog"
    assert here.datasets.image(dataset.id, sample.key) == picture(1)
    rejections = list(here.datasets.rejections(dataset.id))
    assert [rejection.reason for rejection in rejections] == ["not_an_image"] + 3 * ["fetch_failed"]
    details = [rejection.detail.partition(":")[0] for rejection in rejections]
    assert details[1:] == ["status", "address", "address"]


def test_retry__fetches_what_could_not_be_had(
    importing: LocalServer, here: CocuClient, dataset: Dataset, site: str
) -> None:
    PAGES.pop("/late.tar", None)
    assert ask(importing, dataset, url=f"{site}/late.tar").status_code == 202
    here.datasets.wait(dataset.id, timeout=60)
    assert uploads(here, dataset)["late.tar"].state == "failed"
    PAGES["/late.tar"] = tar_of_samples({"a": "a dog"})
    assert here.datasets.retry(dataset.id).uploads == ["late.tar"]
    here.datasets.wait(dataset.id, timeout=60)
    assert uploads(here, dataset)["late.tar"].state == "ingested"


READY = UploadOptions(encoder="tiny")


def ready_files() -> Files:
    """Two partitions, and the other files that clip-retrieval writes."""
    vectors_ND = np.random.default_rng(5).standard_normal((5, DIM))
    captions = {f"{number}": f"a dog and {number} cats" for number in range(5)}
    return partitioned(vectors_ND, captions, rows=3)


def test_embeddings__are_fetched_with_their_metadata(here: CocuClient, dataset: Dataset, site: str) -> None:
    PAGES.update({f"/ready/{name}": data for name, data in ready_files().items()})
    urls = [f"{site}/ready/img_emb/img_emb_{number}.npy" for number in range(2)]
    here.datasets.fetch(dataset.id, *urls, f"{site}/ready/metadata/metadata_0.parquet", options=READY)
    uploads_by_name = uploads(here, dataset)
    assert {name: upload.accepted for name, upload in uploads_by_name.items()} == {
        "img_emb_0.tar": 3,
        "img_emb_1.tar": 2,
    }


def test_embeddings__whose_metadata_cannot_be_had_fail(here: CocuClient, dataset: Dataset, site: str) -> None:
    PAGES["/alone/img_emb/img_emb_0.npy"] = ready_files()["img_emb/img_emb_0.npy"]
    here.datasets.fetch(dataset.id, f"{site}/alone/img_emb/img_emb_0.npy", options=READY)
    upload = uploads(here, dataset)["img_emb_0.tar"]
    assert (upload.state, upload.accepted) == ("failed", 0)
    assert "404" in (upload.detail or "")


def test_embeddings__come_from_a_bucket(
    importing: LocalServer, here: CocuClient, dataset: Dataset, s3: str
) -> None:
    httpx.put(f"{s3}/open")
    bucket = from_url("s3://open")
    for name, data in ready_files().items():
        bucket.put(f"shared/laion/{name}", data)
    request = {"s3": "s3://open/shared/laion", "options": {"encoder": "tiny"}}
    assert ask(importing, dataset, **request).status_code == 202
    uploads_by_name = uploads(here, dataset)
    assert {name: upload.accepted for name, upload in uploads_by_name.items()} == {
        "img_emb_0.tar": 3,
        "img_emb_1.tar": 2,
    }
    bucket.delete("shared/laion/metadata/metadata_1.parquet")
    refused = ask(importing, dataset, **request)
    assert refused.status_code == 422
    assert "metadata_1.parquet" in refused.text


def test_embeddings__of_no_known_encoder_are_refused(
    importing: LocalServer, dataset: Dataset, site: str
) -> None:
    answer = ask(importing, dataset, url=f"{site}/img_emb/img_emb_0.npy", options={"encoder": "nothing"})
    assert answer.status_code == 422
    assert "tiny" in answer.text
