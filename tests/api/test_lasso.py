"""A lasso selects the archives whose points it encloses, in lists, cards, counts and what is adjacent."""

from __future__ import annotations

import base64
from collections.abc import Mapping

import httpx
import numpy as np
import pytest
from tests.api.conftest import Curated
from tests.api.test_projections import Columns, points_of, projected
from tests.projections.test_polygon import Corner, encloses

from cocu.api.server import LocalServer
from cocu.client import CocuClient, InvalidInputError
from cocu.schemas import Sample

Named = Mapping[str, object]


@pytest.fixture(scope="module")
def projection(server: LocalServer, curated: Curated) -> Named:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        return projected(opened, curated.dataset.id)


def encoded(polygon: list[Corner]) -> str:
    return base64.urlsafe_b64encode(np.array(polygon, "<u2").tobytes()).decode().rstrip("=")


def polygons() -> list[list[Corner]]:
    """The whole map, nothing of it, and some that enclose a part of it."""
    random = np.random.default_rng(7)
    drawn = [random.integers(0, 65_536, (count, 2)) for count in (3, 4, 7, 12, 30, 64)]
    whole = [(0, 0), (65_535, 0), (65_535, 65_535), (0, 65_535)]
    return [whole, [(0, 0), (1, 0), (0, 1)], *([(int(x), int(y)) for x, y in corners] for corners in drawn)]


def keys_inside(samples: list[Sample], points: Columns, polygon: list[Corner]) -> list[str]:
    """The keys that a slow rule encloses, in the order of samples."""
    rows = {
        int(row)
        for x, y, row in zip(points["x"], points["y"], points["row"], strict=True)
        if encloses(polygon, int(x), int(y))
    }
    return [sample.key for sample in samples if sample.global_row in rows]


def test_lasso__selects_what_it_encloses_everywhere(
    http: httpx.Client, client: CocuClient, curated: Curated, projection: Named
) -> None:
    curation, points = curated.curation.id, points_of(http, projection)
    samples = list(client.datasets.samples(curated.dataset.id, order="row"))
    archives = {archive.key: archive for archive in client.archives.list(curation)}
    sizes = set()
    for polygon in polygons():
        filters = {"lasso": encoded(polygon), "projection": str(projection["id"])}
        inside = keys_inside(samples, points, polygon)
        sizes.add(len(inside))

        assert [archive.key for archive in client.archives.list(curation, **filters)] == inside  # type: ignore[arg-type]
        cards = client.archives.cards(curation, page_size=2, **filters)  # type: ignore[arg-type]
        assert [card.key for card in cards] == inside
        facets = client.archives.facets(curation, **filters)  # type: ignore[arg-type]
        assert facets.total == len(inside)
        dogs = [key for key in inside if "dog" in [entry.concept for entry in archives[key].concepts]]
        with_dog = client.archives.list(curation, concept="dog", **filters)  # type: ignore[arg-type]
        assert [archive.key for archive in with_dog] == dogs
        for place, key in enumerate(inside):
            adjacent = client.archives.adjacent(curation, key, **filters)  # type: ignore[arg-type]
            assert (adjacent.position, adjacent.total) == (place + 1, len(inside))
    assert len(sizes) > 2, "the polygons should enclose parts of the map"


@pytest.mark.parametrize(
    ("lasso", "problem"),
    [
        ("AAAA", "corners"),
        ("AAAAAAAAAAA", "corners"),
        ("AAAAAAAAAAAAAAAAA", "base64url"),
        ("AAAAAAAAAAAAAAAAAAA", "bytes"),
        ("A" * 343, "342"),
        ("äöü$%&/()=?AAAAAA", "base64url"),
        ("", "corners"),
    ],
)
def test_lasso__that_is_malformed_is_refused_with_a_sentence(
    http: httpx.Client, curated: Curated, projection: Named, lasso: str, problem: str
) -> None:
    params = {"lasso": lasso, "projection": str(projection["id"])}
    for path in ("archives", "facets"):
        answer = http.get(f"/v1/curations/{curated.curation.id}/{path}", params=params)

        assert answer.status_code == 422
        (error,) = answer.json()["errors"]
        assert error["field"] == "query.lasso"
        assert problem in error["problem"]


def test_lasso__belongs_to_a_projection_of_the_dataset(
    client: CocuClient, http: httpx.Client, curated: Curated, projection: Named
) -> None:
    curation, triangle = curated.curation.id, encoded([(0, 0), (9, 0), (0, 9)])

    with pytest.raises(InvalidInputError, match="projection"):
        client.archives.facets(curation, lasso=triangle)
    with pytest.raises(InvalidInputError, match="lasso"):
        client.archives.facets(curation, projection=str(projection["id"]))
    with pytest.raises(InvalidInputError, match="no such projection"):
        client.archives.facets(curation, lasso=triangle, projection="nothing")


def test_lasso__is_part_of_cursor_and_version(
    http: httpx.Client, curated: Curated, projection: Named
) -> None:
    url = f"/v1/curations/{curated.curation.id}/archives"
    whole, part = polygons()[0], polygons()[-1]
    params = {"lasso": encoded(whole), "projection": str(projection["id"]), "limit": "2"}
    first = http.get(url, params=params)
    other = {**params, "lasso": encoded(part)}

    assert http.get(url, params={**other, "cursor": first.json()["next"]}).status_code == 422
    assert http.get(url, params=other).headers["etag"] != first.headers["etag"]
    same = http.get(url, params=params, headers={"If-None-Match": first.headers["etag"]})
    assert same.status_code == 304
