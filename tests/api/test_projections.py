"""Maps of the images of a dataset: made once, the same for everybody, congruent with the files."""

from __future__ import annotations

import base64
import io
import math
import time
from collections.abc import Mapping
from pathlib import Path

import httpx
import numpy as np
import pyarrow as pa
import pytest
from numpy.typing import NDArray
from PIL import Image
from tests.api.conftest import Curated
from tests.api.listed_archives import WORDS, captions
from tests.local_platform import tar_of_samples
from typer.testing import CliRunner

from cocu.api.queries.map_columns import _BETWEEN
from cocu.api.server import LocalServer
from cocu.cli.application import app
from cocu.client import CocuClient, ConflictError, InvalidInputError, NotFoundError
from cocu.schemas import Archive

PATIENCE = 60.0

Columns = Mapping[str, NDArray[np.generic]]


@pytest.fixture(scope="module")
def projection(server: LocalServer, curated: Curated) -> dict[str, object]:
    """A completed projection of the curated dataset."""
    with httpx.Client(base_url=server.url, timeout=30) as http:
        return projected(http, curated.dataset.id)


def projected(http: httpx.Client, dataset: str, **request: object) -> dict[str, object]:
    answer = http.post(f"/v1/datasets/{dataset}/projections", json={"method": "pca", **request})
    deadline = time.monotonic() + PATIENCE
    while answer.json().get("state") != "completed":
        assert answer.status_code in (200, 202), answer.text
        assert time.monotonic() < deadline, answer.text
        time.sleep(0.05)
        answer = http.get(f"/v1/datasets/{dataset}/projections/{answer.json()['id']}")
    made: dict[str, object] = answer.json()
    return made


def read_arrow(answer: httpx.Response) -> Columns:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/vnd.apache.arrow.stream"
    (batch,) = list(pa.ipc.open_stream(answer.content))
    return {name: batch[name].to_numpy() for name in batch.schema.names}


def points_of(http: httpx.Client, projection: Mapping[str, object]) -> Columns:
    return read_arrow(http.get(f"/v1/datasets/{projection['dataset']}/projections/{projection['id']}/points"))


def test_projection__the_same_request_is_the_same_projection(
    http: httpx.Client, curated: Curated, projection: Mapping[str, object]
) -> None:
    again = http.post(f"/v1/datasets/{curated.dataset.id}/projections", json={"method": "pca"})

    assert again.status_code == 200
    assert again.json() == projection
    assert again.headers["location"].endswith(f"projections/{projection['id']}")
    listed = http.get(f"/v1/datasets/{curated.dataset.id}/projections").json()["items"]
    assert projection["id"] in [item["id"] for item in listed]


def test_points__are_every_sample_once_on_the_whole_grid(
    http: httpx.Client, curated: Curated, projection: Mapping[str, object]
) -> None:
    points = points_of(http, projection)

    assert {name: values.dtype for name, values in points.items()} == {
        "x": np.uint16, "y": np.uint16, "row": np.uint32, "region": np.uint8,
    }  # fmt: skip
    assert sorted(points["row"]) == list(range(curated.dataset.samples))
    extents = [int(points[axis].max()) - int(points[axis].min()) for axis in ("x", "y")]
    assert max(extents) == 65_535


def test_image__is_a_picture_of_the_points(http: httpx.Client, projection: Mapping[str, object]) -> None:
    answer = http.get(f"/v1/datasets/{projection['dataset']}/projections/{projection['id']}/image")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)))
    points = points_of(http, projection)

    assert picture.shape == (512, 512, 2)
    columns = points["x"].astype(int) * 512 // 65_536
    rows = 511 - points["y"].astype(int) * 512 // 65_536
    assert (picture[rows, columns, 1] > 0).all()
    assert (picture[..., 1] > 0).sum() <= 9 * len(points["x"])


