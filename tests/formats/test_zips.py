"""Zips as people make, damage and forge them."""

from __future__ import annotations

import io
import random
import string
import struct
import tracemalloc
import zipfile
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.formats.limits import Limits
from cocu.formats.options import ReadOptions
from cocu.formats.reading import RawSample, open_reading, read_samples
from cocu.formats.rejections import Reason, Rejection

from .archives import keys, picture, read, reasons, tar_of, zip_of

PAIRS = [("p/a.jpg", picture(1)), ("p/a.txt", b"a dog"), ("p/b.jpg", picture(2)), ("p/b.txt", b"a cat")]


@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_samples_of_a_zip_in_any_order(compression: int) -> None:
    texts_first = sorted(PAIRS, key=lambda member: member[0], reverse=True)
    samples, rejections = read(zip_of([("p/", b""), *texts_first], compression))
    assert rejections == []
    assert [(s.key, s.caption, s.image) for s in samples] == [
        ("p/b", "a cat", picture(2)),
        ("p/a", "a dog", picture(1)),
    ]


def test_dots_in_names_are_part_of_the_key() -> None:
    members = [("v1.0/a.b.jpg", picture()), ("v1.0/a.b.txt", b"x")]
    assert keys(zip_of(members)) == ["v1.0/a_b"]


def test_unsafe_names_links_and_nested_archives() -> None:
    link = zipfile.ZipInfo("link.jpg")
    link.external_attr = 0o120777 << 16
    members = [
        ("../up.jpg", picture()),
        ("/abs.jpg", picture()),
        (link, b"/etc/passwd"),
        ("in.zip", zip_of(PAIRS).getvalue()),
        ("in.tar", tar_of(PAIRS).getvalue()),
        *PAIRS,
    ]
    samples, rejections = read(zip_of(members))
    assert [sample.key for sample in samples] == ["p/a", "p/b"]
    assert [(r.member, r.reason) for r in rejections] == [
        ("../up.jpg", Reason.UNSAFE_NAME),
        ("/abs.jpg", Reason.UNSAFE_NAME),
        ("link.jpg", Reason.NOT_A_REGULAR_FILE),
        ("in.zip", Reason.NESTED_ARCHIVE),
        ("in.tar", Reason.NESTED_ARCHIVE),
    ]


def test_the_same_name_twice() -> None:
    with pytest.warns(UserWarning, match="Duplicate name"):
        archive = zip_of([*PAIRS, ("p/a.jpg", picture(9)), ("p/a.txt", b"again"), *PAIRS[:2]])
    samples, rejections = read(archive)
    assert [(s.key, s.image, s.caption) for s in samples] == [
        ("p/a", picture(1), "a dog"),
        ("p/b", picture(2), "a cat"),
        (samples[2].content_key, picture(9), "again"),
    ]
    assert reasons(rejections) == [("p/a", Reason.DUPLICATE_KEY)]
    assert "is the same" in rejections[0].detail


def test_encrypted_members_are_skipped_with_a_reason() -> None:
    data = bytearray(zip_of(PAIRS, zipfile.ZIP_STORED).getvalue())
    data[6] |= 1
    entry = data.index(b"PK\x01\x02")
    data[entry + 8] |= 1
    samples, rejections = read(io.BytesIO(bytes(data)))
    assert [sample.key for sample in samples] == ["p/b"]
    assert reasons(rejections) == [
        (None, Reason.ENCRYPTED_MEMBER),
        ("p/a", Reason.MISSING_IMAGE),
    ]


def test_other_compressions_are_skipped_with_a_reason() -> None:
    samples, rejections = read(zip_of(PAIRS[:2], zipfile.ZIP_BZIP2))
    assert samples == []
    assert {rejection.reason for rejection in rejections} == {Reason.UNREADABLE_MEMBER}


def test_a_damaged_member_costs_only_itself() -> None:
    data = bytearray(zip_of(PAIRS, zipfile.ZIP_STORED).getvalue())
    data[data.index(picture(1)) + 100] ^= 0xFF
    samples, rejections = read(io.BytesIO(bytes(data)))
    assert [sample.key for sample in samples] == ["p/b"]
    assert reasons(rejections) == [("p/a", Reason.UNREADABLE_MEMBER)]


