"""Arrays on files: what is mapped is what was written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays_of

from cocu.curation.archives import Mentions
from cocu.errors import IntegrityError, NotFoundError
from cocu.storage.arrays import (
    concatenate_mentions,
    read_arrays,
    read_embeddings,
    read_mentions,
    write_arrays,
    write_embeddings,
    write_mentions,
)
from cocu.storage.objects import ObjectStore


@pytest.fixture(params=["file", "memory"])
def objects(request: pytest.FixtureRequest, tmp_path: Path) -> ObjectStore:
    if request.param == "file":
        return ObjectStore.open(str(tmp_path / "objects"))
    return ObjectStore.open("memory://", cache=tmp_path / "cache")


@pytest.mark.parametrize("shape", [(0, 512), (1, 3), (300, 64)])
def test_embeddings_are_half_precision_and_mapped(objects: ObjectStore, shape: tuple[int, int]) -> None:
    embeddings_ND = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    write_embeddings(objects, "e/1.npy", embeddings_ND[:, ::-1])
    mapped_ND = read_embeddings(objects, "e/1.npy")
    assert mapped_ND.dtype == np.float16
    assert mapped_ND.shape == shape
    np.testing.assert_array_equal(mapped_ND, embeddings_ND[:, ::-1].astype(np.float16))
    assert isinstance(mapped_ND, np.memmap) == (shape[0] > 1)
    assert np.load(objects.local_path("e/1.npy"), allow_pickle=False).shape == shape


@pytest.mark.parametrize("bad", [np.nan, np.inf, 1e6])
def test_embeddings_that_are_not_finite_are_refused(objects: ObjectStore, bad: float) -> None:
    embeddings_ND = np.zeros((3, 4), np.float32)
    embeddings_ND[1, 2] = bad
    with pytest.raises(ValueError, match=r"1 samples .* row 1"), np.errstate(over="ignore"):
        write_embeddings(objects, "e.npy", embeddings_ND)
    with pytest.raises(ValueError, match=r"\[N, D\]"):
        write_embeddings(objects, "e.npy", np.zeros(3))
    assert not objects.exists("e.npy")


def test_other_files_are_not_embeddings(objects: ObjectStore) -> None:
    with pytest.raises(NotFoundError):
        read_embeddings(objects, "none.npy")
    objects.put("text.npy", b"hello")
    objects.put("long.npy", b"hello" * 100)
    with objects.writing("pickled.npy") as file:
        np.save(file, np.array([{"a": 1}] * 200, dtype=object), allow_pickle=True)
    with objects.writing("doubles.npy") as file:
        np.save(file, np.zeros((40, 40)))
    write_embeddings(objects, "whole.npy", np.zeros((100, 10)))
    objects.put("cut.npy", objects.get("whole.npy")[:-100])
    for name in ("text", "long", "pickled", "doubles", "cut"):
        with pytest.raises(IntegrityError, match=f"{name}.npy"):
            read_embeddings(objects, f"{name}.npy")


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=40)
@given(
    arrays=st.dictionaries(
        st.text(min_size=1, max_size=10).filter(lambda name: name.isprintable()),
        arrays_of.arrays(
            st.sampled_from([np.float16, np.float32, np.float64, np.int8, np.int32, np.int64, np.uint8]),
            arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=5),
        ),
        max_size=4,
    )
)
def test_arrays_come_back_with_their_shapes(tmp_path: Path, arrays: dict[str, np.ndarray]) -> None:
    objects = ObjectStore.open(str(tmp_path))
    write_arrays(objects, "a.arrow", arrays)
    first = objects.get("a.arrow")
    mapped = read_arrays(objects, "a.arrow")
    assert list(mapped) == list(arrays)
    for name, array in arrays.items():
        assert mapped[name].dtype == array.dtype
        np.testing.assert_array_equal(mapped[name], array)
    write_arrays(objects, "a.arrow", arrays)
    assert objects.get("a.arrow") == first


def test_mapped_arrays_are_aligned_and_read_only(objects: ObjectStore) -> None:
    write_arrays(objects, "a", {"x": np.arange(7, dtype=np.int8), "y_NL": np.arange(12.0).reshape(3, 4)})
    mapped = read_arrays(objects, "a")
    for array in mapped.values():
        assert array.flags.aligned
        assert not array.flags.writeable
    objects.delete("a")
    assert mapped["y_NL"].sum() == 66


def test_only_numbers_are_arrays(objects: ObjectStore) -> None:
    for array in (np.array(["a"]), np.array([{}], dtype=object), np.array([True])):
        with pytest.raises(ValueError, match="'a' is of"):
            write_arrays(objects, "a", {"a": array})


@pytest.mark.parametrize("data", [b"", b"hello", b"ARROW1\0\0" + bytes(100)])
def test_other_files_do_not_hold_arrays(objects: ObjectStore, data: bytes) -> None:
    objects.put("a", data)
    with pytest.raises(IntegrityError, match="object a"):
        read_arrays(objects, "a")
    write_arrays(objects, "b", {"x": np.arange(1000)})
    objects.put("cut", objects.get("b")[:-500])
    with pytest.raises(IntegrityError, match="object cut"):
        read_arrays(objects, "cut")


def mentions(*lists: list[int], scale: float = 0.1) -> Mentions:
    offsets = np.cumsum([0, *(len(concepts) for concepts in lists)]).astype(np.int64)
    concepts = np.array([concept for concepts in lists for concept in concepts], np.int32)
    return Mentions(offsets, concepts, (concepts * scale).astype(np.float32))


def same(first: Mentions, second: Mentions) -> bool:
    return all(
        np.array_equal(getattr(first, name), getattr(second, name))
        for name in ("offsets_N1", "concepts_M", "similarities_M")
    )


def test_mentions_are_mapped_and_concatenated(objects: ObjectStore) -> None:
    parts = [mentions([1, 5], [], [2]), mentions(), mentions([], [7])]
    for number, part in enumerate(parts):
        write_mentions(objects, f"m/{number}", part)
    mapped = [read_mentions(objects, f"m/{number}") for number in range(3)]
    assert all(same(*pair) for pair in zip(parts, mapped, strict=True))
    assert same(
        concatenate_mentions([lambda part=part: part for part in mapped]), mentions([1, 5], [], [2], [], [7])
    )
    assert same(concatenate_mentions([]), mentions())


def test_mentions_that_do_not_fit_together(objects: ObjectStore) -> None:
    good = mentions([1, 2], [3])
    arrays = {"offsets_N1": good.offsets_N1, "concepts_M": good.concepts_M}
    write_arrays(objects, "m", arrays)
    with pytest.raises(IntegrityError, match="does not hold mentions"):
        read_mentions(objects, "m")
    write_arrays(objects, "m", {**arrays, "similarities_M": good.similarities_M[:-1]})
    with pytest.raises(IntegrityError, match="do not fit"):
        read_mentions(objects, "m")
