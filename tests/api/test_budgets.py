"""Limits of a process over all requests: streams, bodies, pixels and followers."""

from __future__ import annotations

import base64
import io
import json
import socket
import threading
import time
from collections.abc import Iterator

import httpx
import pytest
from PIL import Image
from tests.api.conftest import CAPTIONS, VOCABULARY
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.bodies import count_values
from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.formats.pixel_budget import PixelBudget

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A platform with low limits."""
    folder = tmp_path_factory.mktemp("small")
    encoder = write_tiny_encoder(folder / "encoder")
    limits = {"max_batch_streams": 2, "max_exports": 1, "max_followers": 2, "max_search_pixels": 10_000}
    # Tasks that the test queues itself stay queued.
    limits |= {"sweep_seconds": 3600}
    with running(folder / "data", encoder, **limits) as started:
        yield started


@pytest.fixture(scope="module")
def ids(small: LocalServer, tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    folder = tmp_path_factory.mktemp("small-upload")
    (folder / "samples.tar").write_bytes(tar_of_samples(CAPTIONS))
    (folder / "things.txt").write_text(VOCABULARY)
    with CocuClient(small.url) as client:
        dataset = client.datasets.create("small").id
        client.datasets.upload(dataset, folder / "samples.tar")
        client.datasets.wait(dataset, timeout=60)
        vocabulary = client.vocabularies.from_file(folder / "things.txt").id
        curation = client.curations.create(dataset, vocabulary=vocabulary).id
        client.curations.wait(curation, timeout=120)
    return {"dataset": dataset, "curation": curation}


@pytest.fixture
def here(small: LocalServer) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=small.url, timeout=60) as opened:
        yield opened


def taken(small: LocalServer, kind: str) -> int:
    return int(small._app.state.streams._open[kind])


@pytest.mark.parametrize(
    ("path", "kind", "limit"), [("batches?global_batch=1", "batches", 2), ("export", "exports", 1)]
)
def test_streams__have_a_limit_of_their_kind_and_give_their_place_back(
    small: LocalServer, ids: dict[str, str], here: httpx.Client, path: str, kind: str, limit: int
) -> None:
    url = f"/v1/curations/{ids['curation']}/{path}"
    small._app.state.streams._open[kind] += limit
    try:
        refused = here.get(url)
        assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert kind in refused.json()["detail"]
    finally:
        small._app.state.streams._open[kind] -= limit
    for _ in range(2 * limit + 1):
        assert here.get(url).status_code == 200
    # A stream that fails, and one that breaks off, are no longer counted either.
    assert here.get(f"/v1/curations/none/{path}").status_code == 404
    with here.stream("GET", url):
        pass
    wait_until(lambda: taken(small, kind) == 0)


def test_uploads__have_a_limit_and_give_their_place_back_however_they_end(
    small: LocalServer, ids: dict[str, str], here: httpx.Client
) -> None:
    url = f"/v1/datasets/{ids['dataset']}/uploads"
    streams = small._app.state.streams
    tus = {"Tus-Resumable": "1.0.0", "Content-Type": "application/offset+octet-stream", "Upload-Offset": "0"}
    limit = streams._limits["uploads"]
    streams._open["uploads"] += limit
    try:
        for refused in (
            here.put(f"{url}/full.tar", content=b"tar"),
            here.patch(f"{url}/resumable/none", content=b"tar", headers=tus),
        ):
            assert (refused.status_code, refused.headers["retry-after"]) == (503, "5")
        assert here.get(f"{url}/full.tar").status_code == 404
    finally:
        streams._open["uploads"] -= limit
    head = f"PUT {url}/cut.tar HTTP/1.1\r\nHost: localhost\r\nContent-Length: 9\r\n\r\n"
    with socket.create_connection((here.base_url.host, here.base_url.port or 80)) as connection:
        connection.sendall(head.encode() + b"tar")
        wait_until(lambda: taken(small, "uploads") == 1)
    wait_until(lambda: taken(small, "uploads") == 0)
    assert here.get(f"{url}/cut.tar").json()["state"] == "failed"
    assert here.patch(f"{url}/resumable/none", content=b"tar", headers=tus).status_code == 404
    assert here.put(f"{url}/whole.tar", content=tar_of_samples(CAPTIONS, first_seed=50)).status_code == 201
    # The answer is sent before the stream is no longer counted.
    wait_until(lambda: taken(small, "uploads") == 0)


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("datasets", {"name": "a", **{f"x{number}": 1 for number in range(500)}}),
        ("search", {f"x{number}": [] for number in range(500)}),
        ("vocabularies", {"name": "a", "document": {}, **{f"x{number}": {} for number in range(500)}}),
    ],
)
def test_problems__name_the_first_of_many_wrong_inputs_and_count_all(
    here: httpx.Client, path: str, body: dict[str, object]
) -> None:
    answer = here.post(f"/v1/{path}", json=body)
    assert answer.status_code == 422
    problem = answer.json()
    assert len(problem["errors"]) == 50
    assert int(problem["detail"].split()[0]) >= 500
    assert problem["detail"].endswith("inputs are wrong. The first 50 are named.")


def test_followers__have_a_limit_and_get_each_event_once(
    small: LocalServer, ids: dict[str, str], here: httpx.Client
) -> None:
    url = f"/v1/curations/{ids['curation']}/events"
    small._app.state.streams._open["events"] += 2
    try:
        assert here.get(url).status_code == 503
    finally:
        small._app.state.streams._open["events"] -= 2
    first, second = here.get(url).text, here.get(url, headers={"Last-Event-ID": "0"}).text
    assert first == second
    ids_of_events = [int(line.removeprefix("id: ")) for line in first.splitlines() if line.startswith("id: ")]
    assert ids_of_events == sorted(set(ids_of_events))
    wait_until(lambda: taken(small, "events") == 0 and not small._app.state.followers._feeds)
    later = here.get(url, headers={"Last-Event-ID": str(ids_of_events[-2])}).text
    assert [line for line in later.splitlines() if line.startswith("id: ")] == [f"id: {ids_of_events[-1]}"]


def test_followers__of_what_is_deleted_hear_of_it(
    small: LocalServer, here: httpx.Client, caplog: pytest.LogCaptureFixture
) -> None:
    with CocuClient(small.url) as client:
        dataset = client.datasets.create("to be deleted").id
        here.put(f"/v1/datasets/{dataset}/uploads/a.tar", content=tar_of_samples(CAPTIONS, first_seed=100))
        client.datasets.wait(dataset, timeout=60)
        curation = queued(small, {"dataset": dataset})
        with here.stream("GET", f"/v1/curations/{curation}/events") as answer:
            lines = answer.iter_lines()
            assert next(lines)
            client.datasets.delete(dataset)
            rest = list(lines)
    kinds = [line for line in rest if line.startswith("event: ")]
    # `cancelled` comes first if it is read before the dataset is deleted.
    assert kinds[-1] in {"event: deleted", "event: state"}
    assert not any("Traceback" in str(record.exc_info or "") or record.exc_info for record in caplog.records)


def queued(small: LocalServer, ids: dict[str, str]) -> str:
    """A curation that no worker runs: its tasks go to a queue without workers."""
    send, small.platform._send = small.platform._send, lambda task_refs: None
    try:
        with httpx.Client(base_url=small.url, timeout=60) as http:
            body = {"parameters": {"seed": time.time_ns() % 10**9}}
            answer = http.post(f"/v1/datasets/{ids['dataset']}/curations", json=body)
            assert answer.status_code == 202, answer.text
            return str(answer.json()["id"])
    finally:
        small.platform._send = send


def wait_until(condition: object, seconds: float = 20) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end
        time.sleep(0.02)


@pytest.mark.parametrize(
    ("path", "begin"),
    [
        ("/v1/vocabularies", b'{"text": "x", "document": ['),
        ("/v1/search", b'{"dataset": ['),
        ("/v1/datasets", b'{"name": {"a": ['),
        ("/v1/datasets/{dataset}/imports", b'{"urls": ['),
        ("/v1/datasets/{dataset}/curations", b'{"parameters": ['),
    ],
)
def test_bodies__of_brackets_are_refused_before_they_are_parsed(
    ids: dict[str, str], here: httpx.Client, path: str, begin: bytes
) -> None:
    body = begin + b"[]," * 500_000 + b"[]"
    answer = here.post(path.format_map(ids), content=body, headers=JSON)
    assert answer.status_code == 413
    assert "values" in answer.json()["detail"]


def test_bodies__of_long_texts_are_no_many_values(here: httpx.Client) -> None:
    text = "\n".join(f'thing {number}, [] {{}} \\ " of many' for number in range(40_000))
    answer = here.post("/v1/vocabularies", json={"text": text.replace(",", ""), "name": "long"})
    assert answer.status_code == 201, answer.text


@pytest.mark.parametrize(
    ("field", "content"),
    [
        ("document", '{"concepts": [' + "[]," * 2_100_000 + "[]]}"),
        ("text", "a\n" * 2_100_000),
        ("text", "a = " + "b," * 2_100_000),
        ("text", "\u2028" * 2_100_000),
    ],
)
def test_vocabularies__of_millions_of_parts_are_refused(here: httpx.Client, field: str, content: str) -> None:
    answer = here.post("/v1/vocabularies", json={field: content})
    assert answer.status_code == 413
    assert "parts" in answer.json()["detail"]


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"labels": [' + b"[]," * 2_000_000 + b"[]]}", "body.labels"),
        (b'{"labels": {"a": [' + b"[]," * 2_000_000 + b"[]]}}", "body.labels.a"),
        (b'{"labels": {"a": ["dog"]}, "more": [' + b"[]," * 1_000_000 + b"[]]}", "body.more"),
        (b'{"labels": {"a": ["' + b"d" * 3_000_000 + b'"]}}', "body"),
        (b'{"labels": {"a": [' + b'"d",' * 200_000 + b'"d"]}}', "body.labels.a"),
        (b'{"labels": {"a": ["dog"]}, "instances": {"images":[],"annotations":[],"categories":[]}}', "body"),
        *((body, "body") for body in (b"{}", b"[]")),
        (b'{"labels": {"a": "dog"}}', "body.labels.a"),
        (b'{"labels": {"a": [1]}}', "body.labels.a"),
        (b'{"labels": {}, "label_map": 5}', "body.label_map"),
        (b'{"instances": {"images": [], "annotations": []}}', "body.instances.categories"),
        (b'{"instances": {"images": [{"id": 1}], "annotations": [], "categories": []}}',
         "body.instances.images.0.file_name"),
        (b'{"instances": {"images": [5], "annotations": [], "categories": []}}', "body.instances.images.0"),
        (b'{"instances": {"images": [{"id": 1.5, "file_name": "a"}], "annotations": [], "categories": []}}',
         "body.instances.images.0.id"),
        (b'{"instances": {"images": [], "categories":[], "annotations": [{"image_id":1,"category_id":2}]}}',
         "body.instances.annotations"),
    ],
    ids=range(16),
)  # fmt: skip
def test_labels__of_another_form_say_which(
    ids: dict[str, str], here: httpx.Client, body: bytes, field: str
) -> None:
    answer = here.post(f"/v1/curations/{ids['curation']}/evaluations", content=body, headers=JSON)
    assert answer.status_code == 422, answer.text
    assert [error["field"] for error in answer.json()["errors"]] == [field]


@pytest.mark.parametrize(
    "body", [b'{"labels": {"a": ["dog"]}', b'{"labels": {"a": ["\xff"]}}', b"x", b'{"labels": {}} {}', b"NaN"]
)
def test_labels__that_are_no_json_are_refused(ids: dict[str, str], here: httpx.Client, body: bytes) -> None:
    answer = here.post(f"/v1/curations/{ids['curation']}/evaluations", content=body, headers=JSON)
    assert (answer.status_code, answer.json()["type"]) == (400, "urn:cocu:problem:bad-request")


def test_labels__are_measured_once_however_large_and_in_whatever_order(
    ids: dict[str, str], here: httpx.Client
) -> None:
    path = f"/v1/curations/{ids['curation']}/evaluations"
    labels = {"plain": ["dog", "bench", "dog"], "last": ["cat"], "nothing": []}
    labels |= {f"missing {number}": ["dog"] for number in range(60_000)}
    first = here.post(path, json={"labels": labels})
    assert first.status_code == 201, first.text
    assert first.json()["images"] == 2
    assert first.json()["details"]["labels_without_sample"] == 60_000
    again = here.post(path, json={"labels": dict(sorted(labels.items(), reverse=True))})
    assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])


def test_labels__of_coco_come_in_any_order_with_all_that_belongs_to_them(
    ids: dict[str, str], here: httpx.Client
) -> None:
    path = f"/v1/curations/{ids['curation']}/evaluations"
    instances = {
        "annotations": [
            {"image_id": 7, "category_id": 1, "segmentation": [[1.5, 2.0, [3]]], "bbox": [0, 0, 1, 1]},
            {"image_id": 7, "category_id": 2, "iscrowd": 0},
            {"image_id": 8, "category_id": 2},
        ],
        "info": {"description": "a", "nested": [{"images": [1]}]},
        "categories": [{"id": 1, "name": "dog", "supercategory": "animal"}, {"id": 2, "name": "bench"}],
        "images": [{"id": 7, "file_name": "train/plain.jpg", "width": 3}, {"id": 8, "file_name": "last.png"}],
    }
    of_coco = here.post(path, json={"instances": instances, "label_map": None})
    assert of_coco.status_code == 201, of_coco.text
    assert (of_coco.json()["images"], of_coco.json()["label_map"]) == (2, "coco")


def test_evaluations__under_a_key_are_answered_once(ids: dict[str, str], here: httpx.Client) -> None:
    path, headers = f"/v1/curations/{ids['curation']}/evaluations", {"Idempotency-Key": "labels-1"}
    labels = {"labels": {"plain": ["tree"]} | {f"k{number}": ["x"] for number in range(60_000)}}
    first, again = (here.post(path, json=labels, headers=headers) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.content == again.content
    other = here.post(path, json={"labels": {"plain": ["car"]}}, headers=headers)
    assert other.status_code == 422


def test_bodies__in_memory_have_a_limit_together(small: LocalServer, here: httpx.Client) -> None:
    here.get("/healthz")  # the first request builds the stack
    limit = next(app for app in layers(small._app.middleware_stack) if type(app).__name__ == "BodyLimit")
    room = dict(limit._room)
    limit._room["memory"] = 1_000
    try:
        answer = here.post("/v1/datasets", json={"name": "x" * 2_000})
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        assert here.post("/v1/datasets", json={"name": "fits"}).status_code in {201, 409}
        assert any(limit._room["memory"] == 1_000 or time.sleep(0.05) for _ in range(100))
    finally:
        limit._room.update(room)


def layers(app: object) -> Iterator[object]:
    while app is not None:
        yield app
        app = getattr(app, "app", None)


def picture(size: tuple[int, int], form: str = "PNG", mode: str = "RGBA") -> bytes:
    Image.new(mode, size, "olive").save(out := io.BytesIO(), form)
    return out.getvalue()


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_searches__limit_the_size_of_images(ids: dict[str, str], here: httpx.Client, form: str) -> None:
    def searched(size: tuple[int, int]) -> httpx.Response:
        image = base64.b64encode(picture(size, form, "RGB")).decode()
        return here.post("/v1/search", json={"dataset": ids["dataset"], "image": image})

    assert searched((100, 100)).status_code == 200
    answer = searched((101, 100))
    assert answer.status_code == 422
    assert "101 × 100" in answer.text


def test_pixels__are_decoded_so_many_at_a_time() -> None:
    budget = PixelBudget(100)
    at_once, most, lock = 0, 0, threading.Lock()

    def decode() -> None:
        nonlocal at_once, most
        with budget.held(40):
            with lock:
                at_once += 40
                most = max(most, at_once)
            time.sleep(0.01)
            with lock:
                at_once -= 40

    threads = [threading.Thread(target=decode) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most <= 100
    with budget.held(10**9):
        pass


def test_values__are_counted_whatever_stands_in_texts() -> None:
    for value, count in (({"a": 'x, [ "y" \\'}, 2), ([1, "\\\\", [2, {"b": None}]], 6), ("[[[", 1)):
        assert count <= count_values(json.dumps(value).encode(), limit=100) <= 2 * count


def test_health__is_told_while_every_thread_is_busy(small: LocalServer, here: httpx.Client) -> None:
    assert here.get("/healthz").status_code == 200
    release = threading.Event()
    check, small.platform.catalog.check = small.platform.catalog.check, lambda: release.wait(30)  # type: ignore
    try:
        threads = [threading.Thread(target=httpx.get, args=(f"{small.url}/readyz",), kwargs={"timeout": 30})]
        threads += [threading.Thread(target=httpx.get, args=(f"{small.url}/readyz",), kwargs={"timeout": 30})]
        for thread in threads:
            thread.start()
        answer = here.get("/readyz")
        assert (answer.status_code, "seconds" in answer.json()["detail"]) == (503, True)
        assert here.get("/healthz").status_code == 200
    finally:
        release.set()
        small.platform.catalog.check = check  # type: ignore[method-assign]
        for thread in threads:
            thread.join()
    assert here.get("/readyz").status_code == 200