def test_a_zip_cut_off_has_lost_its_directory() -> None:
    data = zip_of(PAIRS).getvalue()
    samples, rejections = read(io.BytesIO(data[: len(data) // 2]))
    assert samples == []
    assert reasons(rejections) == [(None, Reason.CORRUPT_ARCHIVE)]


def test_a_bomb_is_refused_by_its_ratio() -> None:
    tracemalloc.start()
    bomb = zip_of([("bomb.jpg", bytes(80_000_000)), ("bomb.txt", b"x"), *PAIRS])
    tracemalloc.reset_peak()
    samples, rejections = read(bomb, Limits(max_image_bytes=10**9))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert [sample.key for sample in samples] == ["p/a", "p/b"]
    assert (None, Reason.COMPRESSION_RATIO) in reasons(rejections)
    assert peak < 20_000_000


def test_a_bomb_that_lies_about_its_size_is_not_unpacked() -> None:
    data = bytearray(zip_of([("bomb.jpg", bytes(80_000_000)), ("bomb.txt", b"x")]).getvalue())
    entry = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, entry + 24, 1000)
    tracemalloc.start()
    samples, rejections = read(io.BytesIO(bytes(data)))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert samples == []
    assert rejections
    assert peak < 20_000_000


def test_entries_that_share_their_bytes_are_stopped_in_all() -> None:
    # As overlapping bombs do: one kernel, many directory entries that point to it.
    letters = string.ascii_lowercase
    captions = [(f"{letter}.txt", b"x") for letter in letters]
    data = zip_of([*captions, ("0.jpg", random.Random(0).randbytes(20_000) * 50)]).getvalue()
    end = data.index(b"PK\x05\x06")
    kernel = data[data.rindex(b"PK\x01\x02") : end]
    copies = b"".join(kernel.replace(b"0.jpg", f"{letter}.jpg".encode()) for letter in letters)
    last = bytearray(data[end:])
    count, size = struct.unpack_from("<2xH", last, 8)[0], struct.unpack_from("<I", last, 12)[0]
    struct.pack_into("<HHI", last, 8, count + 26, count + 26, size + len(copies))
    samples, rejections = read(io.BytesIO(data[:end] + copies + bytes(last)))
    assert samples == []
    assert {rejection.reason for rejection in rejections} & {
        Reason.COMPRESSION_RATIO,
        Reason.UNREADABLE_MEMBER,
    }


def test_too_many_entries_are_counted_before_the_directory_is_loaded() -> None:
    members = [member for n in range(50) for member in ((f"{n}.jpg", picture(n)), (f"{n}.txt", b"x"))]
    archive = zip_of(members)
    samples, rejections = read(archive, Limits(max_entries=99))
    assert samples == []
    assert reasons(rejections) == [(None, Reason.TOO_MANY_ENTRIES)]
    assert len(keys(archive, Limits(max_entries=100))) == 50
    # The number of entries stated at the end is not believed.
    data = bytearray(archive.getvalue())
    struct.pack_into("<HH", data, data.rindex(b"PK\x05\x06") + 8, 1, 1)
    assert reasons(read(io.BytesIO(bytes(data)), Limits(max_entries=99))[1]) == [
        (None, Reason.TOO_MANY_ENTRIES)
    ]


def test_entries_are_counted_in_zip64_too() -> None:
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as opened:
        for name, data in PAIRS:
            with opened.open(zipfile.ZipInfo(name), "w", force_zip64=True) as member:
                member.write(data)
    content = archive.getvalue()
    start, end = content.index(b"PK\x01\x02"), content.index(b"PK\x05\x06")
    record = struct.pack("<4sQHHIIQQQQ", b"PK\x06\x06", 44, 45, 45, 0, 0, 4, 4, end - start, start)
    locator = struct.pack("<4sIQI", b"PK\x06\x07", 0, end, 1)
    last = bytearray(content[end:])
    struct.pack_into("<HHII", last, 8, 0xFFFF, 0xFFFF, 0xFFFFFFFF, 0xFFFFFFFF)
    big = io.BytesIO(content[:end] + record + locator + bytes(last))
    assert keys(big) == ["p/a", "p/b"]
    assert reasons(read(big, Limits(max_entries=3))[1]) == [(None, Reason.TOO_MANY_ENTRIES)]


def test_decompressed_bytes_are_limited() -> None:
    _, rejections = read(zip_of(PAIRS), Limits(max_decompressed_bytes=len(picture(1)) + 20))
    assert rejections[-1].reason is Reason.DECOMPRESSED_TOO_LARGE


def test_an_empty_zip_is_reported() -> None:
    assert reasons(read(zip_of([]))[1]) == [(None, Reason.NO_SAMPLES)]


@given(head=st.sampled_from([b"", zip_of(PAIRS).getvalue()]), tail=st.binary(max_size=2000))
def test_any_bytes_are_samples_and_rejections(head: bytes, tail: bytes) -> None:
    samples, rejections = read(io.BytesIO(head + tail), format="zip")
    assert samples or rejections


@given(
    edits=st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.integers(0, 255)), min_size=1, max_size=8)
)
def test_a_damaged_zip_is_samples_and_rejections(edits: list[tuple[float, int]]) -> None:
    data = bytearray(zip_of(PAIRS).getvalue())
    for position, value in edits:
        data[int(position * len(data))] = value
    items = list(read_samples(io.BytesIO(bytes(data)), options=ReadOptions(format="zip")))
    assert items
    assert all(isinstance(item, RawSample | Rejection) for item in items)


