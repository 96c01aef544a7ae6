"""What an uploader may choose."""

from __future__ import annotations

import io

import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from cocu.errors import InvalidInputError
from cocu.formats.columns import Columns
from cocu.formats.images import inspect_image
from cocu.formats.limits import Limits
from cocu.formats.options import SHORT_SIDES, CaptionChoice, ReadOptions
from cocu.formats.records import content_key, row_key
from cocu.sample_names import Role, file_name
from cocu.schemas.formats import FORMAT_NAMES

from .archives import read, tar_of

names = st.none() | st.text(max_size=5)


WITH_IMAGES = [format for format in FORMAT_NAMES if format != "clip-retrieval"]
READY = st.tuples(st.none() | st.just("clip-retrieval"), st.text())


@given(
    (st.tuples(st.none() | st.sampled_from(WITH_IMAGES), st.none()) | READY).flatmap(
        lambda chosen: st.builds(
            ReadOptions,
            format=st.just(chosen[0]),
            encoder=st.just(chosen[1]),
            captions=st.sampled_from(CaptionChoice),
            columns=st.builds(Columns, key=names, image=names, url=names, caption=names),
            short_side=st.none() | st.integers(SHORT_SIDES[0], SHORT_SIDES[-1]),
            fetch=st.booleans(),
        )
    )
)
def test_options_survive_being_stored(options: ReadOptions) -> None:
    assert ReadOptions.from_json(options.to_json()) == options


def test_defaults_are_stored_as_nothing() -> None:
    assert ReadOptions().to_json() == {}


@pytest.mark.parametrize(
    "stored",
    [
        {"format": "rar"},
        {"captions": "some"},
        {"columns": {"size": "x"}},
        {"short_side": 3},
        {"format": "clip-retrieval"},
        {"format": "zip", "encoder": "photo"},
    ],
)
def test_what_is_no_option_is_refused(stored: dict[str, object]) -> None:
    with pytest.raises(InvalidInputError):
        ReadOptions.from_json(stored)


def encoded(width: int, height: int, format: str, *, orientation: int = 1) -> bytes:
    image = Image.radial_gradient("L").resize((width, height)).convert("RGB")
    exif = Image.Exif()
    exif[0x0112] = orientation
    target = io.BytesIO()
    image.save(target, format, exif=exif)
    return target.getvalue()


def test_short_side__larger_pictures_become_small_jpegs_and_others_stay_as_they_are() -> None:
    members = {
        "large.jpg": encoded(400, 300, "JPEG"),
        "turned.jpg": encoded(400, 300, "JPEG", orientation=6),
        "painted.png": encoded(301, 1001, "PNG"),
        "small.png": encoded(64, 500, "PNG"),
        "tiny.webp": encoded(20, 10, "WEBP"),
    }
    captions = {f"{name.partition('.')[0]}.txt": b"a dog" for name in members}
    archive = tar_of([*members.items(), *captions.items()])
    samples, rejections = read(archive, options=ReadOptions(short_side=64))
    assert rejections == []
    by_key = {sample.key: sample for sample in samples}
    assert {key: (sample.width, sample.height, sample.extension) for key, sample in by_key.items()} == {
        "large": (85, 64, "jpg"),
        "turned": (64, 85, "jpg"),
        "painted": (64, 213, "jpg"),
        "small": (64, 500, "png"),
        "tiny": (20, 10, "webp"),
    }
    assert by_key["small"].image == members["small.png"]
    for sample in samples:
        assert inspect_image(sample.image) == inspect_image(sample.image)
        assert Image.open(io.BytesIO(sample.image)).size == (sample.width, sample.height)
    assert read(archive, options=ReadOptions(short_side=64))[0] == samples
    assert {sample.image for sample in read(archive)[0]} == set(members.values())


@given(st.text(max_size=40))
def test_a_row_s_key_is_the_key_of_its_member(raw: str) -> None:
    key = row_key(raw, "row 0", Limits())
    if isinstance(key, str) and "__MACOSX/" not in key:
        named = file_name(f"{key}.jpg", first_dot=True)
        assert (named.key, named.role) == (key, Role.IMAGE)


def test_content_keys_tell_parts_apart() -> None:
    assert content_key("ab", "c") != content_key("a", "bc")
    assert content_key(b"x") == content_key("x")
