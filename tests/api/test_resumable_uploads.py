"""tus 1.0.0: whatever breaks, the file that arrives is the file that was sent."""

from __future__ import annotations

import base64
import hashlib
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.api.tus_requests import (
    VERSION,
    break_off,
    create,
    created,
    encoded,
    is_problem,
    offset_of,
    patch,
    resume,
)
from tests.local_platform import tar_of_samples

from cocu.api.server import LocalServer
from cocu.catalog import resumables
from cocu.client import CocuClient
from cocu.pipeline import submit_uploads
from cocu.schemas import Dataset
from cocu.storage import paths

LIMIT = 2_000_000
FEW = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
CONTENT = tar_of_samples({f"sample {number}": "a dog" for number in range(4)})


@pytest.fixture
def dataset(client: CocuClient, request: pytest.FixtureRequest) -> Iterator[Dataset]:
    dataset = client.datasets.create(f"resumable {request.node.name}"[:200])
    yield dataset
    client.datasets.delete(dataset.id)


def test_options__say_what_is_spoken(http: httpx.Client, dataset: Dataset) -> None:
    answer = http.options(f"/v1/datasets/{dataset.id}/uploads")
    assert answer.status_code == 204
    assert answer.headers["Tus-Version"] == answer.headers["Tus-Resumable"] == "1.0.0"
    assert answer.headers["Tus-Max-Size"] == str(LIMIT)
    assert set(answer.headers["Tus-Extension"].split(",")) == {
        "creation", "checksum", "expiration", "termination",
    }  # fmt: skip
    assert answer.headers["Tus-Checksum-Algorithm"] == "sha1,sha256"


