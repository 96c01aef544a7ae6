"""Shards: what is written is what was read, and lies where the rows say."""

from __future__ import annotations

import hashlib
import io
import tarfile
import tempfile
import tracemalloc
from collections.abc import Iterator

from webdataset.tariterators import group_by_keys, tar_file_expander

from cocu.formats.limits import Limits
from cocu.formats.reading import RawSample
from cocu.formats.shards import write_shard

from .archives import picture, read, tar_of


def sample(key: str, image: bytes | None = None, caption: str = "a dog", **metadata: object) -> RawSample:
    image = picture() if image is None else image
    return RawSample(key, image, caption, "jpg", 9, 7, hashlib.sha256(image).digest(), metadata)


def test_rows_say_where_the_images_lie() -> None:
    samples = [
        sample("x/1", picture(1), "line one\nline two", licence=4, nested={"a": [1, None]}),
        sample("n" * 180, picture(2), "<b>\ufffd 🐕"),
        sample("ümläut", picture(3)),
        sample("4", b"x" * 512),
        sample("5", b"x" * 513),
    ]
    target = io.BytesIO()
    rows = write_shard(samples, target)
    data = target.getvalue()
    assert [(r.key, r.caption, r.width, r.height, r.sha256) for r in rows] == [
        (s.key, s.caption, s.width, s.height, s.sha256) for s in samples
    ]
    for row, written in zip(rows, samples, strict=True):
        assert data[row.offset : row.offset + row.size] == written.image
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        assert [m.name for m in archive][:4] == ["x/1.jpg", "x/1.txt", "x/1.json", "n" * 180 + ".jpg"]


def test_a_shard_is_read_back_as_it_was_written() -> None:
    members = [
        ("a.jpg", picture(1)),
        ("a.txt", b"a\xff dog "),
        ("a.json", b'{"b": "\\ud800 \\u0000", "a": 1.5}'),
        ("ordner/b.png", picture(2, "PNG")),
        ("ordner/b.txt", b"zwei\nZeilen"),
    ]
    samples, _ = read(tar_of(members))
    target = io.BytesIO()
    write_shard(samples, target)
    assert read(target) == (samples, [])


def test_the_bytes_depend_on_the_samples_alone() -> None:
    def written() -> bytes:
        target = io.BytesIO()
        write_shard([sample("a", b=1, a=2), sample("b")], target)
        return target.getvalue()

    first = written()
    assert first == written()
    assert hashlib.sha256(first).hexdigest() == hashlib.sha256(written()).hexdigest()
    with tarfile.open(fileobj=io.BytesIO(first)) as archive:
        assert {(m.mtime, m.uid, m.gid, m.uname, m.gname) for m in archive} == {(0, 0, 0, "", "")}


def test_shards_are_filled_one_after_another_from_one_iterator() -> None:
    taken = []

    def endless() -> Iterator[RawSample]:
        for n in range(7):
            taken.append(n)
            yield sample(str(n))

    source, limits = endless(), Limits(max_samples_per_shard=3)
    shards = []
    while rows := write_shard(source, io.BytesIO(), limits=limits):
        shards.append([row.key for row in rows])
        assert len(taken) <= 3 * len(shards)
    assert shards == [["0", "1", "2"], ["3", "4", "5"], ["6"]]


def test_webdataset_reads_our_shards() -> None:
    file = io.BytesIO()
    write_shard([sample("x/1", picture(1), "ein Hund"), sample("2", picture(2), "zwei\nZeilen", n=3)], file)
    file.seek(0)
    items = list(group_by_keys(tar_file_expander([{"url": "shard.tar", "stream": file}])))
    assert [(item["__key__"], item["jpg"], item["txt"].decode()) for item in items] == [
        ("x/1", picture(1), "ein Hund"),
        ("2", picture(2), "zwei\nZeilen"),
    ]
    assert items[1]["json"] == b'{"n": 3}'


def test_writing_needs_no_memory_for_what_is_written() -> None:
    peaks = []
    for count in (50, 500):
        with tempfile.TemporaryFile() as file:
            tracemalloc.start()
            rows = write_shard((sample(str(n), bytes(100_000)) for n in range(count)), file)
            peaks.append(tracemalloc.get_traced_memory()[1])
            tracemalloc.stop()
            assert len(rows) == count
    assert peaks[1] < peaks[0] + 1_000_000
