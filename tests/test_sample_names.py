"""Names: one form of paths, roles by ending, and which names mean the same."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cocu.sample_names import Role, file_name, last_part, match_names, normal_path, sample_key

paths = st.lists(
    st.sampled_from(["a", "b", "é", "e\u0301", ".", "..", "", "1.jpg", "1.JPG", "x.y.png", "v1.0"]),
    max_size=4,
).map("/".join)
names = st.lists(paths | st.text("ab./\\é", max_size=6), max_size=8)


@given(st.text() | paths)
def test_a_path_that_is_made_normal_twice_is_as_once(raw: str) -> None:
    assert normal_path(normal_path(raw)) == normal_path(raw)


@given(paths)
def test_other_slashes_and_dots_are_the_same_path(path: str) -> None:
    assert normal_path("./" + path.replace("/", "\\")) == normal_path(path)


@given(names, names)
def test_matches_are_one_to_one_and_every_name_is_accounted_for(left: list[str], right: list[str]) -> None:
    matches = match_names(left, right)
    assert len(set(matches.keys.values())) == len(matches.keys)
    assert set(matches.keys.values()) <= set(right)
    accounted = [*matches.keys, *matches.missing, *matches.ambiguous]
    assert sorted(accounted) == sorted(set(left))
    assert all(last_part(name) == last_part(key) for name, key in matches.keys.items())
    assert all(matches.keys.get(name) == name for name in left if name in right)


@given(names, names, st.randoms())
def test_matches_do_not_depend_on_the_order(left: list[str], right: list[str], random: object) -> None:
    shuffled = left[::-1], right[::-1]
    assert match_names(left, right).keys == match_names(*shuffled).keys


@pytest.mark.parametrize(
    ("left", "right", "found"),
    [
        (["val2017/1.jpg"], ["val2017/1"], {"val2017/1.jpg": "val2017/1"}),
        (["1.jpg"], ["coco/val2017/1"], {"1.jpg": "coco/val2017/1"}),
        (["coco/val2017/1.JPEG"], ["1"], {"coco/val2017/1.JPEG": "1"}),
        (["cats\\1.jpg", "dogs\\1.jpg"], ["train/cats/1", "train/dogs/1"], None),
        (["old/1", "old/2"], ["new/1", "new/2"], None),
        ([unicodedata.normalize("NFD", "é/ü.png")], ["é/ü"], None),
        (["a.b.jpg"], ["x/a_b"], {"a.b.jpg": "x/a_b"}),
        (["1.jpg"], ["x/1.jpg", "x/1.png"], {"1.jpg": "x/1.jpg"}),
    ],
)
def test_names_are_matched_however_they_are_spelt(
    left: list[str], right: list[str], found: dict[str, str] | None
) -> None:
    assert match_names(left, right).keys == (found or dict(zip(left, right, strict=True)))


def test_what_could_be_several_is_not_guessed() -> None:
    matches = match_names(["1", "2", "3"], ["cats/1", "dogs/1", "cats/2"])
    assert (matches.keys, matches.ambiguous, matches.missing) == ({"2": "cats/2"}, ("1",), ("3",))
    assert match_names(["a.jpg", "a.png"], ["a"]).ambiguous == ("a.jpg", "a.png")
    assert match_names(["x/1", "y/1"], ["z/1"]).ambiguous == ("x/1", "y/1")


@pytest.mark.parametrize(
    ("name", "role"),
    [
        *((f"a.{ending}", Role.IMAGE) for ending in ("jpg", "JPEG", "Jpe", "JFIF", "PNG", "WebP")),
        *((f"a.{ending}", Role.CAPTION) for ending in ("txt", "TXT", "caption", "Caption", "cap", "text")),
        ("a.JSON", Role.METADATA),
        ("x/Metadata.CSV", Role.TABLE),
        ("captions.csv", Role.TABLE),
        ("captions.parquet", Role.OTHER_TABLE),
        ("a.TIFF", Role.OTHER_IMAGE),
        ("a.tar.GZ", Role.ARCHIVE),
        (".hidden.jpg", Role.HIDDEN),
        ("x/..%2fz.jpg", Role.HIDDEN),
        *(
            (name, Role.IGNORED)
            for name in ("x/.DS_Store", "._a.jpg", "__MACOSX/x/a.jpg", "Thumbs.db", "a.cls")
        ),
    ],
)
@pytest.mark.parametrize("first_dot", [True, False])
def test_roles(name: str, role: Role, first_dot: bool) -> None:
    assert file_name(name, first_dot=first_dot).role is role


def test_keys_end_at_the_first_dot_of_a_web_dataset_and_at_the_last_elsewhere() -> None:
    name = "v1.0/a.b.png"
    assert file_name(name, first_dot=True).key == "v1.0/a"
    assert sample_key(file_name(name, first_dot=False).key) == "v1.0/a_b"
