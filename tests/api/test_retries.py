"""Retries: what failed and may succeed is tried again, and nothing else is touched."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
from tests.local_platform import picture, running
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.schemas import Dataset, UploadOptions

ANSWERS: dict[str, int | bytes] = {}
"""The site's answer by path: a status, or an image."""
ASKED: Counter[str] = Counter()


class Site(BaseHTTPRequestHandler):
    """Counts its requests."""

    def do_GET(self) -> None:
        ASKED[self.path] += 1
        answer = ANSWERS.get(self.path, 404)
        self.send_response(answer if isinstance(answer, int) else 200)
        self.end_headers()
        if isinstance(answer, bytes):
            self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        """Log nothing."""


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Site) as server:
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()
        thread.join()


@pytest.fixture(scope="module")
def fetching(site: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    ports = [80, 443, int(site.rpartition(":")[2])]
    with running(folder / "data", encoder, fetch_networks=["127.0.0.1/32"], fetch_ports=ports) as started:
        yield started


@pytest.fixture
def client(fetching: LocalServer) -> Iterator[CocuClient]:
    ASKED.clear()
    ANSWERS.clear()
    with CocuClient(fetching.url) as opened:
        yield opened


@pytest.fixture
def dataset(client: CocuClient, request: pytest.FixtureRequest) -> Dataset:
    return client.datasets.create(f"retries {request.node.name}"[:200])


def send(client: CocuClient, dataset: Dataset, file: Path, rows: list[str]) -> None:
    file.write_text("\n".join(rows) + "\n")
    client.datasets.upload(dataset.id, file, options=UploadOptions(fetch=True, short_side=16))
    client.datasets.wait(dataset.id, timeout=60)


def shards(server: LocalServer, dataset: Dataset) -> dict[str, bytes]:
    objects = server.platform.objects
    return {path: objects.get(path) for path in objects.list(f"datasets/{dataset.id}/shards")}


def test_retry__asks_only_for_what_failed_and_may_succeed(
    fetching: LocalServer, client: CocuClient, dataset: Dataset, site: str, tmp_path: Path
) -> None:
    ANSWERS.update({"/0": picture(0), "/1": 503, "/2": 404, "/3": b"<html>", "/4": 500, "/5": picture(5)})
    rows = [
        "url\tcaption\tlicence",
        *(f"{site}/{number}\ta dog, {number}\tCC-{number}" for number in range(6)),
    ]
    rows += ["http://10.0.0.1/x.jpg\tinside\tnone", "http://nowhere.invalid/y.jpg\tno name\tnone"]
    send(client, dataset, tmp_path / "cc.tsv", rows)
    before = shards(fetching, dataset)
    reasons = client.datasets.report(dataset.id).reasons
    assert (client.datasets.get(dataset.id).samples, reasons) == (2, {"fetch_failed": 5, "not_an_image": 1})
    requests = dict(ASKED)

    ANSWERS.update({"/1": picture(1), "/2": picture(2)})
    retried = client.datasets.retry(dataset.id)
    assert (retried.uploads, retried.unsent, retried.rows) == ([], [], 4)
    client.datasets.wait(dataset.id, timeout=60)

    again = {path: number - requests[path] for path, number in ASKED.items() if number != requests[path]}
    assert again == {"/1": 1, "/2": 1, "/4": 1}
    after = shards(fetching, dataset)
    assert before.items() < after.items()
    assert len(after) == len(before) + 1
    captions = {sample.caption: sample for sample in client.datasets.samples(dataset.id)}
    assert set(captions) == {f"a dog, {number}" for number in (0, 1, 2, 5)}
    assert client.datasets.image(dataset.id, captions["a dog, 2"].key) != b""
    rejections = {
        (rejection.member, rejection.reason) for rejection in client.datasets.rejections(dataset.id)
    }
    kept = {(f"{site}/4", "fetch_failed"), ("http://nowhere.invalid/y.jpg", "fetch_failed")}
    assert {rejection for rejection in rejections if rejection[1] == "fetch_failed"} == kept | {
        ("http://10.0.0.1/x.jpg", "fetch_failed")
    }
    assert client.datasets.report(dataset.id).reasons == {"fetch_failed": 3, "not_an_image": 1}


def test_retry__of_a_retry_gives_the_latest_reason_and_then_nothing_is_left(
    client: CocuClient, dataset: Dataset, site: str, tmp_path: Path
) -> None:
    ANSWERS["/late"] = 503
    send(client, dataset, tmp_path / "late.csv", ["url,caption", f"{site}/late,a cat"])
    ANSWERS["/late"] = 410
    assert client.datasets.retry(dataset.id).rows == 1
    client.datasets.wait(dataset.id, timeout=60)
    (rejection,) = client.datasets.rejections(dataset.id)
    assert "410" in rejection.detail
    assert rejection.upload == "late.csv (retry 1)"
    ANSWERS["/late"] = picture(7)
    assert client.datasets.retry(dataset.id).rows == 1
    client.datasets.wait(dataset.id, timeout=60)
    assert list(client.datasets.rejections(dataset.id)) == []
    names = [upload.name for upload in client.datasets.uploads(dataset.id)]
    assert names == ["late.csv", "late.csv (retry 1)", "late.csv (retry 2)"]
    assert client.datasets.retry(dataset.id).rows == 0
    assert client.datasets.get(dataset.id).uploads == 3


def test_retry__makes_the_shard_that_the_first_attempt_would_have_made(
    fetching: LocalServer, client: CocuClient, site: str, tmp_path: Path
) -> None:
    """Key, caption, image and metadata are those of the row; only its position in the dataset differs."""
    row = f'{site}/one,"a ""dog"", say",1.50,é'
    late, early = (client.datasets.create(name) for name in ("comes late", "comes at once"))
    ANSWERS["/one"] = 503
    send(client, late, tmp_path / "rows.csv", ["url,caption,score,note", row])
    ANSWERS["/one"] = picture(1)
    client.datasets.retry(late.id)
    client.datasets.wait(late.id, timeout=60)
    send(client, early, tmp_path / "rows.csv", ["url,caption,score,note", row])
    (first,), (second,) = shards(fetching, late).values(), shards(fetching, early).values()
    assert first == second


@pytest.mark.parametrize("setting", ["fetch_ports", "fetch_networks", "max_image_bytes"])
def test_retry__of_what_settings_refuse_is_for_when_they_are_others(
    setting: str, site: str, tmp_path: Path
) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    allowed: dict[str, object] = {
        "fetch_networks": ["127.0.0.1/32"],
        "fetch_ports": [80, int(site.rpartition(":")[2])],
        "max_image_bytes": 1_000_000,
    }
    refused = {"fetch_ports": [80], "fetch_networks": [], "max_image_bytes": 100}
    ANSWERS["/1"] = picture(1)
    (tmp_path / "table.csv").write_text(f"url,caption\n{site}/1,a dog\nftp://nowhere/2,a cat\n")
    with (
        running(tmp_path / "data", encoder, **{**allowed, setting: refused[setting]}) as server,
        CocuClient(server.url) as client,
    ):
        dataset = client.datasets.create("refused").id
        client.datasets.upload(dataset, tmp_path / "table.csv", options=UploadOptions(fetch=True))
        assert client.datasets.wait(dataset, timeout=60).samples == 0
        # While nothing has changed, another retry does nothing.
        assert client.datasets.retry(dataset).rows == 0
    with running(tmp_path / "data", encoder, **allowed) as server, CocuClient(server.url) as client:
        # URLs that no setting allows are not retried.
        assert client.datasets.retry(dataset).rows == 1
        assert client.datasets.wait(dataset, timeout=60).samples == 1
        assert client.datasets.retry(dataset).rows == 0
