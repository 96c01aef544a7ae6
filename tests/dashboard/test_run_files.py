"""Files of runs on the pages: previews are shown, all others kept, and none is ever a page of ours."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import quote, unquote, urljoin

import httpx
import pytest
from tests.dashboard.shown_platform import Shown
from tests.dashboard.test_pages import page_at
from tests.dashboard.test_service import served
from tests.dashboard.trainer import PAGE

from cocu.client import TrainingClient
from cocu.dashboard.links import run_file, segment
from cocu.dashboard.pages.training_run import read

CHECKPOINT = "checkpoints/step-000001200.pt"


@pytest.fixture
def trainer(shown: Shown) -> Iterator[TrainingClient]:
    with TrainingClient(shown.training) as client:
        yield client


@pytest.fixture(params=["beside the platform", "as a service"])
def http(request: pytest.FixtureRequest, shown: Shown) -> Iterator[httpx.Client]:
    """A viewer of the pages, of either kind."""
    with (
        dashboard(shown, is_service=request.param == "as a service") as url,
        httpx.Client(base_url=url, timeout=60, trust_env=False) as opened,
    ):
        yield opened


@contextmanager
def dashboard(shown: Shown, *, is_service: bool) -> Iterator[str]:
    if not is_service:
        yield shown.server.url
        return
    with served(shown.server.url, training=shown.training) as url:
        yield url


def test_previews__are_pictures_of_the_service(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    path = f"/training/runs/{shown.run}"
    sources = [urljoin(path, image.attributes["src"]) for image in page_at(http, path).all("img")]
    previews = [file.name for file in trainer.runs.files(shown.run) if file.kind == "preview"]
    assert len(sources) == len(previews) == 3
    for source, name in zip(sources, previews, strict=True):
        answer = http.get(source)
        assert answer.content == trainer.runs.file(shown.run, name)
        assert answer.headers["content-type"] == "image/png"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        held = http.get(source, headers={"If-None-Match": answer.headers["etag"]})
        assert (held.status_code, held.content) == (304, b"")
    assert http.post(sources[0]).status_code == 405


def test_every_other_file__is_kept_as_it_is_and_never_shown(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    path = f"/training/runs/{shown.run}"
    page = page_at(http, path)
    shown_files = page.first("details", id="files")
    linked = [urljoin(path, link.attributes["href"]) for link in page.all("a") if shown_files in link.around]
    names = [file.name for file in trainer.runs.files(shown.run) if file.kind != "preview"]
    assert {unquote(link.partition("/files/")[2]) for link in linked} == set(names)
    assert {PAGE, CHECKPOINT, "log.txt", "records.jsonl"} <= set(names)
    for link in linked:
        name = unquote(link.partition("/files/")[2])
        answer = http.get(link)
        assert answer.content == trainer.runs.file(shown.run, name)
        assert answer.headers["content-type"] == "application/octet-stream"
        kept_as = f"attachment; filename*=UTF-8''{segment(name.rpartition('/')[2])}"
        assert answer.headers["content-disposition"] == kept_as
        assert answer.headers["x-content-type-options"] == "nosniff"
        # Who downloads sees how much is to come, and goes on where it broke off.
        assert int(answer.headers["content-length"]) == len(answer.content)
        assert "content-encoding" not in answer.headers


def test_parts__are_those_that_were_asked_for(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    link = run_file(shown.run, "records.jsonl")
    whole = trainer.runs.file(shown.run, "records.jsonl")
    head = http.head(link)
    assert (head.status_code, head.content) == (200, b"")
    assert int(head.headers["content-length"]) == len(whole)
    tag = head.headers["etag"]
    for asked, first, last in (("bytes=5-99", 5, 99), ("bytes=-7", len(whole) - 7, len(whole) - 1)):
        part = http.get(link, headers={"Range": asked, "If-Range": tag})
        assert (part.status_code, part.content) == (206, whole[first : last + 1])
        assert part.headers["content-range"] == f"bytes {first}-{last}/{len(whole)}"
    assert http.get(link, headers={"Range": "bytes=5-99", "If-Range": '"another"'}).content == whole
    beyond = http.get(link, headers={"Range": f"bytes={len(whole)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(whole)}")


def test_what_is_no_file_of_a_run__is_nothing(shown: Shown, http: httpx.Client) -> None:
    path = f"/training/runs/{shown.run}"
    names = [
        *("previews/../records.jsonl", "previews/..", "previews/%2e%2e/x.png", "previews//x.png", "absent"),
        *(
            "evaluations/scenes/previews/absent.png",
            "log.txt?y",
            "x" * 500 + ".png",
            "../run.json",
            "log.txt\0",
        ),
    ]
    for name in names:
        assert http.get(f"{path}/files/{'/'.join(map(segment, name.split('/')))}").status_code == 404, name
        assert http.get(f"{path}/files/{quote(name, safe='')}").status_code == 404, name
    for run in ("..", "run_" + "0" * 20, "x%2f..%2f", "@evil.example"):
        assert http.get(f"/training/runs/{run}/files/log.txt").status_code == 404, run


def test_the_page_of_a_run__asks_for_its_files_alone(shown: Shown) -> None:
    asked: list[str] = []

    class Noted(httpx.HTTPTransport):
        def handle_request(self, request: httpx.Request) -> httpx.Response:
            asked.append(request.url.path.removeprefix(f"/v1/runs/{shown.run}"))
            return super().handle_request(request)

    with TrainingClient(shown.training, transport=Noted()) as client:
        view = read(client, shown.run, ())
    assert len(view.previews) == 3
    assert asked.count("/files") == 1
    assert "/results" not in asked
