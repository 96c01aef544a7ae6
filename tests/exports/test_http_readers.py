"""Exports read over HTTP by common tools: polars, DuckDB, fsspec, pyarrow, curl.

DuckDB downloads its own extension for HTTP at the first use, so here DuckDB reads through fsspec. The
requests of the extension (HEAD, then ranges from the end of the file) are sent by hand.
"""

from __future__ import annotations

import shutil
import subprocess
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import fsspec
import httpx
import polars
import pyarrow.fs
import pyarrow.parquet as pq
import pytest
from fsspec.implementations.http import HTTPFileSystem
from tests.exports.conftest import SAMPLES, SHARDS, Curated, key_of

from cocu.exports.file_cache import FileCache

KEYS = [key_of(number) for number in range(SHARDS[0])]


@pytest.fixture
def parquet(curated: Curated) -> str:
    return f"{curated.url}/files/00000.parquet?format=parquet"


def test_polars__scans_columns_and_lines(curated: Curated, parquet: str) -> None:
    assert polars.scan_parquet(parquet).select("key").collect()["key"].to_list() == KEYS
    several = [f"{curated.url}/files/{number:05d}.parquet?format=parquet" for number in range(len(SHARDS))]
    wide = polars.scan_parquet(several).filter(polars.col("width") > 40).select("key", "width").collect()
    assert 0 < wide.height < SAMPLES
    lines = polars.read_ndjson(f"{curated.url}/files/00000.jsonl?format=jsonl")
    assert lines["key"].to_list() == KEYS


def test_fsspec__and_pyarrow_read_parts(curated: Curated, parquet: str) -> None:
    files = fsspec.filesystem("http")
    assert files.info(parquet)["size"] == len(httpx.get(parquet).content)
    assert files.cat_file(parquet, 0, 4) == files.cat_file(parquet, -4, None) == b"PAR1"
    through = pyarrow.fs.PyFileSystem(pyarrow.fs.FSSpecHandler(files))
    assert pq.read_table(parquet, columns=["key"], filesystem=through)["key"].to_pylist() == KEYS
    # A stream, whose length nobody knows.
    with fsspec.open(f"{curated.url}?format=jsonl") as stream:
        assert stream.read().count(b"\n") == SAMPLES


def test_fsspec__finds_the_files_of_a_format(curated: Curated) -> None:
    files = fsspec.filesystem("http")
    urls = files.glob(f"{curated.url}/files/*.parquet?format=parquet")
    assert [url.rpartition("/")[2] for url in urls] == [
        f"{number:05d}.parquet?format=parquet" for number in range(len(SHARDS))
    ]
    listed = httpx.get(f"{curated.url}/files/")
    assert listed.headers["content-type"].startswith("text/html")
    assert "data/train-00000-of-00004.parquet?format=huggingface" in listed.text


def test_duckdb__queries_through_fsspec(parquet: str) -> None:
    class Dated(HTTPFileSystem):  # type: ignore[misc]
        def modified(self, path: str) -> datetime:
            return datetime(2026, 1, 1, tzinfo=UTC)

    with duckdb.connect() as connection:
        connection.register_filesystem(Dated())
        rows = connection.execute(f"select key from read_parquet('{parquet}') order by key").fetchall()
    assert [key for (key,) in rows] == sorted(KEYS)


def test_duckdb__asks_for_the_length_and_then_from_the_end(parquet: str) -> None:
    whole = httpx.get(parquet).content
    with httpx.Client() as http:
        size = int(http.head(parquet).headers["content-length"])
        end = http.get(parquet, headers={"Range": f"bytes={size - 8}-{size - 1}"})
        assert (end.status_code, end.content[4:]) == (206, b"PAR1")
        begin = size - 8 - int.from_bytes(end.content[:4], "little")
        footer = http.get(parquet, headers={"Range": f"bytes={begin}-{size - 9}"})
        assert footer.content == whole[begin : size - 8]


def test_curl__goes_on_where_it_broke_off(curated: Curated, tmp_path: Path) -> None:
    if shutil.which("curl") is None:
        pytest.skip("there is no curl here")
    for name in ("00001.tar", "00001.parquet?format=parquet"):
        url = f"{curated.url}/files/{name}"
        whole = httpx.get(url).content
        part = tmp_path / "part"
        part.write_bytes(whole[: len(whole) // 3])
        command = ["curl", "--silent", "--show-error", "--fail", "-C", "-", "--output", str(part), url]
        subprocess.run(command, check=True, timeout=60)
        assert part.read_bytes() == whole


def test_parts__of_every_format_come_from_a_file_that_is_made_once(
    curated: Curated, monkeypatch: pytest.MonkeyPatch
) -> None:
    written: list[str] = []
    write = FileCache._write
    monkeypatch.setattr(
        FileCache, "_write", lambda self, file: written.append(file.identity) or write(self, file)
    )
    for form in ("webdataset", "released", "parquet", "jsonl", "huggingface", "datacomp"):
        # With parameters that no other test uses, so that nothing is cached yet.
        manifest = httpx.get(f"{curated.url}/manifest?format={form}&max_concepts=7")
        for file in manifest.json()["files"]:
            url = manifest.url.join(file["url"])
            whole = httpx.get(url).content
            half = len(whole) // 2
            parts = [httpx.get(url, headers={"Range": r}) for r in (f"bytes=0-{half - 1}", f"bytes={half}-")]
            assert b"".join(part.content for part in parts) == whole
            again = httpx.get(url)
            assert (again.content, again.headers["content-length"]) == (whole, str(len(whole)))
    assert len(written) == len(set(written)) == 5 * len(SHARDS) + 2
