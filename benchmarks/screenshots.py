"""Pictures of every page, in both themes, at the width of a desk and of a phone.

python -m benchmarks.screenshots            into screenshots/ (git-ignored)
python -m benchmarks.screenshots --docs     the four of the README too, into docs/pictures/

Of the shipped scenes, and of the real photographs where they are beside the checkout. The pictures of the
README are of the scenes alone: photographs have licences of their own.
"""

from __future__ import annotations

import io
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.browser import THEMES, WIDTHS, new_context, opened_browser
from benchmarks.labelled import PHOTOGRAPHS, REPOSITORY, SCENES, SCENES_ENCODER
from benchmarks.pages import kinds
from benchmarks.photo_encoder import photo_encoder
from cocu.cli.local import local_server
from cocu.client import CocuClient, read_labels
from cocu.schemas import Curation, Parameters

TARGET = REPOSITORY / "screenshots"
PICTURES = REPOSITORY / "docs" / "pictures"
KEY = "0000-0000280"
"""The scene that is inspected; it is that of docs/pictures/archive.png."""
JUDGED = 37
"""Pairs of the audit that are judged: its page shows it at work."""
OF_THE_README = ("inspector", "grid", "curation", "concept")
MAX_BYTES = 200_000


def take(*, for_docs: bool) -> None:
    """Write the pictures of all platforms."""
    with tempfile.TemporaryDirectory() as folder, opened_browser() as browser:
        with scenes_platform(Path(folder) / "scenes") as (url, pages):
            photograph(browser, url, pages, TARGET / "scenes")
            if for_docs:
                picture_readme(browser, url, pages)
        if PHOTOGRAPHS.is_dir():
            with photographs_platform(Path(folder)) as (url, pages):
                photograph(browser, url, pages, TARGET / "photographs")


@contextmanager
def scenes_platform(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A platform with all shipped scenes, curated twice and measured: its URL, a page of every kind."""
    with (
        local_server(encoder=SCENES_ENCODER, data=folder) as server,
        CocuClient(server.url) as client,
    ):
        dataset = client.datasets.create("scenes")
        for shard in sorted(SCENES.glob("*.tar")):
            client.datasets.upload(dataset.id, shard)
        client.datasets.wait(dataset.id)
        other, curation = curated(client, dataset.id)
        labels = read_labels(SCENES / "labels.json")
        client.labels.put(dataset.id, "drawn", labels=labels)
        client.evaluations.create(curation.id, kept="drawn")
        judge(client, curation, labels)
        yield server.url, kinds(client, curation, other=other.id, key=KEY)


def judge(client: CocuClient, curation: Curation, labels: Mapping[str, Sequence[str]]) -> None:
    """Judge as many pairs of the audit as are enough, by the labels."""
    for pair in client.judgements.next(curation.id, JUDGED).items:
        is_right = pair.concept in labels.get(pair.key, ())
        client.judgements.judge(curation.id, pair.key, pair.concept, is_right)


@contextmanager
def photographs_platform(folder: Path) -> Iterator[tuple[str, Mapping[str, str]]]:
    """A platform with the photographs beside the checkout, likewise."""
    with (
        local_server(encoder=photo_encoder(folder), data=folder / "photographs") as server,
        CocuClient(server.url) as client,
    ):
        dataset = client.datasets.create("photographs")
        for shard in sorted(PHOTOGRAPHS.glob("*.tar")):
            client.datasets.upload(dataset.id, shard)
        client.datasets.wait(dataset.id)
        other, curation = curated(client, dataset.id)
        yield server.url, kinds(client, curation, other=other.id)


def curated(client: CocuClient, dataset: str) -> tuple[Curation, Curation]:
    """Two curations of a dataset: with eight neighbours, and with the defaults; and its map."""
    first, second = (
        client.curations.create(dataset, parameters=parameters)
        for parameters in (Parameters(neighbours=8), Parameters())
    )
    finished = client.curations.wait(first.id), client.curations.wait(second.id)
    projection = client.projections.create(dataset, encoder=second.encoder)
    client.projections.wait(dataset, projection.id)
    return finished


def photograph(browser: Browser, url: str, pages: Mapping[str, str], folder: Path) -> None:
    """Write a picture of every page in every theme and width: {folder}/{page}-{theme}-{width}.png."""
    folder.mkdir(parents=True, exist_ok=True)
    for theme in THEMES:
        for width in WIDTHS:
            context = new_context(browser, theme=theme, width=width, base_url=url)
            page = context.new_page()
            for name, path in pages.items():
                show(page, path)
                page.screenshot(path=folder / f"{name}-{theme}-{width}.png", full_page=width < 500)
            context.close()
            print(
                f"{folder.relative_to(REPOSITORY)}: {len(pages)} pages, {theme}, {width} pixels", flush=True
            )


def picture_readme(browser: Browser, url: str, pages: Mapping[str, str]) -> None:
    """Write the four pictures of the README, each of at most MAX_BYTES."""
    context = new_context(browser, theme="light", width=1440, base_url=url)
    page = context.new_page()
    for name in OF_THE_README:
        show(page, pages[name])
        if name == "inspector":
            # With a concept lit: the captions that name it are what the page is about.
            page.locator(".concept-row[data-concept]:has-text('×3')").first.hover()
        target = PICTURES / f"dashboard-{name}.webp"
        target.write_bytes(compressed(page.screenshot()))
        print(f"{target.relative_to(REPOSITORY)}: {target.stat().st_size / 1000:.0f} kB", flush=True)
    context.close()


def show(page: Page, path: str) -> None:
    """Open a page and wait for its pictures, and for the points of a map."""
    page.goto(path)
    page.wait_for_load_state("networkidle")
    for points in page.locator("#map").all():
        while points.get_attribute("data-drawn") in {None, "0"}:
            page.wait_for_timeout(100)


def compressed(png: bytes) -> bytes:
    """A picture as WebP of at most MAX_BYTES, as good as that allows."""
    image = Image.open(io.BytesIO(png)).convert("RGB")
    for quality in (92, 86, 80, 70, 60):
        out = io.BytesIO()
        image.save(out, "WEBP", quality=quality, method=6)
        if out.tell() <= MAX_BYTES:
            break
    return out.getvalue()


if __name__ == "__main__":
    take(for_docs="--docs" in sys.argv)
