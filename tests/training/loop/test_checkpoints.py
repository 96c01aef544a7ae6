"""Checkpoints: whole or not at all, the last ones kept, nothing run from them."""

from __future__ import annotations

import os
import pickle
from pathlib import Path

import pytest

torch = pytest.importorskip("torch")

from cocu_training.errors import CheckpointError
from cocu_training.loop.checkpoints import Checkpoints, read_checkpoint


def test_the_last_ones_are_kept_and_the_latest_is_read(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path / "made", kept=2)
    assert checkpoints.latest() is None
    for step in (3, 10, 200):
        checkpoints.save(step, {"weights": {"a": torch.full((2,), float(step))}})
    assert [file.name for file in checkpoints.all()] == ["step-000000010.pt", "step-000000200.pt"]
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] == 200
    assert latest["weights"]["a"].tolist() == [200.0, 200.0]


def test_what_a_killed_process_left_is_not_read_and_goes(tmp_path: Path) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {})
    left = tmp_path / "step-000000002.partial"
    left.write_bytes(b"half a checkp")
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["step"] == 1
    checkpoints.save(3, {})
    assert not left.exists()


def test_a_write_that_fails_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    checkpoints = Checkpoints(tmp_path)
    checkpoints.save(1, {"value": 1})

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(OSError, match="No space"):
        checkpoints.save(1, {"value": 2})
    latest = checkpoints.latest()
    assert latest is not None
    assert latest["value"] == 1


class Harmful:
    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, ("echo harm",)


def test_what_is_no_checkpoint_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "step-000000001.pt"
    file.write_bytes(b"nonsense")
    with pytest.raises(CheckpointError, match="damaged"):
        read_checkpoint(file)
    file.write_bytes(pickle.dumps(Harmful(), protocol=2))
    with pytest.raises(CheckpointError):
        read_checkpoint(file)
    torch.save({"state_dict": {}}, file)
    with pytest.raises(CheckpointError, match="of this version"):
        read_checkpoint(file)
    with pytest.raises(CheckpointError, match="there is no checkpoint"):
        read_checkpoint(tmp_path / "absent.pt")


def test_a_checkpoint_cut_short_is_refused(tmp_path: Path) -> None:
    file = Checkpoints(tmp_path).save(1, {"weights": torch.zeros(1000)})
    whole = file.read_bytes()
    for length in (0, 10, len(whole) // 2, len(whole) - 1):
        file.write_bytes(whole[:length])
        with pytest.raises(CheckpointError):
            read_checkpoint(file)
