from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator

import httpx
import pytest
from tests.local_platform import tar_of_samples

from cocu.client import CocuClient
from cocu.schemas import Dataset

LIMIT = 2_000_000


@pytest.fixture
def dataset(client: CocuClient, request: pytest.FixtureRequest) -> Iterator[Dataset]:
    dataset = client.datasets.create(f"uploads {request.node.name}"[:200])
    yield dataset
    client.datasets.delete(dataset.id)


def digest(content: bytes) -> str:
    return f"sha-256=:{base64.b64encode(hashlib.sha256(content).digest()).decode()}:"


def put(http: httpx.Client, dataset: Dataset, name: str, content: bytes, **headers: str) -> httpx.Response:
    sent = {key.replace("_", "-"): value for key, value in headers.items()}
    return http.put(f"/v1/datasets/{dataset.id}/uploads/{name}", content=content, headers=sent)


def test_upload__the_same_content_again_changes_nothing(http: httpx.Client, dataset: Dataset) -> None:
    content = tar_of_samples({"a": "a dog"})
    first = put(http, dataset, "one.tar", content, Content_Digest=digest(content))
    again = put(http, dataset, "one.tar", content)
    assert (first.status_code, again.status_code) == (201, 200)
    assert first.json()["sha256"] == again.json()["sha256"] == hashlib.sha256(content).hexdigest()


def test_upload__other_content_under_the_name_is_a_conflict(http: httpx.Client, dataset: Dataset) -> None:
    put(http, dataset, "one.tar", tar_of_samples({"a": "a dog"}))
    refused = put(http, dataset, "one.tar", tar_of_samples({"b": "a cat"}))
    assert refused.status_code == 409
    assert refused.json()["type"] == "urn:cocu:problem:conflict"


def test_upload__damaged_on_the_way_is_not_stored(
    http: httpx.Client, client: CocuClient, dataset: Dataset, server
) -> None:
    content = tar_of_samples({"a": "a dog"})
    refused = put(http, dataset, "one.tar", content, Content_Digest=digest(content + b"!"))
    assert refused.status_code == 422
    assert "send" in refused.json()["detail"]
    assert client.datasets.get(dataset.id).samples == 0
    assert server.platform.objects.list(f"datasets/{dataset.id}/uploads") == []
    assert put(http, dataset, "one.tar", content, Content_Digest=digest(content)).status_code == 201


def test_upload__a_malformed_digest_says_how_to_write_it(http: httpx.Client, dataset: Dataset) -> None:
    for header in ("sha-256=abc", "sha-256=:!!!:", "sha-256=:YWJj:", "sha-256=::"):
        refused = put(http, dataset, "one.tar", b"x", Content_Digest=header)
        assert refused.status_code == 400
        assert "sha-256=:" in refused.json()["detail"]


def test_upload__a_digest_by_other_algorithms_alone_is_ignored(http: httpx.Client, dataset: Dataset) -> None:
    content = tar_of_samples({"a": "a dog"})
    assert put(http, dataset, "one.tar", content, Content_Digest="sha-512=:AAAA:").status_code == 201


def test_upload__larger_than_the_limit_is_refused_whether_its_length_is_told_or_not(
    http: httpx.Client, dataset: Dataset
) -> None:
    content = b"\0" * (LIMIT + 1)
    answer = put(http, dataset, "big.tar", content)
    assert answer.status_code == 413
    path = f"/v1/datasets/{dataset.id}/uploads/big.tar"
    chunked = http.put(path, content=(content[at : at + 65536] for at in range(0, len(content), 65536)))
    assert chunked.status_code == 413
    for refused in (answer, chunked):
        assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "name", [".hidden", "a/b", "a%2Fb", "..", "x" * 201, "a%00b", "a\nb", "%F0%9F%98%80"]
)
def test_upload__a_name_that_is_none_is_refused(http: httpx.Client, dataset: Dataset, name: str) -> None:
    refused = put(http, dataset, name.replace("\n", "%0A"), b"x")
    assert refused.status_code in {404, 405, 422}
    assert refused.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize("content", [b"", b"this is no archive", b"PK\x03\x04broken", b"\x1f\x8b\x08broken"])
def test_upload__what_cannot_be_read_fails_with_a_reason(
    client: CocuClient, http: httpx.Client, dataset: Dataset, content: bytes
) -> None:
    assert put(http, dataset, "junk.tar", content).status_code == 201
    client.datasets.wait(dataset.id, timeout=60)
    (upload,) = client.datasets.uploads(dataset.id)
    report = client.datasets.report(dataset.id)
    assert report.accepted == 0
    assert report.complete
    assert upload.state == "failed" or report.skipped > 0
    assert upload.detail or report.reasons


def test_upload__to_a_dataset_that_is_not_there(http: httpx.Client) -> None:
    assert http.put("/v1/datasets/nowhere/uploads/a.tar", content=b"x").status_code == 404


def test_report__counts_and_lists_what_was_skipped(
    client: CocuClient, http: httpx.Client, dataset: Dataset
) -> None:
    from tests.local_platform import picture, tar_of

    content = tar_of(
        {
            "good.jpg": picture(1),
            "good.txt": b"a dog",
            "page.jpg": b"<html>not found</html>",
            "page.txt": b"a cat",
            "silent.jpg": picture(2),
        }
    )
    put(http, dataset, "mixed.tar", content)
    client.datasets.wait(dataset.id, timeout=60)
    report = client.datasets.report(dataset.id)
    assert report.accepted == 1
    assert report.reasons == {"missing_caption": 1, "not_an_image": 1}
    rejections = {rejection.key: rejection for rejection in client.datasets.rejections(dataset.id)}
    assert set(rejections) == {"page", "silent"}
    assert {rejection.upload for rejection in rejections.values()} == {"mixed.tar"}
    assert [rejection.key for rejection in client.datasets.rejections(dataset.id, reason="not_an_image")] == [
        "page"
    ]
