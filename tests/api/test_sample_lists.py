"""Lists of samples: by key and by row, by words, given rows; each equal to what was uploaded."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import httpx
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.queries import SampleLists, Samples, sample_lists, samples
from cocu.client import CocuClient, InvalidInputError, NotFoundError
from cocu.curation import surface_forms
from cocu.platform import Platform
from cocu.schemas import Sample

NOUNS = (
    "dog",
    "dogs",
    "café",
    "Straße",
    "hot dog",
    "cat",
    "犬と猫",
    "person",
    "salt & pepper",
    "zebra's tail",
)


def caption_of(number: int) -> str:
    generator = random.Random(number)
    nouns = " and a ".join(generator.sample(NOUNS, 2))
    return f"A {nouns}, number{number}" if number % 3 else f"THE {nouns.upper()}!"


UPLOADS = [
    {f"{'zyx'[upload]}/{number:03d}": caption_of(number) for number in range(upload * 40, upload * 40 + 40)}
    for upload in range(3)
]
"""Keys of later uploads sort before those of earlier ones: the orders by key and by row differ."""
IN_ROWS = [key for captions in UPLOADS for key in captions]
CAPTIONS = {key: caption for captions in UPLOADS for key, caption in captions.items()}


@dataclass(frozen=True)
class Listed:
    """A dataset of many shards, and who asks about it."""

    client: CocuClient
    http: httpx.Client
    platform: Platform
    dataset: str

    @property
    def path(self) -> str:
        return f"/v1/datasets/{self.dataset}/samples"


@pytest.fixture(scope="module")
def listed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Listed]:
    folder = tmp_path_factory.mktemp("listed")
    encoder = write_tiny_encoder(folder / "encoder")
    with (
        running(folder / "data", encoder, samples_per_shard=7) as server,
        CocuClient(server.url) as client,
        httpx.Client(base_url=server.url, timeout=30) as http,
    ):
        dataset = client.datasets.create("listed").id
        for number, captions in enumerate(UPLOADS):
            (folder / f"{number}.tar").write_bytes(tar_of_samples(captions, first_seed=40 * number))
            client.datasets.upload(dataset, folder / f"{number}.tar")
            client.datasets.wait(dataset, timeout=60)
        yield Listed(client, http, server.platform, dataset)


def keys(listing: Iterable[Sample]) -> list[str]:
    return [sample.key for sample in listing]


def all_pages(listed: Listed, **params: object) -> list[Sample]:
    """The samples of all pages, which end, and hold no more than is asked for."""
    items: list[Sample] = []
    cursor: str | None = None
    for _ in range(300):
        page = listed.client.datasets.sample_page(listed.dataset, cursor=cursor, **params)  # type: ignore[arg-type]
        assert len(page.items) <= int(str(params.get("limit", 100)))
        items += page.items
        if page.next is None:
            return items
        cursor = page.next
    raise AssertionError("the pages do not end")


@pytest.mark.parametrize("limit", [1, 6, 7, 8, 39, 120, 1000])
def test_orders__hold_every_sample_once(listed: Listed, limit: int) -> None:
    assert keys(all_pages(listed, limit=limit)) == sorted(IN_ROWS)
    assert keys(all_pages(listed, limit=limit, order="row")) == IN_ROWS
    assert keys(all_pages(listed, limit=limit, order="key")) == sorted(IN_ROWS)


def test_samples__are_the_same_in_every_list_and_alone(listed: Listed) -> None:
    by_key, by_row = all_pages(listed, limit=50), all_pages(listed, limit=9, order="row")
    assert sorted(by_row, key=lambda sample: sample.key) == by_key
    assert [sample.caption for sample in by_row] == [CAPTIONS[key] for key in IN_ROWS]
    assert [sample.global_row for sample in by_row] == list(range(120))
    for sample in by_key[::17]:
        assert listed.client.datasets.sample(listed.dataset, sample.key) == sample


@pytest.mark.parametrize("whole_from", [1, 1_000])
def test_rows_of_whole_columns__are_those_of_single_rows(
    listed: Listed, monkeypatch: pytest.MonkeyPatch, whole_from: int
) -> None:
    monkeypatch.setattr(samples, "WHOLE_FROM", whole_from)
    lists = SampleLists(listed.platform, Samples(listed.platform))
    place = {"tenant": "default", "dataset": listed.dataset}
    by_key = lists.by_key(**place, limit=200, after=None).items
    assert [(sample.key, sample.caption, sample.sha256) for sample in by_key] == [
        (sample.key, sample.caption, sample.sha256) for sample in all_pages(listed)
    ]
    rows = [119, 3, 3, 60]
    assert keys(lists.of_rows(**place, rows=rows)) == [IN_ROWS[row] for row in rows]


def test_total__is_that_of_the_dataset_where_nothing_is_selected(listed: Listed) -> None:
    page = listed.client.datasets.sample_page
    for params in ({}, {"order": "row"}, {"row": 119}, {"limit": 1}):
        assert page(listed.dataset, **params).total == 120  # type: ignore[arg-type]
    assert page(listed.dataset, caption="dog").total is None


@pytest.mark.parametrize("row", [0, 6, 7, 39, 40, 118, 119, 120, 10**17])
def test_row__is_where_a_list_begins(listed: Listed, row: int) -> None:
    assert keys(all_pages(listed, row=row, limit=11)) == IN_ROWS[row:]
    assert keys(all_pages(listed, row=row, order="row", limit=50)) == IN_ROWS[row:]


def test_rows__come_in_the_order_asked_for(listed: Listed) -> None:
    drawn = random.Random(1).sample(range(120), 50)
    for rows in ([0], [119, 0, 60], list(range(119, -1, -1)), [5, 5, 6, 5], drawn):
        items = listed.client.datasets.samples_of_rows(listed.dataset, rows)
        assert keys(items) == [IN_ROWS[row] for row in rows]
        assert [sample.global_row for sample in items] == rows
    many = [number % 120 for number in range(450)]
    assert keys(listed.client.datasets.samples_of_rows(listed.dataset, many)) == [
        IN_ROWS[row] for row in many
    ]
    assert listed.client.datasets.samples_of_rows(listed.dataset, []) == ()


def matching(text: str) -> list[str]:
    """The keys whose captions have all of these words, in the order of rows, word by word in Python."""
    words = [word for word in surface_forms.words(text) if word.isalnum() or "'" in word]
    return [key for key in IN_ROWS if set(words) <= set(surface_forms.words(CAPTIONS[key]))]


@pytest.mark.parametrize(
    "text",
    [
        "dog",
        "DOG",
        "dog cat",
        "cat dog cat",
        "dogs, person!",
        "cafe",
        "CAFÉ",
        "strasse",
        "and pepper",
        "salt & pepper",
        "zebra's",
        "number17",
        "number1",
        "og",
        "do",
        "unicorn",
        "the a",
    ],
)
def test_words__select_the_captions_that_have_all_of_them(listed: Listed, text: str) -> None:
    for limit in (4, 100):
        assert keys(all_pages(listed, caption=text, limit=limit)) == matching(text)
    assert keys(listed.client.datasets.samples(listed.dataset, caption=text)) == matching(text)


def test_words__of_scripts_without_spaces_are_found_anywhere(listed: Listed) -> None:
    expected = [key for key in IN_ROWS if "犬と猫" in CAPTIONS[key]]
    for text in ("犬", "猫", "犬と猫", "犬 猫"):
        assert keys(all_pages(listed, caption=text)) == expected
    assert keys(all_pages(listed, caption="猫犬")) == []


def test_words__and_a_row_begin_there(listed: Listed) -> None:
    from_there = [key for key in IN_ROWS[30:] if key in set(matching("dog"))]
    assert keys(all_pages(listed, caption="dog", row=30, limit=3)) == from_there


def test_captions__are_read_for_a_few_shards_a_request(
    listed: Listed, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sample_lists, "MAX_NEW_SHARDS", 2)
    copy = SampleLists(listed.platform, Samples(listed.platform))
    pages, after = [], None
    for _ in range(30):
        page = copy.by_row(
            tenant="default", dataset=listed.dataset, limit=100, words=["number119"], after=after
        )
        pages.append(keys(page.items))
        after = page.next
        if after is None:
            break
    # 18 shards of 7 and fewer, two of them a request, and the one sample is in the last.
    assert pages == [[]] * 8 + [[IN_ROWS[119]]]
    # What has been read once is not read again.
    page = copy.by_row(tenant="default", dataset=listed.dataset, limit=100, words=["number119"])
    assert (keys(page.items), page.next) == ([IN_ROWS[119]], None)


@pytest.mark.parametrize(
    ("query", "field"),
    [
        ("order=row&row=-1", "query.row"),
        ("row=x", "query.row"),
        (f"row={10**30}", "query.row"),
        ("order=-key", "query.order"),
        ("order=key&caption=dog", "query.caption"),
        ("order=key&row=1", "query.row"),
        ("caption=", "query.caption"),
        ("caption=%20!,", "query.caption"),
        ("caption=" + "+".join("abcdefghijk"), "query.caption"),
        ("caption=" + "x" * 201, "query.caption"),
        ("rows=", "query.rows"),
        ("rows=1,", "query.rows"),
        ("rows=-1", "query.rows"),
        ("rows=1,,2", "query.rows"),
        ("rows=120", "query.rows"),
        ("rows=" + "9" * 18, "query.rows"),
        ("rows=" + "9" * 19, "query.rows"),
        ("rows=" + ",".join(["1"] * 201), "query.rows"),
        ("rows=1&caption=dog", "query.caption"),
        ("rows=1&order=row", "query.order"),
        ("rows=1&row=1", "query.row"),
        ("rows=1&rows=2", "query.rows"),
        ("order=row&cursor=abc", "query.cursor"),
        ("word=dog", "query.word"),
    ],
)
def test_what_cannot_be_asked__is_refused_by_name(listed: Listed, query: str, field: str) -> None:
    answer = listed.http.get(f"{listed.path}?{query}")
    assert answer.status_code == 422
    assert field in [problem["field"] for problem in answer.json()["errors"]]


def test_cursors__are_not_those_of_another_list(listed: Listed) -> None:
    lists: list[dict[str, str]] = [{}, {"order": "row"}, {"caption": "dog"}, {"caption": "cat"}]
    for params in lists:
        cursor = listed.http.get(listed.path, params={**params, "limit": "1"}).json()["next"]
        for others in lists:
            answer = listed.http.get(listed.path, params={**others, "cursor": cursor})
            assert (params, others, answer.status_code) == (params, others, 200 if others == params else 422)


def test_a_list__goes_on_where_it_was_while_the_dataset_grows(listed: Listed) -> None:
    client, dataset = listed.client, listed.client.datasets.create("growing").id
    for number, captions in enumerate(({"a": "a dog", "b": "a dog"}, {"0": "a dog", "1": "a dog"})):
        listed.http.put(f"/v1/datasets/{dataset}/uploads/{number}.tar", content=tar_of_samples(captions))
        client.datasets.wait(dataset, timeout=60)
        if number == 0:
            page = client.datasets.sample_page(dataset, caption="dog", limit=1)
    rest = client.datasets.sample_page(dataset, caption="dog", cursor=page.next)
    assert keys(list(page.items) + list(rest.items)) == ["a", "b", "0", "1"]
    client.datasets.delete(dataset)
    with pytest.raises(NotFoundError):
        client.datasets.sample_page(dataset, order="row")


def test_an_empty_dataset__has_no_rows(listed: Listed) -> None:
    dataset = listed.client.datasets.create("empty").id
    for params in ({}, {"order": "row"}, {"row": 5}, {"caption": "dog"}):
        page = listed.client.datasets.sample_page(dataset, **params)  # type: ignore[arg-type]
        assert (list(page.items), page.next) == ([], None)
    with pytest.raises(InvalidInputError):
        listed.client.datasets.samples_of_rows(dataset, [0])
    listed.client.datasets.delete(dataset)
