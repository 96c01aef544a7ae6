"""The map without a browser: what the page says of regions and selections is what the points say."""

from __future__ import annotations

import base64
import math
import re
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import urljoin, urlsplit

import httpx
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from starlette.datastructures import QueryParams
from tests.dashboard.page_document import Element, PageDocument
from tests.dashboard.shown_platform import TIMEOUT, Shown
from tests.dashboard.test_pages import check_page, page_at
from tests.local_platform import tar_of_samples

from cocu.client import CurationFailedError
from cocu.client.projections import Columns
from cocu.dashboard.links import MAX_CORNERS, SIDE, MapQuery
from cocu.dashboard.pages.map import CATEGORIES, COLOURED, coloured
from cocu.schemas import Curation, Parameters, Projection, Region

Corners = Sequence[tuple[int, int]]
LASSO: Corners = ((9000, 12000), (60000, 20000), (41000, 33000), (52000, 61000), (15000, 50000))
COORDINATES = st.integers(0, SIDE - 1)


def packed(corners: Corners) -> str:
    return base64.urlsafe_b64encode(np.array(corners, "<u2").tobytes()).decode().rstrip("=")


def inside(corners: Corners, x: int, y: int) -> bool:
    """Point in polygon, corner by corner, in whole numbers."""
    answer = False
    for (x1, y1), (x2, y2) in zip(corners, [*corners[1:], corners[0]], strict=True):
        if (y1 > y) != (y2 > y):
            side = (x - x1) * (y2 - y1) - (x2 - x1) * (y - y1)
            answer ^= side < 0 if y2 > y1 else side > 0
    return answer


@pytest.fixture(scope="module")
def projection(shown: Shown) -> Projection:
    newest = next(shown.client.projections.list(shown.dataset.id))
    return shown.client.projections.get(shown.dataset.id, newest.id, curation=shown.curation.id)


@pytest.fixture(scope="module")
def points(shown: Shown, projection: Projection) -> Columns:
    return shown.client.projections.points(shown.dataset.id, projection.id)


@pytest.fixture(scope="module")
def enclosed(points: Columns) -> NDArray[np.bool_]:
    places = zip(points["x"].tolist(), points["y"].tolist(), strict=True)
    return np.array([inside(LASSO, x, y) for x, y in places])


def region_rows(page: PageDocument) -> list[tuple[Element, list[str]]]:
    """The rows of the table of regions with the texts of their cells."""
    rows = [row for row in page.all("tr") if "data-region" in row.attributes]
    return [(row, [cell.text for cell in page.all("td") if row in cell.around]) for row in rows]


def test_regions__are_those_of_the_projection(
    shown: Shown, http: httpx.Client, projection: Projection, points: Columns
) -> None:
    page = page_at(http, shown.kinds["map"])
    counts = Counter(points["region"].tolist())
    shown_rows = {
        int(row.attributes["data-region"]): (cells[1], int(cells[2].replace("\u202f", "")))
        for row, cells in region_rows(page)
    }
    assert shown_rows == {
        region.region: (" · ".join(region.label), counts[region.region]) for region in projection.regions
    }
    assert sum(counts.values()) == shown.curation.samples
    assert all(name for name, _ in shown_rows.values())


def test_addresses_for_the_script__answer_with_columns(
    shown: Shown, http: httpx.Client, projection: Projection
) -> None:
    page = page_at(http, shown.kinds["map"])
    script = page.first("div", id="map").attributes
    base = f"{shown.server.url}{shown.kinds['map']}"
    for address in (script["data-points"], f"{script['data-columns']}&columns=gain", script["data-image"]):
        assert http.get(urljoin(base, address)).status_code == 200
    rows = http.get(urljoin(base, f"{script['data-samples']}?rows=3")).json()["items"]
    assert [row["global_row"] for row in rows] == [3]
    key = rows[0]["key"]
    assert http.get(urljoin(base, f"{script['data-archives']}/{key}")).status_code == 200
    assert http.get(urljoin(base, f"{script['data-pages']}/{key}")).status_code == 200


