"""Keys of the maximum length: in lists, URLs, archives and exports; longer ones are refused."""

from __future__ import annotations

import io
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
from hypothesis import given
from hypothesis import strategies as st
from tests.local_platform import picture, tar_of_samples

from cocu.api import cursors
from cocu.client import CocuClient
from cocu.formats.limits import DEFAULT_LIMITS
from cocu.formats.reading import RawSample, read_samples
from cocu.schemas import Parameters

LONGEST_CURSOR = 8192
BYTES = DEFAULT_LIMITS.max_key_bytes


def long_key(number: int) -> str:
    """Keys of 500 bytes, of the characters that take the most bytes."""
    return f"{number:04d}" + "🐕" * ((BYTES - 4) // 4)


@given(st.text(max_size=BYTES), st.text(max_size=64))
def test_cursor__of_any_key_fits_and_comes_back(key: str, listing: str) -> None:
    cursor = cursors.encode(listing, key)
    assert cursors.decode(listing, cursor) == key
    assert len(cursors.encode(listing, key.encode("utf-8", "surrogatepass")[:BYTES].hex())) <= LONGEST_CURSOR


def listed(http: httpx.Client, dataset: str) -> list[str]:
    """The keys of a dataset's samples, two per page."""
    keys: list[str] = []
    cursor = None
    while True:
        params = {"limit": "2"} | ({} if cursor is None else {"cursor": cursor})
        answer = http.get(f"/v1/datasets/{dataset}/samples", params=params)
        answer.raise_for_status()
        keys += [item["key"] for item in answer.json()["items"]]
        cursor = answer.json()["next"]
        if cursor is None:
            return keys


def test_longest_keys__are_listed_page_by_page_and_found(
    client: CocuClient, http: httpx.Client, tmp_path: Path
) -> None:
    keys = [long_key(number) for number in range(5)]
    assert {len(key.encode()) for key in keys} == {BYTES}
    (tmp_path / "long.tar").write_bytes(tar_of_samples(dict.fromkeys(keys, "a dog and a tree")))
    dataset = client.datasets.create("long keys").id
    client.datasets.upload(dataset, tmp_path / "long.tar")
    client.datasets.wait(dataset, timeout=60)
    assert listed(http, dataset) == keys
    curation = client.curations.create(dataset, parameters=Parameters(neighbours=2))
    curation = client.curations.wait(curation.id, timeout=120)
    assert [archive.key for archive in client.archives.list(curation.id, page_size=2)] == keys
    assert client.archives.get(curation.id, keys[3]).key == keys[3]
    client.curations.export(curation.id, tmp_path / "export", "webdataset")
    (tar,) = (tmp_path / "export").glob("*.tar")
    assert [sample.key for sample in read_samples(tar) if isinstance(sample, RawSample)] == keys


def test_longer_keys__give_way_to_those_of_the_content() -> None:
    keys = [long_key(0), long_key(1) + "x"]
    target = io.BytesIO()
    columns = {"key": keys, "image": [picture(0), picture(1)], "caption": ["a dog", "a cat"]}
    pq.write_table(pa.table(columns), target)
    first, second = read_samples(target)
    assert isinstance(first, RawSample)
    assert first.key == keys[0]
    assert isinstance(second, RawSample)
    assert second.key == second.content_key
