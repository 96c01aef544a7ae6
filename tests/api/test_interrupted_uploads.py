"""Uploads that end before they have arrived: they fail with a reason, and can be sent again."""

from __future__ import annotations

import asyncio
import base64
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.catalog import uploads
from cocu.client import CocuClient
from cocu.pipeline import submit_uploads
from cocu.schemas import Dataset
from cocu.storage.blocks import run_to_end

CONTENT = tar_of_samples({"a": "a dog", "b": "a cat"})


@pytest.fixture
def dataset(client: CocuClient) -> Iterator[Dataset]:
    dataset = client.datasets.create(f"interrupted {time.monotonic_ns()}")
    yield dataset
    client.datasets.delete(dataset.id)


def begin_upload(
    server: LocalServer, dataset: Dataset, name: str, sent: bytes = b"x" * 70_000
) -> socket.socket:
    """Return a connection on which an upload has begun and does not go on."""
    host, port = server.url.removeprefix("http://").split(":")
    connection = socket.create_connection((host, int(port)), timeout=20)
    request = f"PUT /v1/datasets/{dataset.id}/uploads/{name} HTTP/1.1"
    head = "\r\n".join((request, f"Host: {host}", "Content-Length: 1000000", "", ""))
    connection.sendall(head.encode() + sent)
    return connection


def until(condition: object, seconds: float = 15.0) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.05)


def state(http: httpx.Client, dataset: Dataset, name: str) -> tuple[str, str | None]:
    answer = http.get(f"/v1/datasets/{dataset.id}/uploads/{name}")
    return (answer.json()["state"], answer.json()["detail"]) if answer.status_code == 200 else ("", None)