def test_upload__in_one_piece_is_registered_as_if_it_had_been_put(
    http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    assert offset_of(http, location) == 0
    answer = patch(http, location, 0, CONTENT)
    assert (answer.status_code, answer.headers["Upload-Offset"]) == (204, str(len(CONTENT)))
    assert "Upload-Expires" in answer.headers
    client.datasets.wait(dataset.id, timeout=60)
    (upload,) = client.datasets.uploads(dataset.id)
    assert (upload.state, upload.accepted, upload.ordinal) == ("ingested", 4, 0)
    assert upload.sha256 == hashlib.sha256(CONTENT).hexdigest()
    head = http.head(location, headers=VERSION)
    assert (head.headers["Upload-Offset"], head.headers["Upload-Length"]) == (str(len(CONTENT)),) * 2
    assert head.headers["Upload-Metadata"] == f"filename {encoded('one.tar')}"
    assert head.headers["Cache-Control"] == "no-store"


@FEW
@given(breaks=st.lists(st.tuples(st.booleans(), st.integers(0, len(CONTENT))), max_size=4))
def test_upload__broken_off_at_any_byte_and_resumed_is_the_same_file(
    http: httpx.Client, client: CocuClient, breaks: list[tuple[bool, int]]
) -> None:
    dataset = client.datasets.create(f"breaks {time.monotonic_ns()}")
    location = created(http, dataset, len(CONTENT))
    for whole, end in sorted(breaks, key=lambda point: point[1]):
        offset = offset_of(http, location)
        if whole:
            resume(http, location, CONTENT[: max(offset, end)])
        else:
            break_off(http, location, offset, CONTENT[offset:end])
        assert offset <= offset_of(http, location) <= max(offset, end)
    assert resume(http, location, CONTENT).status_code == 204
    (upload,) = client.datasets.uploads(dataset.id)
    assert (upload.sha256, upload.bytes) == (hashlib.sha256(CONTENT).hexdigest(), len(CONTENT))
    client.datasets.delete(dataset.id)


def test_upload__of_no_bytes_is_complete_at_once(
    http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    created(http, dataset, 0)
    (upload,) = client.datasets.uploads(dataset.id)
    assert upload.sha256 == hashlib.sha256(b"").hexdigest()


def test_patch__at_another_offset_is_a_conflict_and_changes_nothing(
    http: httpx.Client, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    patch(http, location, 0, CONTENT[:100])
    for offset in (0, 99, 101, len(CONTENT)):
        assert is_problem(patch(http, location, offset, b"x"), 409)
    assert offset_of(http, location) == 100


@pytest.mark.parametrize("algorithm", ["sha1", "sha256"])
def test_patch__that_is_not_what_its_checksum_says_is_not_kept(
    http: httpx.Client, dataset: Dataset, client: CocuClient, algorithm: str
) -> None:
    location = created(http, dataset, len(CONTENT))
    digest = base64.b64encode(hashlib.new(algorithm, CONTENT[:500]).digest()).decode()
    headers = {"Upload-Checksum": f"{algorithm} {digest}"}
    assert is_problem(patch(http, location, 0, CONTENT[1:501], **headers), 460)
    assert offset_of(http, location) == 0
    assert patch(http, location, 0, CONTENT[:500], **headers).status_code == 204
    assert patch(http, location, 500, CONTENT[500:]).status_code == 204
    (upload,) = client.datasets.uploads(dataset.id)
    assert upload.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_patch__with_a_checksum_that_breaks_off_counts_for_nothing(
    http: httpx.Client, dataset: Dataset, server: LocalServer
) -> None:
    location = created(http, dataset, len(CONTENT))
    headers = {"Upload-Checksum": f"sha1 {base64.b64encode(hashlib.sha1(CONTENT).digest()).decode()}"}

    def parts() -> Iterator[bytes]:
        yield CONTENT[:1000]
        raise ConnectionAbortedError

    with pytest.raises(ConnectionAbortedError):
        patch(http, location, 0, parts(), **headers)
    while (answer := patch(http, location, 0, CONTENT, **headers)).status_code == 423:
        time.sleep(0.01)
    assert answer.status_code == 204


@pytest.mark.parametrize("checksum", ["md5 AAAA", "sha1", "sha1 !!!", "sha256 YWJj", "é"])
def test_patch__with_a_checksum_that_is_none(http: httpx.Client, dataset: Dataset, checksum: str) -> None:
    location = created(http, dataset, 10)
    answer = http.patch(
        location,
        content=b"x",
        headers=[
            (b"Tus-Resumable", b"1.0.0"),
            (b"Upload-Offset", b"0"),
            (b"Content-Type", b"application/offset+octet-stream"),
            (b"Upload-Checksum", checksum.encode()),
        ],
    )
    assert is_problem(answer, 400)
    assert offset_of(http, location) == 0


def test_upload__that_is_not_what_was_announced_is_not_registered(
    http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    said = f"filename {encoded('one.tar')},sha256 {encoded(hashlib.sha256(CONTENT).hexdigest())}"
    location = create(http, dataset, len(CONTENT), **{"Upload-Metadata": said}).headers["Location"]
    damaged = CONTENT[:-1] + b"!"
    assert is_problem(patch(http, location, 0, damaged), 460)
    (upload,) = client.datasets.uploads(dataset.id)
    assert upload.state == "failed"
    assert http.head(location, headers=VERSION).status_code == 404


def test_a_second_writer__is_told_to_wait(http: httpx.Client, server: LocalServer, dataset: Dataset) -> None:
    location = created(http, dataset, len(CONTENT))
    with server.platform.partial_uploads.open(location.rpartition("/")[2]):
        refused = patch(http, location, 0, CONTENT)
        assert is_problem(refused, 423)
        assert refused.headers["Retry-After"]
        assert http.delete(location, headers=VERSION).status_code == 423
        assert offset_of(http, location) == 0
    assert patch(http, location, 0, CONTENT).status_code == 204


def test_writers_at_once__one_of_them_writes(
    http: httpx.Client, client: CocuClient, server: LocalServer, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    together = threading.Barrier(6)

    def write(_: int) -> int:
        with httpx.Client(base_url=server.url, timeout=30) as own:
            together.wait()
            return patch(own, location, 0, CONTENT).status_code

    with ThreadPoolExecutor(6) as pool:
        statuses = sorted(pool.map(write, range(6)))
    assert statuses[0] == 204
    assert set(statuses[1:]) <= {409, 423}
    (upload,) = client.datasets.uploads(dataset.id)
    assert upload.sha256 == hashlib.sha256(CONTENT).hexdigest()


def test_patch__longer_than_announced_is_refused_whether_its_length_is_told_or_not(
    http: httpx.Client, dataset: Dataset
) -> None:
    location = created(http, dataset, 100)
    assert is_problem(patch(http, location, 0, b"x" * 101), 413)
    assert is_problem(patch(http, location, 0, iter([b"x" * 60, b"x" * 60])), 413)
    assert offset_of(http, location) == 0


def test_create__larger_than_an_upload_may_be(http: httpx.Client, dataset: Dataset) -> None:
    answer = create(http, dataset, LIMIT + 1)
    assert is_problem(answer, 413)
    assert "max_upload_bytes" in answer.json()["detail"]


@pytest.mark.parametrize("version", [None, "0.2.2", "2.0.0", ""])
def test_another_version__is_refused_with_the_one_that_is_spoken(
    http: httpx.Client, dataset: Dataset, version: str | None
) -> None:
    location = created(http, dataset, 5)
    headers = {"Upload-Offset": "0", "Content-Type": "application/offset+octet-stream"}
    headers |= {"Upload-Length": "5"} | ({} if version is None else {"Tus-Resumable": version})
    for answer in (
        http.post(f"/v1/datasets/{dataset.id}/uploads", headers=headers),
        http.patch(location, headers=headers, content=b"12345"),
        http.delete(location, headers=headers),
    ):
        assert is_problem(answer, 412)
        assert answer.headers["Tus-Version"] == "1.0.0"
    assert http.head(location, headers=headers).status_code == 412
    assert offset_of(http, location) == 0


def test_create__with_headers_that_are_none(http: httpx.Client, dataset: Dataset) -> None:
    path = f"/v1/datasets/{dataset.id}/uploads"
    good = {**VERSION, "Upload-Length": "5", "Upload-Metadata": f"filename {encoded('a.tar')}"}
    for length in ("-1", "five", "1e3", "9" * 30, "", str(2**63)):
        assert http.post(path, headers={**good, "Upload-Length": length}).status_code == 400
    assert http.post(path, headers={**VERSION, "Upload-Defer-Length": "1"}).status_code == 400
    for metadata in ("filename !!!", "filename YQ", "x" * 3000, f"filename {encoded('..')}", "", "filename"):
        answer = http.post(path, headers={**good, "Upload-Metadata": metadata})
        assert answer.status_code in {400, 422}, metadata
    wrong = f"filename {encoded('a.tar')},sha256 {encoded('zz')}"
    assert is_problem(http.post(path, headers={**good, "Upload-Metadata": wrong}), 422)
    for bad in ("/etc/passwd", "a/b", ".hidden", "a\nb", "a\n", "nul\0", "x" * 201):
        answer = http.post(path, headers={**good, "Upload-Metadata": f"filename {encoded(bad)}"})
        assert is_problem(answer, 422)
    assert is_problem(http.post("/v1/datasets/nowhere/uploads", headers=good), 404)


def test_patch__of_another_media_type_or_without_an_offset(http: httpx.Client, dataset: Dataset) -> None:
    location = created(http, dataset, 5)
    kind = {"Content-Type": "application/offset+octet-stream"}
    assert is_problem(http.patch(location, content=b"x", headers={**VERSION, "Upload-Offset": "0"}), 415)
    assert is_problem(http.patch(location, content=b"x", headers={**VERSION, **kind}), 400)
    nowhere = f"/v1/datasets/{dataset.id}/uploads/resumable/nowhere"
    assert is_problem(patch(http, nowhere, 0, b"x"), 404)
    assert http.head(nowhere, headers=VERSION).status_code == 404


def test_delete__ends_it_and_frees_what_it_took(
    http: httpx.Client, client: CocuClient, server: LocalServer, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    patch(http, location, 0, CONTENT[:1000])
    token = location.rpartition("/")[2]
    assert server.platform.partial_uploads.exists(token)
    assert http.delete(location, headers=VERSION).status_code == 204
    assert not server.platform.partial_uploads.exists(token)
    assert is_problem(patch(http, location, 1000, b"x"), 404)
    (upload,) = client.datasets.uploads(dataset.id)
    assert upload.state == "failed"
    assert patch(http, created(http, dataset, len(CONTENT)), 0, CONTENT).status_code == 204


def test_other_content_under_the_name__is_a_conflict_at_once_or_at_the_end(
    http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    patch(http, created(http, dataset, len(CONTENT)), 0, CONTENT)
    assert is_problem(create(http, dataset, len(CONTENT) + 1), 409)
    location = created(http, dataset, len(CONTENT))
    assert is_problem(patch(http, location, 0, b"!" * len(CONTENT)), 409)
    assert http.head(location, headers=VERSION).status_code == 404
    again = created(http, dataset, len(CONTENT))
    assert patch(http, again, 0, CONTENT).status_code == 204
    (upload,) = client.datasets.uploads(dataset.id)
    assert (upload.ordinal, upload.sha256) == (0, hashlib.sha256(CONTENT).hexdigest())


def test_expired__is_gone_and_its_file_with_it(
    http: httpx.Client, client: CocuClient, server: LocalServer, dataset: Dataset
) -> None:
    location = created(http, dataset, len(CONTENT))
    patch(http, location, 0, CONTENT[:1000])
    token = location.rpartition("/")[2]
    catalog = server.platform.catalog
    record = resumables.get(catalog, tenant="default", dataset_id=dataset.id, resumable_id=token)
    resumables.advance(catalog, record, offset=1000, seconds=-1.0)
    assert is_problem(patch(http, location, 1000, CONTENT[1000:]), 410)
    assert http.head(location, headers=VERSION).status_code == 410
    end = time.monotonic() + 20
    while server.platform.partial_uploads.exists(token) and time.monotonic() < end:
        time.sleep(0.05)
    assert not server.platform.partial_uploads.exists(token)
    (upload,) = client.datasets.uploads(dataset.id)
    assert (upload.state, upload.detail) == ("failed", "the rest did not arrive in time")
    assert http.head(location, headers=VERSION).status_code == 410


def test_idempotency_key__lets_another_process_find_the_upload(http: httpx.Client, dataset: Dataset) -> None:
    key = {"Idempotency-Key": '"the same file"'}
    first = create(http, dataset, len(CONTENT), **key)
    again = create(http, dataset, len(CONTENT), **key)
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.headers["Location"] == again.headers["Location"]
    assert is_problem(create(http, dataset, len(CONTENT) - 1, **key), 422)


def test_a_process_that_died_before_it_registered_the_whole_file__is_made_good(
    http: httpx.Client, client: CocuClient, server: LocalServer, dataset: Dataset
) -> None:
    platform = server.platform
    for died_after in ("last byte", "object", "registration"):
        content = CONTENT + died_after.encode()
        location = created(http, dataset, len(content), name=f"{died_after}.tar")
        token = location.rpartition("/")[2]
        with platform.partial_uploads.open(token) as file:
            file.truncate_to(0)
            file.write(content)
            file.sync()
        record = resumables.get(platform.catalog, tenant="default", dataset_id=dataset.id, resumable_id=token)
        resumables.advance(platform.catalog, record, offset=len(content), seconds=60)
        if died_after != "last byte":
            stored = platform.partial_uploads.finish(token, paths.upload(dataset.id, token))
        if died_after == "registration":
            submit_uploads.register_upload(
                platform, tenant="default", upload_id=record.upload_id, stored=stored
            )
        # A client that missed the answer asks again, and sends nothing more.
        assert offset_of(http, location) == offset_of(http, location) == len(content)
        assert patch(http, location, len(content), b"").status_code == 204
        uploads_by_name = {upload.name: upload for upload in client.datasets.uploads(dataset.id)}
        assert uploads_by_name[f"{died_after}.tar"].sha256 == hashlib.sha256(content).hexdigest()
        assert client.datasets.wait(dataset.id, timeout=60)
        (ingested,) = [
            upload for upload in client.datasets.uploads(dataset.id) if upload.name.startswith(died_after)
        ]
        assert ingested.state == "ingested"