def test_columns__say_what_the_archives_say(
    http: httpx.Client, client: CocuClient, curated: Curated, projection: Mapping[str, object]
) -> None:
    archives: list[Archive] = list(client.archives.list(curated.curation.id))
    rows = [client.datasets.sample(curated.dataset.id, archive.key).global_row for archive in archives]
    by_row = dict(zip(rows, archives, strict=True))
    params = {"projection": projection["id"], "columns": "gain,best_added,changed,concept:dogs,concept:cat"}
    columns = read_arrow(http.get(f"/v1/curations/{curated.curation.id}/columns", params=params))
    points = points_of(http, projection)

    for place, row in enumerate(points["row"].tolist()):
        archive = by_row[row]
        added = [concept for concept in archive.concepts if concept.added]
        assert columns["gain"][place] == len(added)
        best = max((concept.score for concept in added), default=float("nan"))
        np.testing.assert_allclose(columns["best_added"][place], best, rtol=1e-6)
        assert columns["changed"][place] == archive.changed
        for name, concept in (("concept:dogs", "dog"), ("concept:cat", "cat")):
            there = next((entry for entry in archive.concepts if entry.concept == concept), None)
            assert columns[name][place] == (0 if there is None else 1 + there.added)


@pytest.fixture(scope="module")
def large(client: CocuClient, tmp_path_factory: pytest.TempPathFactory, curated: Curated) -> Curated:
    """A dataset of three regions, whose archives are many enough to label them."""
    file = tmp_path_factory.mktemp("large") / "samples.tar"
    file.write_bytes(tar_of_samples(captions(0, 100)))
    dataset = client.datasets.create("with regions")
    client.datasets.upload(dataset.id, file)
    client.datasets.wait(dataset.id, timeout=60)
    curation = client.curations.create(dataset.id, vocabulary=curated.curation.vocabulary)
    return Curated(client.datasets.get(dataset.id), client.curations.wait(curation.id, timeout=120))


def test_regions__are_labelled_by_the_concepts_that_tell_them_from_the_others(
    client: CocuClient, large: Curated
) -> None:
    created = client.projections.create(large.dataset.id, method="pca")
    projection = client.projections.wait(large.dataset.id, created.id, timeout=60)
    points = client.projections.points(large.dataset.id, projection.id)
    rows = {sample.key: sample.global_row for sample in client.datasets.samples(large.dataset.id)}
    regions = dict(zip(points["row"].tolist(), points["region"].tolist(), strict=True))
    concepts: list[list[set[str]]] = [[] for _ in projection.regions]
    for archive in client.archives.list(large.curation.id):
        concepts[regions[rows[archive.key]]].append({entry.concept for entry in archive.concepts})

    assert [region.region for region in projection.regions] == list(range(3))
    assert [region.pictures for region in projection.regions] == [len(inside) for inside in concepts]
    assert projection.labels_of == large.curation.id
    every = [archive for inside in concepts for archive in inside]
    for region, inside in zip(projection.regions, concepts, strict=True):
        gains = {}
        for concept in set().union(*every):
            share = sum(concept in archive for archive in inside) / len(inside)
            overall = sum(concept in archive for archive in every) / len(every)
            if share * len(inside) >= 2 and share > overall:
                gains[concept] = share * math.log(share / overall)
        best = sorted(gains.values(), reverse=True)[:3]
        np.testing.assert_allclose([gains[concept] for concept in region.label], best, rtol=1e-9)
    assert any(region.label for region in projection.regions)


def test_regions__are_labelled_by_the_curation_that_is_named(
    client: CocuClient, http: httpx.Client, large: Curated, curated: Curated, projection: dict[str, object]
) -> None:
    (listed,) = (item for item in client.projections.list(large.dataset.id) if item.method == "pca")
    named = client.projections.get(large.dataset.id, listed.id, curation=large.curation.id)

    assert listed.regions == []
    assert named == client.projections.get(large.dataset.id, listed.id)
    with pytest.raises(InvalidInputError, match="another dataset"):
        client.projections.get(large.dataset.id, listed.id, curation=curated.curation.id)
    with pytest.raises(NotFoundError):
        client.projections.get(large.dataset.id, str(projection["id"]))


