"""A fuzzer holds a real platform against its OpenAPI document: every answer must be one that it names.

`make fuzz` runs the same with COCU_FUZZ_EXAMPLES examples of every operation.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.fuzz.fuzzer import EXAMPLES, assert_as_documented
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.client import CocuClient

CAPTIONS = {"plain": "a dog on a bench", "folder/inside": "a cat in a tree", "100%25": "two dogs and a cat"}
CHECKS = """
# Well-formed is not all: a cursor must have been given out, a concept be known, one of several fields be set.
[checks.positive_data_acceptance]
expected-statuses = ["2xx", "3xx", "404", "409", "416", "422"]

# tus has statuses of its own, for another version and for sums that do not match.
[checks.negative_data_rejection]
expected-statuses = ["400", "404", "405", "406", "409", "410", "412", "413", "415", "422", "460"]

[checks.missing_required_header]
expected-statuses = ["400", "404", "409", "412", "415", "422"]

# A pattern cannot say what tus has in headers: base64 of a digest, or of UTF-8.
[[operations]]
include-name = "POST /v1/datasets/{dataset}/uploads"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422", "400"]

[[operations]]
include-name = "PATCH /v1/datasets/{dataset}/uploads/resumable/{resumable}"
checks.positive_data_acceptance.expected-statuses = ["2xx", "404", "409", "422", "400"]

# What a stream of events consists of can only be said in OpenAPI 3.2; here it is text.
[[operations]]
include-name = "GET /v1/curations/{curation}/events"
checks.response_schema_conformance.enabled = false

# It never ends, so an answer to it is never whole.
[[operations]]
include-name = "GET /v1/events"
enabled = false
"""


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, dict[str, list[str]]]]:
    """A platform with a finished curation, and its ids by the names that paths give them."""
    folder = tmp_path_factory.mktemp("platform")
    encoder = write_tiny_encoder(folder / "encoder")
    vocabulary = folder / "things.txt"
    vocabulary.write_text("dog\ncat\nbench\ntree\n")
    upload = folder / "samples.tar"
    upload.write_bytes(tar_of_samples(CAPTIONS))
    # Nothing is fetched: no URL that a fuzzer thinks of has this port.
    with running(folder / "data", encoder, max_upload_bytes=1_000_000, fetch_ports=[9]) as server:
        with CocuClient(server.url) as client:
            dataset = client.datasets.create("known").id
            client.datasets.upload(dataset, upload)
            client.datasets.wait(dataset, timeout=60)
            made = client.vocabularies.from_file(vocabulary).id
            curation = client.curations.create(dataset, vocabulary=made).id
            client.curations.wait(curation, timeout=120)
            projection = client.projections.create(dataset, method="pca").id
            client.projections.wait(dataset, projection, timeout=60)
            evaluation = client.evaluations.create(curation, labels={"plain": ["dog"]}).id
        known = {
            "dataset": [dataset],
            "curation": [curation],
            "other": [curation],
            "vocabulary": [made],
            "evaluation": [evaluation],
            "projection": [projection],
            "key": list(CAPTIONS),
            "concept": ["dog", "cat"],
            "name": ["samples.tar", "00000.tar", "uids.npy", "another.tar"],
        }
        yield server.url, known


@pytest.mark.slow
@pytest.mark.timeout(max(300, EXAMPLES * 30))
def test_openapi__every_answer_is_one_that_the_document_names(
    platform: tuple[str, dict[str, list[str]]], tmp_path: Path
) -> None:
    url, known = platform
    phases = ("Examples", "Coverage", "Fuzzing", "Stateful")
    assert_as_documented(url, tmp_path, checks=CHECKS, known=known, phases=phases)