def test_page__and_all_it_loads_are_sixty_kilobytes_at_most(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, shown.kinds["map"])
    base = f"{shown.server.url}{shown.kinds['map']}"
    waiting = [base, *(urljoin(base, link.attributes["href"]) for link in page.all("link", rel="stylesheet"))]
    waiting += [urljoin(base, script.attributes["src"]) for script in page.all("script")]
    loaded: dict[str, int] = {}
    while waiting:
        address = waiting.pop()
        answer = http.get(address)
        assert answer.status_code == 200, address
        loaded[address] = answer.num_bytes_downloaded
        if address.endswith(".js"):
            imported = re.findall(r'^import .* from "(\./.+)";$', answer.text, re.MULTILINE)
            waiting += [urljoin(address, name) for name in imported if urljoin(address, name) not in loaded]
    assert len(loaded) >= 12
    assert sum(loaded.values()) <= 60_000, loaded


def test_lasso__says_how_many_it_encloses_and_leads_to_them(
    shown: Shown, http: httpx.Client, points: Columns, enclosed: NDArray[np.bool_]
) -> None:
    count = int(enclosed.sum())
    assert 10 < count < len(enclosed) - 10
    page = page_at(http, f"{shown.kinds['map']}?lasso={packed(LASSO)}")
    check_page(page)
    assert page.first("span", id="selected-total").text == str(count)
    rows = sorted(points["row"][enclosed].tolist())
    keys = {sample.key for sample in shown.client.datasets.samples_of_rows(shown.dataset.id, rows)}
    thumbs = [link for link in page.all("a") if any("thumbs" in outer.classes for outer in link.around)]
    assert len(thumbs) == 6
    assert {urlsplit(link.attributes["href"]).path.rsplit("/", 1)[1] for link in thumbs} <= keys

    address = urljoin(f"{shown.server.url}{shown.kinds['map']}", as_grid(page))
    grid = page_at(http, address)
    assert grid.first("span", id="total").text == f"{count} of {shown.curation.samples}"
    chip = next(link for link in grid.all("a", class_="chip") if "lasso" in link.text)
    everything = page_at(http, urljoin(address, chip.attributes["href"]))
    assert everything.first("span", id="total").text.startswith(f"{shown.curation.samples} of")
    again = page_at(http, urljoin(address, grid.first("a", id="to-map").attributes["href"]))
    assert again.first("span", id="selected-total").text == str(count)


def as_grid(page: PageDocument) -> str:
    return next(link for link in page.all("a", class_="button") if link.text == "As grid").attributes["href"]


def test_region__is_selected_by_its_link(shown: Shown, http: httpx.Client, points: Columns) -> None:
    base = f"{shown.server.url}{shown.kinds['map']}"
    page = page_at(http, base)
    row, _ = region_rows(page)[1]
    link = next(link for link in page.all("a", class_="name") if row in link.around)
    selected = page_at(http, urljoin(base, link.attributes["href"]))
    count = int((points["region"] == int(row.attributes["data-region"])).sum())
    assert selected.first("span", id="selected-total").text == str(count)
    current = [row for row, _ in region_rows(selected) if "aria-current" in row.attributes]
    assert [row.attributes["data-region"] for row in current] == [row.attributes["data-region"]]
    grid = page_at(http, urljoin(base, as_grid(selected)))
    assert grid.first("span", id="total").text.startswith(f"{count} of")


def test_facets_of_a_selection__count_within_it(
    shown: Shown, http: httpx.Client, points: Columns, enclosed: NDArray[np.bool_]
) -> None:
    page = page_at(http, f"{shown.kinds['map']}?lasso={packed(LASSO)}")
    facet = next(link for link in page.all("a") if any("top-here" in o.classes for o in link.around))
    name, archives = facet.text.rsplit(" ", 1)
    rows = sorted(points["row"][enclosed].tolist())
    samples = shown.client.datasets.samples_of_rows(shown.dataset.id, rows)
    archived = [shown.client.archives.get(shown.curation.id, sample.key) for sample in samples]
    having = [item for item in archived if name in {concept.concept for concept in item.concepts}]
    assert len(having) == int(archives)