def test_an_upload_that_its_client_cuts_off_fails_and_is_sent_again(
    server: LocalServer, http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    connection = begin_upload(server, dataset, "cut.tar")
    until(lambda: state(http, dataset, "cut.tar")[0] == "receiving")
    report = client.datasets.report(dataset.id)
    assert (report.complete, report.awaited) == (False, ["cut.tar"])
    assert client.datasets.get(dataset.id).receiving == 1
    connection.close()
    until(lambda: state(http, dataset, "cut.tar")[0] == "failed")
    assert "send it again" in (state(http, dataset, "cut.tar")[1] or "")
    report = client.datasets.report(dataset.id)
    assert (report.complete, report.awaited, report.uploads_failed) == (True, [], 1)
    assert not list(server.platform.objects.scratch.glob("*.part"))

    assert http.put(f"/v1/datasets/{dataset.id}/uploads/cut.tar", content=CONTENT).status_code == 201
    client.datasets.wait(dataset.id, timeout=30)
    assert state(http, dataset, "cut.tar") == ("ingested", None)


def test_a_report_is_not_complete_while_an_upload_in_pieces_is_under_way(
    http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    headers = {
        "Tus-Resumable": "1.0.0",
        "Upload-Length": "100",
        "Upload-Metadata": f"filename {base64.b64encode(b'pieces.tar').decode()}",
    }
    assert http.post(f"/v1/datasets/{dataset.id}/uploads", headers=headers).status_code == 201
    report = client.datasets.report(dataset.id)
    assert (report.complete, report.awaited) == (False, ["pieces.tar"])


def test_a_curation_says_which_uploads_it_is_made_without(
    server: LocalServer, http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    url = f"/v1/datasets/{dataset.id}/uploads"
    http.put(f"{url}/good.tar", content=CONTENT)
    http.put(f"{url}/bad.tar", content=b"this is no archive")
    client.datasets.wait(dataset.id, timeout=30)
    with begin_upload(server, dataset, "coming.tar"):
        until(lambda: state(http, dataset, "coming.tar")[0] == "receiving")
        curation = client.curations.create(dataset.id)
    assert set(curation.left_out) == {"bad.tar", "coming.tar"}
    assert "not arrived" in curation.left_out["coming.tar"]
    assert client.curations.get(curation.id).left_out == curation.left_out
    client.curations.wait(curation.id, timeout=60)
    until(lambda: state(http, dataset, "coming.tar")[0] == "failed")
    assert http.put(f"{url}/coming.tar", content=CONTENT).status_code == 201
    client.datasets.wait(dataset.id, timeout=30)
    again = client.curations.create(dataset.id)
    assert set(again.left_out) == {"bad.tar"}


def test_an_upload_nobody_receives_any_more_fails_and_one_that_is_received_does_not(
    server: LocalServer, dataset: Dataset, monkeypatch: pytest.MonkeyPatch
) -> None:
    catalog = server.platform.catalog
    monkeypatch.setattr(uploads, "CLAIM_SECONDS", 0.5)
    named = {"tenant": "default", "dataset_id": dataset.id}
    dead, living = (uploads.register(catalog, **named, name=name) for name in ("dead.tar", "living.tar"))
    end = time.monotonic() + 1.5
    while time.monotonic() < end:
        uploads.claim(catalog, upload_id=living.id, received=5)
        uploads.fail_abandoned(catalog)
        time.sleep(0.1)
    uploads.claim(catalog, upload_id=living.id, received=7)
    records = {name: uploads.get(catalog, **named, name=name) for name in ("dead.tar", "living.tar")}
    assert (records["dead.tar"].state, records["dead.tar"].error) == ("failed", uploads.ABANDONED)
    assert (records["living.tar"].state, records["living.tar"].received) == ("receiving", 7)
    # Another server on the same catalog may have taken it for dead: the upload counts nevertheless.
    stored = server.platform.objects.put(f"datasets/{dataset.id}/uploads/late", CONTENT)
    record, task_refs = submit_uploads.receive_upload(
        catalog,
        tenant="default",
        upload_id=dead.id,
        object_path=stored.path,
        size=stored.size,
        sha256=stored.sha256,
    )
    server.platform.enqueue(task_refs)
    assert record.state == "received"


def test_a_server_that_stops_answers_503_and_the_upload_is_sent_to_the_next(tmp_path: Path) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    answers: list[httpx.Response] = []

    def body() -> Iterator[bytes]:
        while not answers and not stopped.wait(0.05):
            yield b"x" * 10_000

    def send(url: str) -> None:
        answers.append(httpx.put(url, content=body(), timeout=30))

    stopped = threading.Event()
    with running(tmp_path / "data", encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("stopped")
        url = f"/v1/datasets/{dataset.id}/uploads/a.tar"
        sending = threading.Thread(target=send, args=(server.url + url,))
        sending.start()
        until(lambda: httpx.get(server.url + url).status_code == 200)
    stopped.set()
    sending.join()
    (answer,) = answers
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert int(answer.headers["retry-after"]) > 0
    assert answer.headers["connection"] == "close"
    with running(tmp_path / "data", encoder) as server, CocuClient(server.url) as client:
        (upload,) = client.datasets.uploads(dataset.id)
        assert (upload.state, upload.detail) == (
            "failed",
            "the server was stopped before the file had arrived; send it again",
        )
        assert httpx.put(server.url + url, content=CONTENT).status_code == 201
        client.datasets.wait(dataset.id, timeout=30)
        assert client.datasets.report(dataset.id).accepted == 2


def test_a_piece_that_a_stop_cuts_off_is_kept_as_far_as_it_came(tmp_path: Path) -> None:
    encoder = write_tiny_encoder(tmp_path / "encoder")
    tus = {"Tus-Resumable": "1.0.0"}
    headers = {
        "Upload-Length": "10000000",
        "Upload-Metadata": f"filename {base64.b64encode(b'a.tar').decode()}",
    }
    piece = {**tus, "Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    stopped, answers, sent = threading.Event(), [], 0

    def body() -> Iterator[bytes]:
        nonlocal sent
        while not stopped.wait(0.05):
            sent += 10_000
            yield b"x" * 10_000

    with running(tmp_path / "data", encoder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("stopped")
        created = httpx.post(f"{server.url}/v1/datasets/{dataset.id}/uploads", headers={**tus, **headers})
        url, location = server.url, created.url.join(created.headers["Location"]).path
        sending = threading.Thread(
            target=lambda: answers.append(
                httpx.patch(url + location, headers=piece, content=body(), timeout=30)
            )
        )
        sending.start()
        until(lambda: sent >= 50_000)
    stopped.set()
    sending.join()
    assert answers[0].status_code == 503
    with running(tmp_path / "data", encoder) as server:
        offset = int(httpx.head(server.url + location, headers=tus).headers["Upload-Offset"])
    assert 50_000 <= offset <= sent


def test_work_that_is_not_to_be_left_half_done_is_finished_however_often_it_is_cancelled() -> None:
    done = threading.Event()

    def work() -> str:
        time.sleep(0.3)
        done.set()
        return "done"

    async def cancelled_twice() -> None:
        task = asyncio.create_task(run_to_end(work))
        for _ in range(2):
            await asyncio.sleep(0.05)
            task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert done.is_set()
        assert await run_to_end(lambda: 3) == 3

    asyncio.run(cancelled_twice())
