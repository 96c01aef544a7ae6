"""Vectors in a folder and what they survive. What every form of the store does is in tests/contracts."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from qdrant_client import QdrantClient, models

from cocu.errors import NoRoomError, RefusedError, UnavailableError
from cocu.vectors import ArchivedConcept, Archives, Vectors

OURS = {"encoder": "e1", "tenant": "acme", "dataset": "d1"}
COLLECTION = "samples-e1"


def unit(count: int, seed: int = 0, dimensions: int = 8) -> np.ndarray:
    drawn = np.random.default_rng(seed).normal(size=(count, dimensions)).astype(np.float32)
    return drawn / np.linalg.norm(drawn, axis=1, keepdims=True)


def keys(count: int) -> list[str]:
    return [f"k/{number}" for number in range(count)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "deep" / "vectors"


def filled(folder: Path, count: int = 300) -> Vectors:
    vectors = Vectors.open(str(folder))
    vectors.ensure_collection(encoder="e1", dimensions=8)
    put(vectors, count)
    return vectors


def put(vectors: Vectors, count: int) -> None:
    odd = Archives(
        "c", np.arange(count + 1), np.arange(count) % 2, np.zeros(count), np.ones(count, dtype=bool)
    )
    vectors.upsert_samples(**OURS, keys=keys(count), first_row=0, embeddings_ND=unit(count), archives=[odd])


def process_of(vectors: Vectors) -> int:
    return int(vectors._backend._process.pid)  # type: ignore[attr-defined]


@settings(max_examples=6, deadline=None)
@given(
    st.lists(
        st.tuples(st.text(min_size=1, max_size=3), st.text(min_size=1, max_size=3), st.text(max_size=3)),
        min_size=2,
        max_size=6,
        unique=True,
    ).filter(
        lambda names: not any("\ud800" <= c <= "\udfff" for name in names for part in name for c in part)
    )
)
def test_no_choice_of_names_reaches_another(names: list[tuple[str, str, str]]) -> None:
    vectors = Vectors.open(":memory:")
    vectors.ensure_collection(encoder="e", dimensions=2)
    for number, (tenant, dataset, key) in enumerate(names):
        vectors.upsert_samples(
            encoder="e", tenant=tenant, dataset=dataset, keys=[key], first_row=number,
            embeddings_ND=np.array([[1.0, 0.0]]),
        )  # fmt: skip
    for tenant, dataset, _ in names:
        hits = vectors.search(encoder="e", tenant=tenant, dataset=dataset, vector_D=np.array([1.0, 0.0]))
        assert [hit.row for hit in hits] == [
            number for number, name in enumerate(names) if name[:2] == (tenant, dataset)
        ]
    vectors.close()


def test_a_folder_keeps_what_was_put_there(folder: Path) -> None:
    filled(folder).close()
    assert folder.stat().st_mode & 0o777 == 0o700
    again = Vectors.open(folder.as_uri())
    assert again.count(**OURS) == 300
    hits = again.search(**OURS, vector_D=unit(4)[3], concepts=[ArchivedConcept("c", 1)], limit=1)
    assert [hit.row for hit in hits] == [3]
    again.close()


def test_one_folder_serves_one_process(folder: Path) -> None:
    held = Vectors.open(str(folder))
    with pytest.raises(UnavailableError, match="in use by another process; stop it"):
        Vectors.open(str(folder))
    program = f"from cocu.vectors import Vectors; Vectors.open({str(folder)!r})"
    other = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert "UnavailableError" in other.stderr
    held.close()
    Vectors.open(str(folder)).close()


def test_the_process_ends_with_the_platform_however_that_ends(folder: Path) -> None:
    program = (
        "import sys, time; from cocu.vectors import Vectors;"
        f"vectors = Vectors.open({str(folder)!r}); vectors.ensure_collection(encoder='e1', dimensions=8);"
        "print(vectors._backend._process.pid, flush=True); time.sleep(600)"
    )
    with subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True) as platform:
        assert platform.stdout is not None
        store = int(platform.stdout.readline())
        # Busy, as with a graph: what takes over has to wait for it.
        os.kill(store, signal.SIGSTOP)
        platform.kill()
    threading.Timer(1.0, os.kill, (store, signal.SIGCONT)).start()
    taken = Vectors.open(str(folder))
    assert taken.count(**OURS) == 0
    taken.close()
    # Nobody may wait for it: a zombie has ended, too.
    status = Path(f"/proc/{store}/stat")
    assert not status.exists() or status.read_text().rpartition(")")[2].split()[0] == "Z"


def test_a_process_that_dies_is_started_again_and_has_lost_nothing(
    folder: Path, caplog: pytest.LogCaptureFixture
) -> None:
    vectors = filled(folder)
    for _ in range(3):
        os.kill(process_of(vectors), signal.SIGKILL)
        assert vectors.count(**OURS) == 300
    assert vectors.lost == 0
    assert "has ended (status -9); it is started again" in caplog.text
    vectors.close()


def kill_it_when_asked(vectors: Vectors, monkeypatch: pytest.MonkeyPatch, *names: str) -> None:
    """Kill the process of a store whenever it is asked one of these."""
    exchange = vectors._backend._exchange  # type: ignore[attr-defined]

    def die(name: str, arguments: tuple[object, ...]) -> object:
        if name in names:
            if vectors._backend._process is None:  # type: ignore[attr-defined]
                vectors._backend._start()  # type: ignore[attr-defined]
            os.kill(process_of(vectors), signal.SIGKILL)
        return exchange(name, arguments)

    monkeypatch.setattr(vectors._backend, "_exchange", die)


def test_a_process_that_dies_of_what_it_is_asked_is_not_started_for_ever(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    vectors = filled(folder)
    kill_it_when_asked(vectors, monkeypatch, "count")
    with pytest.raises(UnavailableError, match=r"ended twice \(status -9\) .* made again from the files"):
        vectors.count(**OURS)
    # What it died of is taken for damaged: nothing else would end this.
    assert vectors.lost == 1
    assert vectors.search(**OURS, vector_D=unit(1)[0]) == []
    monkeypatch.undo()
    put(vectors, 300)
    assert vectors.count(**OURS) == 300
    vectors.close()


def test_a_process_that_dies_of_anything_is_away_and_has_lost_nothing(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Something else ends it, and would end it a third time: nothing is taken for damaged."""
    vectors = filled(folder)
    kill_it_when_asked(vectors, monkeypatch, "count", "lose")
    with pytest.raises(UnavailableError, match="once more when it was started again"):
        vectors.count(**OURS)
    monkeypatch.undo()
    assert vectors.count(**OURS) == 300
    assert vectors.lost == 0
    vectors.close()