def test_without_a_projection__the_page_makes_one(shown: Shown, http: httpx.Client) -> None:
    path = f"/curations/{shown.hostile.id}/map"
    page = page_at(http, path)
    check_page(page)
    assert page.all("div", id="map") == []
    form = page.first("form", method="post")
    target = urljoin(f"{shown.server.url}{path}", form.attributes["action"])
    assert urlsplit(target).path == path
    answer = http.post(target, data={"method": "pca"}, headers={"Origin": shown.server.url})
    assert answer.status_code == 303
    identifier = QueryParams(urlsplit(answer.headers["location"]).query)["projection"]
    check_page(page_at(http, answer.headers["location"]))
    shown.client.projections.wait(shown.hostile_dataset.id, identifier, timeout=TIMEOUT)
    made = page_at(http, path)
    check_page(made)
    assert identifier in made.first("div", id="map").attributes["data-points"]


def grown(shown: Shown, name: str, folder: Path) -> tuple[Curation, Curation, str]:
    """Curations of a dataset before and after it grew, and the only map, of the dataset as it is now."""
    dataset = shown.client.datasets.create(name).id
    curations = []
    for first, count in ((0, 4), (4, 3)):
        file = folder / f"{first}.tar"
        captions = {f"key{place}": f"a dog beside {place} cats" for place in range(first, first + count)}
        file.write_bytes(tar_of_samples(captions, first_seed=first))
        shown.client.datasets.upload(dataset, file)
        shown.client.datasets.wait(dataset, timeout=TIMEOUT)
        curation = shown.client.curations.create(dataset)
        curations.append(shown.client.curations.wait(curation.id, timeout=TIMEOUT))
    projection = shown.client.projections.create(dataset, method="pca")
    shown.client.projections.wait(dataset, projection.id, timeout=TIMEOUT)
    return curations[0], curations[1], projection.id


def test_map_of_other_samples__is_named_so(shown: Shown, http: httpx.Client, tmp_path: Path) -> None:
    before, after, projection = grown(shown, "grown for a map", tmp_path)
    page = page_at(http, f"/curations/{after.id}/map")
    assert page.all("div", id="other-samples") == []
    other = page_at(http, f"/curations/{before.id}/map")
    check_page(other)
    assert projection in other.first("div", id="map").attributes["data-points"]
    assert "does not show the pictures of the curation" in other.first("div", id="other-samples").text
    assert page.all("div", id="without-place") == other.all("div", id="without-place") == []


def test_map__is_made_by_a_method_that_the_platform_has(
    shown: Shown, http: httpx.Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "umap", None)
    path = f"/curations/{shown.other.id}/map"
    sent = {"method": "umap"}
    answer = http.post(path, data=sent, headers={"Origin": shown.server.url})
    identifier = QueryParams(urlsplit(answer.headers["location"]).query)["projection"]

    assert shown.client.projections.get(shown.dataset.id, identifier).method == "pca"


def test_pictures_without_a_place__are_counted(shown: Shown, projection: Projection) -> None:
    partial = projection.model_copy(update={"samples": projection.samples + 5, "left_out": 3})
    assert partial.without_place == 5
    assert projection.without_place == 0


def test_curation_that_is_not_completed__has_no_map(shown: Shown, http: httpx.Client) -> None:
    curation = shown.client.curations.create(shown.dataset.id, parameters=Parameters(neighbours=3))
    shown.client.curations.cancel(curation.id)
    with pytest.raises(CurationFailedError):
        shown.client.curations.wait(curation.id, timeout=TIMEOUT)
    page = page_at(http, f"/curations/{curation.id}/map")
    check_page(page)
    assert page.all("div", id="map") == []


