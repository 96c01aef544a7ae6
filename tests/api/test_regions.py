"""A region of a map selects the archives of its points, alone and within a lasso."""

from __future__ import annotations

from collections.abc import Mapping

import httpx
import pytest
from tests.api.conftest import Curated
from tests.api.test_lasso import encoded
from tests.api.test_projections import points_of, projected

from cocu.api.server import LocalServer
from cocu.client import CocuClient, InvalidInputError

Named = Mapping[str, object]
WHOLE = encoded([(0, 0), (65_535, 0), (65_535, 65_535), (0, 65_535)])


@pytest.fixture(scope="module")
def projection(server: LocalServer, curated: Curated) -> Named:
    with httpx.Client(base_url=server.url, timeout=30) as opened:
        return projected(opened, curated.dataset.id)


def test_region__selects_its_points_everywhere(
    http: httpx.Client, client: CocuClient, curated: Curated, projection: Named
) -> None:
    curation, points, name = curated.curation.id, points_of(http, projection), str(projection["id"])
    samples = list(client.datasets.samples(curated.dataset.id, order="row"))
    counted = 0
    for region in sorted(set(points["region"].tolist())):
        rows = set(points["row"][points["region"] == region].tolist())
        keys = [sample.key for sample in samples if sample.global_row in rows]
        counted += len(keys)
        listed = client.archives.list(curation, projection=name, region=region)
        assert [archive.key for archive in listed] == keys
        assert client.archives.facets(curation, projection=name, region=region).total == len(keys)
        adjacent = client.archives.adjacent(curation, keys[0], projection=name, region=region)
        assert (adjacent.position, adjacent.total) == (1, len(keys))
    assert counted == len(samples)


def test_region__and_a_lasso_select_where_both_are(
    http: httpx.Client, client: CocuClient, curated: Curated, projection: Named
) -> None:
    curation, points, name = curated.curation.id, points_of(http, projection), str(projection["id"])
    middle = int(points["x"].astype(int).mean())
    left = encoded([(0, 0), (middle, 0), (middle, 65_535), (0, 65_535)])
    of_region = points["region"] == 0
    both = int((of_region & (points["x"] < middle) & (points["y"] < 65_535)).sum())
    counted = client.archives.facets(curation, projection=name, region=0, lasso=left)
    assert counted.total == both


def test_region_that_there_is_not__is_empty(client: CocuClient, curated: Curated, projection: Named) -> None:
    name = str(projection["id"])
    assert client.archives.facets(curated.curation.id, projection=name, region=255).total == 0


def test_region__needs_a_projection(http: httpx.Client, client: CocuClient, curated: Curated) -> None:
    with pytest.raises(InvalidInputError, match="projection"):
        client.archives.facets(curated.curation.id, region=0)
    for region in ("-1", "256", "x"):
        path = f"/v1/curations/{curated.curation.id}/facets"
        assert http.get(path, params={"region": region}).status_code == 422


def test_region__is_part_of_cursor_and_version(
    http: httpx.Client, curated: Curated, projection: Named
) -> None:
    url = f"/v1/curations/{curated.curation.id}/archives"
    params = {"lasso": WHOLE, "projection": str(projection["id"]), "limit": "1"}
    first = http.get(url, params=params)
    other = {**params, "region": "0"}
    assert http.get(url, params=other).headers["etag"] != first.headers["etag"]
    assert http.get(url, params={**other, "cursor": first.json()["next"]}).status_code == 422