class _NamedInPage(zipfile.ZipInfo):
    """A member whose name is in a code page that nothing states, as Windows writes them."""

    page = "cp437"

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.orig_filename.encode(self.page), self.flag_bits & ~0x800


def named_in(page: str, members: list[tuple[str, bytes]], extra: bytes = b"") -> io.BytesIO:
    infos: list[tuple[str | zipfile.ZipInfo, bytes]] = []
    for name, data in members:
        info = _NamedInPage(name)
        info.page, info.extra = page, extra
        infos.append((info, data))
    return zip_of(infos)


@pytest.mark.parametrize(
    ("page", "stems"),
    [
        ("cp437", ["café", "Größe"]),
        ("cp850", ["été à la plage"]),
        ("cp437", ["½ pint", "A°"]),
        ("cp866", ["кот на крыше", "собака"]),
        ("gbk", ["两只猫", "一只黑色的狗"]),
        ("big5", ["小貓", "一隻黑狗"]),
        ("shift_jis", ["表示", "猫ソ", "犬が走る"]),
        ("cp949", ["고양이"]),
        ("utf-8", ["кот", "é"]),
    ],
)
def test_names_in_the_code_page_of_their_writer(page: str, stems: list[str]) -> None:
    lines = ["file_name,caption", *(f"{stem}.jpg,this is {stem}" for stem in stems)]
    members = [(f"{stem}.jpg", picture(number)) for number, stem in enumerate(stems)]
    source = named_in(page, [*members, ("captions.csv", "\n".join(lines).encode())])
    with open_reading(source) as reading:
        items = list(reading.samples())
    assert [(item.key, getattr(item, "caption", item)) for item in items] == [
        (stem, f"this is {stem}") for stem in stems
    ]
    guessed = [note for note in reading.notes.counts() if "names of members" in note]
    assert len(guessed) == (page != "utf-8")


def test_a_name_in_utf8_beside_one_in_a_code_page_is_its_name() -> None:
    name = "ł.jpg"
    stated = b"\1" + zlib.crc32(b"\xa9.jpg").to_bytes(4, "little") + name.encode()
    field = (0x7075).to_bytes(2, "little") + len(stated).to_bytes(2, "little") + stated
    # In cp852 ł is 0x88; here the byte 0xA9 stands for it, which no page that is tried has as ł.
    source = named_in("latin-1", [("\xa9.jpg", picture())], field)
    _, rejections = read(source)
    assert [(rejection.key, rejection.reason) for rejection in rejections] == [("ł", Reason.MISSING_CAPTION)]
