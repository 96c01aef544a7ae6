"""Idempotency-Key: a repeated request runs once."""

from __future__ import annotations

import secrets
import threading
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from cocu.api.server import LocalServer
from cocu.catalog import idempotency
from cocu.catalog.idempotency import InFlightError


def key() -> dict[str, str]:
    return {"Idempotency-Key": f'"{secrets.token_hex(8)}"'}


def post(http: httpx.Client, name: str, headers: dict[str, str]) -> httpx.Response:
    return http.post("/v1/datasets", json={"name": name}, headers=headers)


def named(http: httpx.Client, name: str) -> int:
    return sum(item["name"] == name for item in http.get("/v1/datasets?limit=1000").json()["items"])


def test_the_same_request__gets_the_same_answer(http: httpx.Client) -> None:
    name, headers = secrets.token_hex(8), key()
    first, again = post(http, name, headers), post(http, name, headers)
    assert (first.status_code, again.status_code) == (201, 201)
    assert again.content == first.content
    assert again.headers["Location"] == first.headers["Location"]
    assert again.headers["Content-Type"] == first.headers["Content-Type"]
    assert named(http, name) == 1


def test_another_request__is_refused(http: httpx.Client) -> None:
    headers = key()
    post(http, secrets.token_hex(8), headers)
    other = secrets.token_hex(8)
    refused = post(http, other, headers)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["field"] == "Idempotency-Key"
    assert named(http, other) == 0


def test_the_same_body_elsewhere__is_another_request(http: httpx.Client) -> None:
    headers = key()
    post(http, secrets.token_hex(8), headers)
    assert http.post("/v1/vocabularies", json={"shipped": True}, headers=headers).status_code == 422


def test_a_request_that_was_refused__may_be_corrected(http: httpx.Client) -> None:
    name, headers = secrets.token_hex(8), key()
    assert post(http, "", headers).status_code == 422
    assert post(http, name, headers).status_code == 201


def test_quoted_and_bare__are_one_key(http: httpx.Client) -> None:
    name, bare = secrets.token_hex(8), secrets.token_hex(8)
    first = post(http, name, {"Idempotency-Key": bare})
    again = post(http, name, {"Idempotency-Key": f'"{bare}"'})
    assert first.json() == again.json()


@pytest.mark.parametrize("text", ["", '""', '"open', "two words", "x" * 201, '"' + "x" * 201 + '"', '"\t"'])
def test_a_key_that_is_none__is_refused(http: httpx.Client, text: str) -> None:
    answer = post(http, "never", {"Idempotency-Key": text})
    assert answer.status_code == 400
    assert answer.headers["content-type"] == "application/problem+json"


def test_requests_at_once__create_one_thing(http: httpx.Client, server: LocalServer) -> None:
    for _ in range(5):
        name, headers = secrets.token_hex(8), key()
        together = threading.Barrier(4)

        def ask(
            _: int, name: str = name, headers: dict[str, str] = headers, gate: threading.Barrier = together
        ):
            with httpx.Client(base_url=server.url, timeout=30) as own:
                gate.wait()
                return post(own, name, headers)

        with ThreadPoolExecutor(4) as pool:
            answers = list(pool.map(ask, range(4)))
        created = [answer for answer in answers if answer.status_code == 201]
        waiting = [answer for answer in answers if answer.status_code != 201]
        assert created
        assert {answer.content for answer in created} == {created[0].content}
        # Not "this name is taken", which would mean that the request ran a second time.
        assert all(
            answer.status_code == 409 and "Idempotency-Key" in answer.json()["detail"] for answer in waiting
        )
        assert all(answer.headers["Retry-After"] for answer in waiting)
        assert named(http, name) == 1
        assert post(http, name, headers).content == created[0].content


def test_keys__belong_to_a_tenant_and_end(server: LocalServer) -> None:
    catalog, name = server.platform.catalog, secrets.token_hex(8)
    claim_fields = {"key": name, "fingerprint": "a", "claim_seconds": 60.0}
    assert idempotency.claim(catalog, tenant="one", owner="x", kept_seconds=60, **claim_fields) is None
    assert idempotency.claim(catalog, tenant="two", owner="y", kept_seconds=-1, **claim_fields) is None
    with pytest.raises(InFlightError):
        idempotency.claim(catalog, tenant="one", owner="z", kept_seconds=60, **claim_fields)
    assert idempotency.claim(catalog, tenant="two", owner="z", kept_seconds=60, **claim_fields) is None


def test_a_claim_whose_process_died__can_be_taken_over(server: LocalServer) -> None:
    catalog = server.platform.catalog
    claim_fields = {"tenant": "one", "key": secrets.token_hex(8), "fingerprint": "a", "kept_seconds": 60.0}
    assert idempotency.claim(catalog, owner="dead", claim_seconds=-1.0, **claim_fields) is None
    assert idempotency.claim(catalog, owner="living", claim_seconds=60.0, **claim_fields) is None
    with pytest.raises(InFlightError):
        idempotency.claim(catalog, owner="third", claim_seconds=60.0, **claim_fields)
