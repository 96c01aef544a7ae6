"""Formats and options of uploads, from the client to the samples."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image
from tests.local_platform import picture, tar_of, tar_of_samples

from cocu.api.server import LocalServer
from cocu.catalog import uploads as catalog_uploads
from cocu.client import CocuClient
from cocu.schemas import Dataset, Upload, UploadOptions


@pytest.fixture
def dataset(client: CocuClient, request: pytest.FixtureRequest) -> Iterator[Dataset]:
    dataset = client.datasets.create(f"formats {request.node.name}"[:200])
    yield dataset
    client.datasets.delete(dataset.id)


def put(
    client: CocuClient, dataset: Dataset, file: Path, content: bytes, options: UploadOptions | None = None
) -> Upload:
    file.write_bytes(content)
    client.datasets.upload(dataset.id, file, options=options)
    client.datasets.wait(dataset.id, timeout=60)
    return next(upload for upload in client.datasets.uploads(dataset.id) if upload.name == file.name)


def parquet_of(rows: list[dict[str, object]]) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(rows), target)
    return target.getvalue()


def captions(client: CocuClient, dataset: Dataset) -> dict[str, str]:
    return {sample.key: sample.caption for sample in client.datasets.samples(dataset.id)}


def test_parquet__its_format_and_columns_are_stated(
    client: CocuClient, dataset: Dataset, tmp_path: Path
) -> None:
    rows = [{"image": {"bytes": picture(n), "path": f"{n}.jpg"}, "text": f"dog {n}"} for n in range(3)]
    upload = put(client, dataset, tmp_path / "train.parquet", parquet_of(rows))
    assert (upload.state, upload.format, upload.accepted) == ("ingested", "parquet", 3)
    assert upload.columns == {"image": "image", "caption": "text"}
    assert captions(client, dataset) == {"0": "dog 0", "1": "dog 1", "2": "dog 2"}
    assert client.datasets.image(dataset.id, "1") == picture(1)


def test_coco__every_caption_becomes_a_sample_when_asked(
    client: CocuClient, dataset: Dataset, tmp_path: Path
) -> None:
    folder = tmp_path / "coco"
    (folder / "val2017").mkdir(parents=True)
    (folder / "val2017" / "7.jpg").write_bytes(picture(7))
    annotations = [{"image_id": 7, "caption": text} for text in ("one", "two")]
    table = {"images": [{"id": 7, "file_name": "7.jpg"}], "annotations": annotations}
    (folder / "captions_val2017.json").write_text(json.dumps(table))
    client.datasets.upload(dataset.id, folder, options=UploadOptions(captions="all"))
    client.datasets.wait(dataset.id, timeout=60)
    assert captions(client, dataset) == {"val2017/7-0": "one", "val2017/7-1": "two"}


def test_short_side__pictures_are_made_smaller_once(
    client: CocuClient, dataset: Dataset, tmp_path: Path
) -> None:
    target = io.BytesIO()
    Image.new("RGB", (300, 200), "red").save(target, "PNG")
    content = tar_of({"a.png": target.getvalue(), "a.txt": b"red", "b.jpg": picture(1), "b.txt": b"noise"})
    put(client, dataset, tmp_path / "x.tar", content, UploadOptions(short_side=50))
    sample = client.datasets.sample(dataset.id, "a")
    assert (sample.width, sample.height) == (75, 50)
    stored = client.datasets.image(dataset.id, "a")
    assert Image.open(io.BytesIO(stored)).format == "JPEG"
    assert client.datasets.image(dataset.id, "b") == picture(1)


def test_tsv__without_fetching_says_how_to_ask_for_it(
    client: CocuClient, dataset: Dataset, tmp_path: Path
) -> None:
    upload = put(client, dataset, tmp_path / "cc3m.tsv", b"a dog\thttps://example.org/1.jpg\n")
    assert (upload.format, upload.columns) == ("tsv", {"url": "1", "caption": "0"})
    assert client.datasets.report(dataset.id).reasons == {"fetch_not_asked": 1}


def test_options__the_same_file_to_be_read_otherwise_is_a_conflict(
    http: httpx.Client, client: CocuClient, dataset: Dataset
) -> None:
    path = f"/v1/datasets/{dataset.id}/uploads/a.tar"
    content = tar_of_samples({"a": "a dog"})
    assert http.put(path, content=content, params={"short_side": 64}).status_code == 201
    client.datasets.wait(dataset.id, timeout=60)
    assert http.put(path, content=content, params={"short_side": 64}).status_code == 200
    refused = http.put(path, content=content)
    assert refused.status_code == 409
    assert "options" in refused.json()["detail"]


@pytest.mark.parametrize(
    "query",
    [
        {"format": "rar"},
        {"captions": "some"},
        {"short_side": "3"},
        {"short_side": "1e9"},
        {"shortside": "64"},
        {"caption_column": "x" * 201},
    ],
)
def test_options__that_are_none_are_refused_by_name(
    http: httpx.Client, dataset: Dataset, query: dict[str, str]
) -> None:
    refused = http.put(f"/v1/datasets/{dataset.id}/uploads/a.tar", content=b"x", params=query)
    assert refused.status_code == 422
    assert next(iter(query)) in refused.text


def test_options__apply_to_uploads_in_pieces_too(
    http: httpx.Client, client: CocuClient, dataset: Dataset, server: LocalServer
) -> None:
    headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "10", "Upload-Metadata": "filename YS50YXI="}
    answer = http.post(f"/v1/datasets/{dataset.id}/uploads", headers=headers, params={"captions": "all"})
    assert answer.status_code == 201
    upload = next(client.datasets.uploads(dataset.id))
    record = catalog_uploads.get(
        server.platform.catalog, tenant="default", dataset_id=dataset.id, name=upload.name
    )
    assert record.options == {"captions": "all"}


def test_report__as_csv_counts_up_and_holds_no_formulas(
    http: httpx.Client, client: CocuClient, dataset: Dataset, tmp_path: Path
) -> None:
    content = tar_of(
        {
            "good.jpg": picture(1),
            "good.txt": b"a dog",
            '=HYPERLINK("x").jpg': b"no image",
            '=HYPERLINK("x").txt': b"a cat",
            "+1, and\u2009more.jpg": picture(2),
        }
    )
    put(client, dataset, tmp_path / "mixed.tar", content)
    text = b"".join(client.datasets.report_csv(dataset.id)).decode()
    rows = list(csv.DictReader(io.StringIO(text, newline="")))
    assert not any(cell.startswith(("=", "+", "-", "@")) for row in rows for cell in row.values())
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        kind = (row["outcome"], row["reason"])
        counts[kind] = counts.get(kind, 0) + int(row["count"])
    assert counts == {
        ("accepted", ""): 1,
        ("skipped", "not_an_image"): 1,
        ("skipped", "missing_caption"): 1,
    }
    assert {row["key"] for row in rows} >= {'\'=HYPERLINK("x")', "'+1, and\u2009more"}
    answer = http.get(f"/v1/datasets/{dataset.id}/report", params={"format": "csv"})
    assert answer.headers["content-type"].startswith("text/csv")
    assert http.get(f"/v1/datasets/{dataset.id}/report", params={"format": "xls"}).status_code == 422
    assert http.get("/v1/datasets/nowhere/report", params={"format": "csv"}).status_code == 404


def test_retry__reads_the_failed_again_and_nothing_else(
    http: httpx.Client,
    client: CocuClient,
    dataset: Dataset,
    tmp_path: Path,
    server: LocalServer,
) -> None:
    put(client, dataset, tmp_path / "good.tar", tar_of_samples({"a": "a dog"}))
    junk = put(client, dataset, tmp_path / "junk.tar", b"this is no archive")
    assert junk.state == "failed"
    before = next(client.datasets.uploads(dataset.id))
    retried = client.datasets.retry(dataset.id)
    assert (retried.uploads, retried.unsent) == (["junk.tar"], [])
    client.datasets.wait(dataset.id, timeout=60)
    good, again = client.datasets.uploads(dataset.id)
    assert good == before
    assert again.state == "failed"
    assert again.ordinal == (junk.ordinal or 0) + 1
    assert http.post("/v1/datasets/nowhere/retries").status_code == 404


def test_report__notes_what_was_guessed_and_how_a_table_is_written(
    client: CocuClient, dataset: Dataset, http: httpx.Client, tmp_path: Path
) -> None:
    members = {"a.jpg": picture(1), "a.txt": "the dog’s café".encode("cp1252")}
    members |= {"b.jpg": picture(2), "b.txt": "一只狗在草地上".encode("gb18030")}
    upload = put(client, dataset, tmp_path / "a.tar", tar_of(members))
    assert captions(client, dataset) == {"a": "the dog’s café", "b": "一只狗在草地上"}
    assert upload.notes == {"encoding_guessed: cp1252": 1, "encoding_guessed: gb18030": 1}
    put(client, dataset, tmp_path / "urls.csv", b"url;caption\r\nhttps://example.org/1.jpg;a dog\r\n")
    report = client.datasets.report(dataset.id)
    assert report.notes == upload.notes | {"table: separator ';', quoted cells, CRLF, utf-8": 1}
    lines = list(csv.reader(b"".join(client.datasets.report_csv(dataset.id)).decode().splitlines()))
    assert ["a.tar", "note", "encoding_guessed: gb18030", "1", "", "", ""] in lines


def test_a_table_of_pictures_on_this_machine(client: CocuClient, dataset: Dataset, tmp_path: Path) -> None:
    (tmp_path / "img").mkdir()
    for name in ("1", "2"):
        (tmp_path / "img" / f"{name}.jpg").write_bytes(picture(int(name)))
    table = "filepath\ttitle\nimg/1.jpg\tthe dog’s bed\nimg/2.jpg\ta\tcat\nimg/3.jpg\tgone\n"
    (tmp_path / "pairs.tsv").write_bytes(table.encode("cp1252"))
    client.datasets.upload(dataset.id, tmp_path / "pairs.tsv", options=UploadOptions(format="tsv"))
    client.datasets.wait(dataset.id, timeout=60)
    assert captions(client, dataset) == {"img/1": "the dog’s bed"}
    report = client.datasets.report(dataset.id)
    assert report.reasons == {"bad_row": 1, "missing_image": 1}
    assert report.notes["encoding_guessed: cp1252"] == 1
    details = [rejection.detail for rejection in client.datasets.rejections(dataset.id)]
    assert [detail.partition(":")[0] for detail in details] == ["pairs.tsv, line 3", "pairs.tsv, line 4"]
