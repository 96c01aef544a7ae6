"""Everything that is wrong with data at once, over HTTP: the run is completed, what was skipped counted."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from PIL import Image
from tests.local_platform import picture, running
from tests.pipeline.tiny_encoder import write_tiny_encoder

from cocu.api.server import LocalServer
from cocu.client import CocuClient
from cocu.curation.vocabulary import Vocabulary

THOUSAND = ", ".join(Vocabulary.shipped().names[:1000])


def encoded(image: Image.Image, format: str = "PNG", **options: object) -> bytes:
    out = io.BytesIO()
    image.save(out, format, **options)
    return out.getvalue()


IMAGES = {
    "truncated.jpg": picture(1)[:300],
    "empty.jpg": b"",
    "html.jpg": b"<!doctype html><html><body>404</body></html>",
    "narrow.png": encoded(Image.new("RGB", (1, 60_000))),
    "bomb.png": encoded(Image.new("1", (30_000, 30_000))),
    "cmyk.jpg": encoded(Image.new("CMYK", (20, 20), (9, 90, 30, 0)), "JPEG"),
    "deep.png": encoded(Image.new("I;16", (20, 20), 40_000)),
    "palette.png": encoded(Image.new("P", (20, 20), 3), transparency=3),
    "animated.webp": encoded(
        Image.new("RGB", (20, 20), "red"), "WEBP", save_all=True, append_images=[Image.new("RGB", (20, 20))]
    ),
    "pixel.png": encoded(Image.new("RGB", (1, 1))),
}
CAPTIONS = {
    "nothing": b" \n\t",
    "megabyte": b"a dog " * 200_000,
    "lines": b"a dog\non\r\na bench",
    "nul": b"a\0 cat",
    "surrogate": b"a \xed\xa0\x80 dog",
    "markup": b"<script>alert('a dog')</script>",
    "no-concept": b"hmm",
    "one-concept": b"a dog",
    "thousand-concepts": THOUSAND.encode(),
}
REJECTED = {"truncated", "empty", "html", "narrow", "bomb", "nothing", "megabyte", "alone", "lonely"}


def hostile_tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:

        def add(name: str, content: bytes, kind: bytes = tarfile.REGTYPE) -> None:
            information = tarfile.TarInfo(name)
            information.type, information.linkname = kind, "/etc/passwd"
            information.size = len(content)
            tar.addfile(information, io.BytesIO(content))

        for name, content in IMAGES.items():
            add(name, content)
            add(f"{name.partition('.')[0]}.txt", b"a dog on a bench")
        for number, (key, caption) in enumerate(CAPTIONS.items(), start=10):
            add(f"{key}.jpg", picture(number))
            add(f"{key}.txt", caption)
        for key in ("same-1", "same-2", "pixel"):
            add(f"{key}.jpg", picture(99))
            add(f"{key}.txt", b"a cat")
        add("alone.jpg", picture(50))
        add("lonely.txt", b"a cat without a picture")
        add("link.jpg", b"", tarfile.SYMTYPE)
        add("../outside.jpg", picture(51))
        add("/etc/absolute.jpg", picture(52))
        add("inner.zip", b"PK\x05\x06" + bytes(18))
        kept = tar.offset + 512 + 100
        add("tail.jpg", picture(53))
    return out.getvalue()[:kept]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder / "data", write_tiny_encoder(folder / "encoder")) as started:
        yield started


def test_bad_input__is_counted_and_the_rest_goes_on(server: LocalServer, tmp_path: Path) -> None:
    (tmp_path / "hostile.tar").write_bytes(hostile_tar())
    statuses: list[int] = []
    with CocuClient(server.url) as client:
        dataset = client.datasets.create("hostile")
        client.datasets.upload(dataset.id, tmp_path / "hostile.tar")
        client.datasets.wait(dataset.id, timeout=120)
        curation = client.curations.create(dataset.id)
        curation = client.curations.wait(curation.id, timeout=120)
        archives = {archive.key: archive for archive in client.archives.list(curation.id)}
        report = client.datasets.report(dataset.id)
        rejections = list(client.datasets.rejections(dataset.id))
    assert curation.state == "completed"
    expected = {name.partition(".")[0] for name in IMAGES} | set(CAPTIONS) | {"same-1", "same-2"}
    assert set(archives) == expected - REJECTED
    assert report.accepted == len(archives)
    # The small encoder of the tests has no embedding for a picture of one colour.
    failed = {rejection.key for rejection in rejections if rejection.outcome == "failed"}
    assert failed == {"palette", "pixel"}
    skipped = [rejection for rejection in rejections if rejection.outcome == "skipped"]
    assert {rejection.key for rejection in skipped} >= REJECTED
    others = {"not_a_regular_file": 1, "unsafe_name": 2, "nested_archive": 1, "duplicate_key": 1}
    assert report.reasons.items() >= others.items()
    # One more for the tail that was cut off.
    assert report.skipped == len(skipped) == len(REJECTED) + sum(others.values()) + 1
    assert report.failed == len(failed)
    assert len(archives["thousand-concepts"].concepts) >= 900
    assert "same-2" not in {neighbour.key for neighbour in archives["same-1"].neighbours}
    with httpx.Client(base_url=server.url, timeout=60) as http:
        for key in [*archives, *REJECTED, "%00", "%2E%2E%2Fetc", "a" * 10_000]:
            for path in (f"datasets/{dataset.id}/samples/{key}", f"curations/{curation.id}/archives/{key}"):
                statuses.append(http.get(f"/v1/{path}").status_code)
            statuses.append(http.get(f"/v1/datasets/{dataset.id}/samples/{key}/image?size=96").status_code)
    assert statuses.count(200) == 3 * len(archives)
    assert max(statuses) < 500
