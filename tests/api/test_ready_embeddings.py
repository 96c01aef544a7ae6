"""Ready embeddings: uploaded over HTTP, and curated as if the encoder had just run."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import pyarrow.parquet as pq
import pytest
from google.protobuf.proto import parse_length_prefixed
from tests.local_platform import running, tar_of, tar_of_samples
from tests.pipeline.tiny_encoder import DIM, write_tiny_encoder
from tests.ready_embeddings import Files, pair, partitioned, write
from typer.testing import CliRunner

from cocu.api.server import LocalServer
from cocu.batches.messages import batches_pb2 as messages
from cocu.cli.application import app
from cocu.client import CocuClient
from cocu.client.exceptions import ConflictError, NotFoundError, NothingToUploadError
from cocu.schemas import Curation, Dataset, Upload, UploadOptions

WORDS = ("dog", "cat", "bench", "tree", "car", "boat")
CAPTIONS = {
    f"{number:05d}": f"a {WORDS[number % 6]} and a {WORDS[(number // 2) % 6]}" for number in range(23)
}
READY = UploadOptions(encoder="tiny")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    """A platform with two encoders and small shards."""
    folder = tmp_path_factory.mktemp("platform")
    write_tiny_encoder(folder / "encoders" / "tiny")
    write_tiny_encoder(folder / "encoders" / "another", name="another", seed=8)
    with running(folder / "data", folder / "encoders", samples_per_shard=8) as started:
        yield started


@pytest.fixture(scope="module")
def client(server: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(server.url) as opened:
        yield opened


@pytest.fixture(scope="module")
def vocabulary(client: CocuClient, tmp_path_factory: pytest.TempPathFactory) -> str:
    file = tmp_path_factory.mktemp("vocabulary") / "things.txt"
    file.write_text("\n".join(WORDS))
    return client.vocabularies.from_file(file).id


def vectors(count: int = len(CAPTIONS), *, seed: int = 3) -> np.ndarray:
    """Unit vectors, all different."""
    made_ND = np.random.default_rng(seed).standard_normal((count, DIM)).astype(np.float32)
    return made_ND / np.linalg.norm(made_ND, axis=1, keepdims=True)


def sent(
    client: CocuClient, files: Files, folder: Path, name: str, options: UploadOptions = READY
) -> Dataset:
    dataset = client.datasets.create(name)
    file = folder / f"{name}.tar"
    file.write_bytes(tar_of(files))
    client.datasets.upload(dataset.id, file, options=options)
    return client.datasets.wait(dataset.id, timeout=60)


def curate(client: CocuClient, dataset: Dataset, vocabulary: str, encoder: str = "tiny") -> Curation:
    curation = client.curations.create(dataset.id, vocabulary=vocabulary, encoder=encoder)
    return client.curations.wait(curation.id, timeout=120)


def only_upload(client: CocuClient, dataset: Dataset) -> Upload:
    (upload,) = client.datasets.uploads(dataset.id)
    return upload


@pytest.fixture(scope="module")
def ready(
    client: CocuClient, vocabulary: str, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Dataset, Curation]:
    folder = tmp_path_factory.mktemp("ready")
    dataset = sent(client, partitioned(vectors(), CAPTIONS, rows=10), folder, "ready")
    return dataset, curate(client, dataset, vocabulary)


def test_samples_without_pictures_are_curated(client: CocuClient, ready: tuple[Dataset, Curation]) -> None:
    dataset, curation = ready
    upload = only_upload(client, dataset)
    assert (upload.format, upload.accepted) == ("clip-retrieval", len(CAPTIONS))
    assert upload.columns == {"key": "image_path", "caption": "caption"}
    assert (dataset.samples, dataset.shards) == (len(CAPTIONS), 3)
    assert curation.state == "completed"
    assert client.datasets.report(dataset.id).failed == 0
    archive = client.archives.get(curation.id, "00000")
    assert archive.neighbours
    assert (archive.image, archive.thumbnail) == (None, None)
    assert {sample.key: sample.caption for sample in client.datasets.samples(dataset.id)} == CAPTIONS


def test_a_sample_without_its_picture_is_shown_as_that(
    client: CocuClient, http: httpx.Client, ready: tuple[Dataset, Curation]
) -> None:
    dataset, _ = ready
    sample = client.datasets.sample(dataset.id, "00003")
    assert (sample.bytes, sample.sha256, sample.width, sample.height) == (0, None, None, None)
    assert (sample.image, sample.thumbnail) == (None, None)
    for query in ("", "?size=96"):
        answer = http.get(f"/v1/datasets/{dataset.id}/samples/00003/image{query}")
        assert answer.status_code == 404
        assert answer.headers["content-type"].startswith("application/problem+json")
        assert "without its image" in answer.json()["detail"]


def test_search_finds_them_by_sample_and_by_text(client: CocuClient, ready: tuple[Dataset, Curation]) -> None:
    dataset, curation = ready
    hits = list(client.search.by_sample(dataset.id, "00003", page_size=5))
    cosines = vectors() @ vectors()[3]
    cosines[3] = -1
    assert [hit.key for hit in hits][:3] == [f"{row:05d}" for row in np.argsort(-cosines)[:3]]
    assert {hit.image for hit in hits} == {None}
    assert len(list(client.search.by_text(dataset.id, "a dog", curation=curation.id))) == len(CAPTIONS)


@pytest.mark.parametrize("size", [None, 32])
def test_batches_have_null_for_images(
    client: CocuClient, ready: tuple[Dataset, Curation], size: int | None
) -> None:
    _, curation = ready
    batches = list(client.batches.stream(curation.id, global_batch=10, size=size))
    assert sorted(key for batch in batches for key in batch.keys) == list(CAPTIONS)
    assert {image for batch in batches for image in batch.images} == {None}
    assert {format for batch in batches for format in batch.formats} == {None}
    assert all(len(texts) == 3 for batch in batches for texts in batch.texts)


@pytest.mark.parametrize("accept", ["application/x-protobuf", "application/x-tar"])
def test_other_forms_of_batches_leave_images_out(
    http: httpx.Client, ready: tuple[Dataset, Curation], accept: str
) -> None:
    _, curation = ready
    answer = http.get(f"/v1/curations/{curation.id}/batches?global_batch=64", headers={"Accept": accept})
    assert answer.status_code == 200
    if accept == "application/x-tar":
        with tarfile.open(fileobj=io.BytesIO(answer.content)) as tar:
            endings = [name.rpartition(".")[2] for name in tar.getnames()]
        assert {ending: endings.count(ending) for ending in endings} == {"txt": 23, "json": 23}
    else:
        message = parse_length_prefixed(messages.Batch, io.BytesIO(answer.content))
        assert [(sample.image, sample.format) for sample in message.samples] == [(b"", "")] * 23


def test_exports_have_captions_and_no_images(
    client: CocuClient, ready: tuple[Dataset, Curation], tmp_path: Path
) -> None:
    _, curation = ready
    for format in ("webdataset", "released", "parquet", "jsonl", "huggingface"):
        client.curations.export(curation.id, tmp_path / format, format=format)
    texts = [file.read_text() for file in (tmp_path / "jsonl").rglob("*.jsonl")]
    rows = [json.loads(line) for text in texts for line in text.splitlines()]
    assert {row["key"]: row["caption"] for row in rows} == CAPTIONS
    assert {(row["width"], row["height"], row["sha256"]) for row in rows} == {(None, None, None)}
    assert {row["metadata"]["url"] for row in rows} == {f"https://example.org/{key}" for key in CAPTIONS}
    for folder in ("parquet", "huggingface"):
        images = [
            image
            for file in (tmp_path / folder).rglob("*.parquet")
            for image in pq.read_table(file)["image"].to_pylist()
        ]
        assert images == [None] * len(CAPTIONS)
    for folder in ("webdataset", "released"):
        names: list[str] = []
        for file in sorted((tmp_path / folder).rglob("*.tar")):
            with tarfile.open(file) as tar:
                names += tar.getnames()
        assert {name.rpartition(".")[2] for name in names} <= {"txt", "json"}
        assert len([name for name in names if name.endswith(".txt")]) == len(CAPTIONS)


def test_a_list_of_uids_needs_uids(client: CocuClient, vocabulary: str, tmp_path: Path) -> None:
    columns = {"uid": [f"{number:032x}" for number in range(3)], "caption": ["a dog"] * 3}
    named = sent(client, pair(0, vectors(3), columns), tmp_path, "with uids")
    client.curations.export(curate(client, named, vocabulary).id, tmp_path / "uids", format="datacomp")
    assert np.load(tmp_path / "uids" / "uids.npy").tolist() == [(0, 0), (0, 1), (0, 2)]
    unnamed = sent(client, partitioned(vectors(3), first(3), rows=3), tmp_path, "without uids")
    with pytest.raises(ConflictError, match="without a uid"):
        client.curations.export(curate(client, unnamed, vocabulary).id, tmp_path / "no", format="datacomp")


def test_another_encoder_fails_on_them_with_a_reason(
    client: CocuClient, vocabulary: str, tmp_path: Path
) -> None:
    """It embeds only samples with images; the encoder of the ready embeddings has all samples."""
    dataset = sent(client, partitioned(vectors(5), first(5), rows=3), tmp_path, "both kinds")
    images = tmp_path / "images.tar"
    images.write_bytes(tar_of_samples({f"image-{number}": "a dog" for number in range(6)}))
    client.datasets.upload(dataset.id, images)
    client.datasets.wait(dataset.id, timeout=60)
    own = curate(client, dataset, vocabulary)
    assert client.datasets.report(dataset.id).failures == {}
    assert sum(len(archive.neighbours) > 0 for archive in client.archives.list(own.id)) == 11
    other = curate(client, dataset, vocabulary, "another")
    assert other.state == "completed"
    assert client.datasets.report(dataset.id).failures == {"no_picture": 5}
    assert client.datasets.retry(dataset.id).samples == 0
    archives = {archive.key: archive for archive in client.archives.list(other.id)}
    assert {key for key, archive in archives.items() if not archive.neighbours} == set(first(5))
    assert archives["image-0"].image is not None
    (batch,) = client.batches.stream(own.id, global_batch=64)
    with_images = [key for key, image in zip(batch.keys, batch.images, strict=True) if image is not None]
    assert sorted(with_images) == [f"image-{number}" for number in range(6)]


def test_a_dataset_without_any_picture_ends_for_another_encoder_too(
    client: CocuClient, ready: tuple[Dataset, Curation], vocabulary: str
) -> None:
    dataset, _ = ready
    other = client.curations.create(dataset.id, vocabulary=vocabulary, encoder="another")
    ended = client.curations.wait(other.id, timeout=120)
    assert ended.state == "completed"
    assert client.datasets.report(dataset.id).failures == {"no_picture": len(CAPTIONS)}


def test_keys_that_are_taken_by_the_same_are_told_and_by_others_give_way(
    client: CocuClient, tmp_path: Path
) -> None:
    dataset = sent(client, partitioned(vectors(4), first(4), rows=4), tmp_path, "twice")
    for number, (embeddings, total) in enumerate(((vectors(4), 4), (vectors(4, seed=9), 8))):
        more = tmp_path / f"more-{number}.tar"
        more.write_bytes(tar_of(partitioned(embeddings, first(4), rows=4)))
        client.datasets.upload(dataset.id, more, options=READY)
        client.datasets.wait(dataset.id, timeout=60)
        assert client.datasets.report(dataset.id).reasons == {"duplicate_key": 4}
        assert client.datasets.get(dataset.id).samples == total


@pytest.mark.parametrize(
    ("files", "detail"),
    [
        (pair(0, vectors(3), {"image_path": ["a", "b"], "caption": ["a", "b"]}), "3 rows"),
        (pair(0, np.ones((1, 3)), {"image_path": ["a"], "caption": ["a"]}), "3 dimensions"),
        (pair(0, vectors(1), {"image_path": ["a"], "words": ["a"]}), "no column of captions"),
    ],
)
def test_what_does_not_belong_together_is_refused_as_a_whole(
    client: CocuClient, tmp_path: Path, files: Files, detail: str
) -> None:
    dataset = sent(client, files, tmp_path, f"wrong {detail}")
    upload = only_upload(client, dataset)
    assert (upload.state, upload.accepted) == ("failed", 0)
    assert detail in (upload.detail or "")
    assert dataset.samples == 0


def test_an_unknown_encoder_is_refused_before_anything_is_stored(
    client: CocuClient, http: httpx.Client
) -> None:
    dataset = client.datasets.create("of nobody's encoder")
    for call, path in (("PUT", "uploads/a.tar"), ("POST", "uploads")):
        headers = {"Tus-Resumable": "1.0.0", "Upload-Length": "9", "Upload-Metadata": "filename YQ=="}
        answer = http.request(call, f"/v1/datasets/{dataset.id}/{path}?encoder=nothing", headers=headers)
        assert answer.status_code == 422
        assert "another, tiny" in answer.text
    assert http.put(f"/v1/datasets/{dataset.id}/uploads/a.zip?format=clip-retrieval").status_code == 422
    assert list(client.datasets.uploads(dataset.id)) == []


def test_deletion_takes_them_with_it(client: CocuClient, vocabulary: str, tmp_path: Path) -> None:
    dataset = sent(client, partitioned(vectors(6), first(6), rows=4), tmp_path, "to be deleted")
    curate(client, dataset, vocabulary)
    client.datasets.delete(dataset.id)
    with pytest.raises(NotFoundError):
        client.datasets.get(dataset.id)


def test_a_zip_does_as_well(client: CocuClient, tmp_path: Path) -> None:
    file = tmp_path / "ready.zip"
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in partitioned(vectors(5), first(5), rows=3).items():
            archive.writestr(f"laion/{name}", data)
    dataset = client.datasets.create("zipped")
    client.datasets.upload(dataset.id, file, options=READY, resumable=True)
    assert client.datasets.wait(dataset.id, timeout=60).samples == 5


def test_the_command_line_takes_the_folder(client: CocuClient, server: LocalServer, tmp_path: Path) -> None:
    folder = write(partitioned(vectors(), CAPTIONS, rows=9), tmp_path / "laion")
    sent_with = ["dataset", "upload", "from the command line", str(folder), "--server", server.url]
    refused = CliRunner().invoke(app, sent_with)
    assert refused.exit_code != 0
    done = CliRunner().invoke(app, [*sent_with, "--encoder", "tiny"], catch_exceptions=False)
    assert done.exit_code == 0, done.output
    dataset = done.stdout.split()[-1]
    assert client.datasets.wait(dataset, timeout=60).samples == len(CAPTIONS)
    assert [upload.name for upload in client.datasets.uploads(dataset)] == [
        f"laion-{number:05d}.tar" for number in range(3)
    ]


def test_a_folder_whose_files_stand_alone_is_not_sent(client: CocuClient, tmp_path: Path) -> None:
    folder = write(partitioned(vectors(4), first(4), rows=2), tmp_path / "laion")
    (folder / "metadata" / "metadata_1.parquet").unlink()
    with pytest.raises(NothingToUploadError, match="number 1"):
        client.datasets.upload("any", folder, options=READY)


def first(count: int) -> dict[str, str]:
    return dict(list(CAPTIONS.items())[:count])


@pytest.fixture
def http(server: LocalServer) -> Iterator[httpx.Client]:
    """A plain HTTP client, for requests that the typed client would never send."""
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        yield opened