def test_columns__come_by_the_client_too(
    client: CocuClient, curated: Curated, projection: dict[str, object]
) -> None:
    columns = client.curations.columns(curated.curation.id, str(projection["id"]), ["gain", "concept:dog"])

    assert {name: values.dtype for name, values in columns.items()} == {
        "gain": np.uint16, "concept:dog": np.uint8,
    }  # fmt: skip


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ("gains", "no column 'gains'"),
        ("gain,", "no column"),
        ("gain,gain", "twice"),
        ("concept:unicorn", "list the concepts"),
        ("concept:", "list the concepts"),
        (",".join(["gain", "best_added", "changed", *(f"concept:{word}" for word in WORDS)]), "at most 8"),
    ],
)
def test_columns__that_cannot_be_given_are_refused_with_a_sentence(
    http: httpx.Client, curated: Curated, projection: dict[str, object], columns: str, problem: str
) -> None:
    params = {"projection": str(projection["id"]), "columns": columns}
    answer = http.get(f"/v1/curations/{curated.curation.id}/columns", params=params)

    assert answer.status_code == 422
    (error,) = answer.json()["errors"]
    assert error["field"] == "query.columns"
    assert problem in error["problem"]


def test_columns__are_of_a_projection_of_the_same_dataset(
    client: CocuClient, large: Curated, projection: dict[str, object]
) -> None:
    with pytest.raises(InvalidInputError, match="another dataset"):
        client.curations.columns(large.curation.id, str(projection["id"]), ["gain"])
    with pytest.raises(InvalidInputError, match="no such projection"):
        client.curations.columns(large.curation.id, "nothing", ["gain"])


def test_what_is_immutable_is_not_sent_twice(
    http: httpx.Client, curated: Curated, projection: dict[str, object]
) -> None:
    folder = f"/v1/datasets/{projection['dataset']}/projections/{projection['id']}"
    columns = f"/v1/curations/{curated.curation.id}/columns?columns=gain&projection={projection['id']}"
    for url in (f"{folder}/points", f"{folder}/image", columns):
        first = http.get(url)
        again = http.get(url, headers={"If-None-Match": first.headers["etag"]})

        assert "immutable" in first.headers["cache-control"]
        assert (again.status_code, again.content) == (304, b"")


def test_create__refuses_what_it_does_not_know(http: httpx.Client, curated: Curated) -> None:
    url = f"/v1/datasets/{curated.dataset.id}/projections"
    requests: list[dict[str, object]] = [
        {"method": "tsne"}, {"seed": -1}, {"seed": 2**32}, {"encoder": "nobody"}, {"more": 1}, {"seed": "1"},
    ]  # fmt: skip
    for request in requests:
        assert http.post(url, json=request).status_code == 422, request


def test_create__of_a_dataset_that_is_not_curated_says_what_to_do(
    client: CocuClient, http: httpx.Client
) -> None:
    empty = client.datasets.create("nothing to show")
    with pytest.raises(ConflictError, match="curate the dataset"):
        client.projections.create(empty.id, method="pca")


def test_columns__of_concepts_with_commas_are_told_apart() -> None:
    assert _BETWEEN.split("concept:salt, pepper,gain,concept:a,b") == [
        "concept:salt, pepper", "gain", "concept:a,b",
    ]  # fmt: skip


def test_command_line__creates_lists_and_shows(server: LocalServer, large: Curated, tmp_path: Path) -> None:
    def run(*arguments: str) -> str:
        outcome = CliRunner().invoke(app, [*arguments, "--server", server.url])
        assert outcome.exit_code == 0, outcome.output
        return outcome.stdout

    projection = run("projection", "create", large.dataset.name, "--method", "pca").split()[0]
    assert projection in run("projection", "list", large.dataset.id)
    picture = tmp_path / "map.png"
    shown = run("projection", "show", large.dataset.id, projection, "--image", str(picture))
    assert "pictures" in shown
    with Image.open(picture) as opened:
        assert opened.size == (512, 512)
    counted = run(
        *("archive", "facets", large.curation.id, "--projection", projection),
        *("--lasso", encoded_corners([(0, 0), (65_535, 0), (65_535, 65_535), (0, 65_535)])),
    )
    assert "archives" in counted


def encoded_corners(corners: list[tuple[int, int]]) -> str:
    return base64.urlsafe_b64encode(np.array(corners, "<u2").tobytes()).decode().rstrip("=")