@pytest.mark.parametrize(
    "query",
    ["lasso=AAAA", "lasso=%00", "region=x", "view=1-2", "view=70000-1-5", "color=red", "color=concept:"],
)
def test_malformed_parameters__give_the_map_with_a_note(shown: Shown, http: httpx.Client, query: str) -> None:
    page = page_at(http, f"{shown.kinds['map']}?{query}")
    check_page(page)
    assert len([div for div in page.all("div", role="status") if div.text]) == 1
    assert region_rows(page)


@pytest.mark.parametrize("query", ["region=255", "color=concept:no+such+thing", "unknown=1"])
def test_what_is_not_there__is_no_error(shown: Shown, http: httpx.Client, query: str) -> None:
    check_page(page_at(http, f"{shown.kinds['map']}?{query}"))


def test_unknown_projection__leads_to_the_newest(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, f"{shown.kinds['map']}?projection=nothing")
    check_page(page)
    assert page.all("div", id="map") == []
    link = next(link for link in page.all("a") if link.text == "The newest map")
    assert http.get(urljoin(f"{shown.server.url}{shown.kinds['map']}", link.attributes["href"])).is_success


@st.composite
def map_queries(draw: st.DrawFn) -> MapQuery:
    lasso = draw(st.none() | st.lists(st.tuples(COORDINATES, COORDINATES), min_size=3, max_size=MAX_CORNERS))
    names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=20)
    return MapQuery(
        projection=draw(st.none() | st.text("0123456789abcdef", min_size=32, max_size=32)),
        color=draw(
            st.sampled_from(["region", "gain", "best_added", "changed"]) | names.map("concept:{}".format)
        ),
        view=draw(st.none() | st.tuples(COORDINATES, COORDINATES, st.integers(1, 2 * SIDE))),
        lasso=None if lasso is None else packed(lasso),
        region=None if lasso is not None else draw(st.none() | st.integers(0, 255)),
    )


@given(map_queries())
def test_query__is_read_back_from_its_url(query: MapQuery) -> None:
    again = MapQuery.read(QueryParams(urlsplit(query.url("c")).query))
    assert again == query
    assert again.notes == ()


@given(st.dictionaries(st.sampled_from(["projection", "color", "view", "lasso", "region", "x"]), st.text()))
def test_any_query__is_read_without_an_error(parameters: dict[str, str]) -> None:
    query = MapQuery.read(QueryParams(parameters))
    assert MapQuery.read(QueryParams(urlsplit(query.url("c")).query)) == query


@given(
    st.lists(st.tuples(COORDINATES, COORDINATES, st.integers(1, 1000)), max_size=40).map(
        lambda places: [
            Region(region=number, x=x, y=y, pictures=pictures, label=[])
            for number, (x, y, pictures) in enumerate(places)
        ]
    )
)
def test_colours__are_those_of_two_regions_at_most(regions: list[Region]) -> None:
    marked = coloured(regions)
    assert sorted(item.region.region for item in marked) == [region.region for region in regions]
    pictures = [item.region.pictures for item in marked]
    assert pictures == sorted(pictures, reverse=True)
    assert [item.category > 0 for item in marked] == [place < COLOURED for place in range(len(marked))]
    looks = [(item.category, item.is_ring) for item in marked if item.category]
    assert len(set(looks)) == len(looks)
    assert {item.category for item in marked[:CATEGORIES]} == set(range(1, len(marked[:CATEGORIES]) + 1))


def test_second_region_of_a_colour__is_far_from_the_first() -> None:
    spots = [(0, 0), (9, 0), (18, 0), (27, 0), (36, 0), (45, 0), (1, 1)]
    regions = [
        Region(region=number, x=x * 1000, y=y * 1000, pictures=100 - number, label=[])
        for number, (x, y) in enumerate(spots)
    ]
    marked = coloured(regions)
    first = next(item.region for item in marked if item.category == marked[6].category)
    assert math.hypot(first.x - 1000, first.y - 1000) == max(
        math.hypot(region.x - 1000, region.y - 1000) for region in regions[:6]
    )