def largest(folder: Path) -> Path:
    return max(folder.rglob("*"), key=lambda path: path.stat().st_size if "wal" not in path.parts else 0)


def zero(path: Path) -> None:
    path.write_bytes(bytes(path.stat().st_size))


def halve(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def empty(path: Path) -> None:
    os.truncate(path, 0)


@pytest.mark.parametrize("damage", [zero, halve, empty])
def test_a_damaged_folder_loses_what_cannot_be_read_and_says_so(
    folder: Path, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Every file of a shard in turn: the answer is right, or the shard is lost, logged and filled again."""
    filled(folder).close()
    (current,) = folder.rglob("current")
    shard = current.parent
    names = [path.relative_to(shard) for path in sorted(shard.rglob("*")) if path.is_file()]
    for name in names:
        path = shard / name
        if not path.exists() or not path.stat().st_size:
            continue
        damage(path)
        vectors = Vectors.open(str(folder))
        try:
            count = vectors.count(**OURS)
            hits = vectors.search(**OURS, vector_D=unit(1)[0], limit=300)
        except UnavailableError as error:
            raise AssertionError(f"{damage.__name__} {name}: {error}") from error
        if len(hits) != 300 or count != 300:
            assert vectors.lost, f"{damage.__name__} {name}: {count} points, {len(hits)} hits, and not a word"
            assert "are made again from the files" in caplog.text
        put(vectors, 300)
        assert vectors.count(**OURS) == 300
        assert len(vectors.search(**OURS, vector_D=unit(1)[0], limit=300)) == 300
        vectors.close()
        caplog.clear()


@pytest.mark.parametrize("content", ["", "{", '{"collections": 3}', "[]", '{"dimensions": "x"}'])
def test_a_damaged_description_is_a_collection_that_is_lost(
    folder: Path, content: str, caplog: pytest.LogCaptureFixture
) -> None:
    filled(folder).close()
    (folder / COLLECTION / "meta.json").write_text(content)
    vectors = Vectors.open(str(folder))
    assert vectors.count(**OURS) == 0
    assert vectors.lost == 1
    assert "are made again from the files" in caplog.text
    vectors.ensure_collection(encoder="e1", dimensions=8)
    put(vectors, 300)
    assert vectors.count(**OURS) == 300
    vectors.close()


def test_a_request_that_fails_costs_no_points(folder: Path) -> None:
    vectors = filled(folder)
    with pytest.raises(RefusedError, match="refuses to search"):
        vectors.search(**OURS, vector_D=np.ones(9))
    assert (vectors.count(**OURS), vectors.lost) == (300, 0)
    vectors.close()


def test_what_an_earlier_version_left_is_replaced(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    old = QdrantClient(path=str(folder))
    old.create_collection("c", vectors_config=models.VectorParams(size=2, distance=models.Distance.COSINE))
    old.close()
    vectors = Vectors.open(str(folder))
    assert vectors.lost == 1
    assert "written by an earlier version; they are made again from the files" in caplog.text
    assert not (folder / "collection").exists()
    vectors.close()
    again = Vectors.open(str(folder))
    assert again.lost == 0
    again.close()


def test_a_full_disk_is_said_as_such(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    vectors = filled(folder)
    monkeypatch.setattr(
        vectors._backend, "_exchange", lambda *_: ("machine", "No space left on device (os error 28)", [])
    )
    with pytest.raises(NoRoomError, match="no space left on the disk; free some"):
        put(vectors, 1)
    monkeypatch.undo()
    vectors.close()
