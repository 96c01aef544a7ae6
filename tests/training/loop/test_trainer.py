"""The loop on samples in memory: it learns, stops, goes on to the bit, and says what it saw."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

torch = pytest.importorskip("torch")
pytest.importorskip("tensorboard")

from tests.training.memory_source import CONFIGURATION, TEXT_TOKENS, MemorySource

from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.stream import Samples
from cocu_training.errors import CheckpointError, DataError, NotFiniteError
from cocu_training.loop.checkpoints import Checkpoints, load_model
from cocu_training.loop.records import RECORDS, read_lines
from cocu_training.loop.trainer import Outcome, Trainer
from cocu_training.model import GroupViT

CPU = torch.device("cpu")


def trainer(
    folder: Path, configuration: TrainingConfiguration = CONFIGURATION, source: Any = None, **changes: Any
) -> Trainer:
    return Trainer(
        configuration,
        source=source or MemorySource(configuration),
        text_tokens=TEXT_TOKENS,
        folder=folder,
        device=CPU,
        **changes,
    )


def lines(folder: Path, kind: str = "step") -> list[dict[str, Any]]:
    return [line for line in read_lines(folder / RECORDS) if line["kind"] == kind]


def assert_same_weights(first: Mapping[str, torch.Tensor], second: Mapping[str, torch.Tensor]) -> None:
    assert first.keys() == second.keys()
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


class Interrupted(MemorySource):
    """Tells the process to stop before batch 2 of the second epoch."""

    def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
        for samples in super().samples(epoch, start=start):
            if epoch == 1 and samples.number == 2:
                os.kill(os.getpid(), signal.SIGTERM)
            yield samples


@pytest.mark.parametrize("arm", ["caption", "cluster"])
def test_it_learns_what_it_sees_again(tmp_path: Path, arm: Any) -> None:
    configuration = CONFIGURATION.with_(arm=arm, epochs=20)
    run = trainer(tmp_path, configuration)
    assert run.run() == Outcome(100, finished=True)
    losses = [line["loss"] for line in lines(tmp_path)]
    assert len(losses) == 100
    assert sum(losses[-10:]) < 0.8 * sum(losses[:10])
    last = lines(tmp_path)[-1]
    assert last["caption_scale"] > 1
    assert last["epoch"] == 20
    assert last["wait_seconds"] >= 0
    assert last["images_per_second"] > 0
    assert (last["concept_loss"] == 0) == (arm == "caption")
    assert (last["collision_rate"] == 0) == (arm == "caption")


@pytest.mark.parametrize("changes", [{}, {"average_decay": 0.9, "recompute": True}])
def test_a_run_that_stopped_goes_on_to_the_bit(tmp_path: Path, changes: dict[str, Any]) -> None:
    configuration = CONFIGURATION.with_(**changes)
    whole = trainer(tmp_path / "whole", configuration)
    assert whole.run() == Outcome(15, finished=True)
    stopped = trainer(tmp_path / "parts", configuration, Interrupted(configuration))
    outcome = stopped.run()
    assert not outcome.finished
    # The step that was under way, and the one in which it became known.
    assert 8 <= outcome.step <= 9
    assert lines(tmp_path / "parts", "event")[-1]["event"] == "stopped"
    again = trainer(tmp_path / "parts", configuration)
    assert again.resume()
    assert again.step == outcome.step
    assert again.run() == Outcome(15, finished=True)
    assert_same_weights(again.model.state_dict(), whole.model.state_dict())
    recorded = [
        [(line["step"], line["loss"], line["gradient_norm"]) for line in lines(tmp_path / part)]
        for part in ("whole", "parts")
    ]
    assert recorded[0] == recorded[1]
    if again.average is not None:
        assert whole.average is not None
        assert_same_weights(again.average.weights, whole.average.weights)


def test_recomputing_activations_changes_nothing(tmp_path: Path) -> None:
    losses = []
    for recompute in (False, True):
        folder = tmp_path / str(recompute)
        trainer(folder, CONFIGURATION.with_(recompute=recompute, steps=4)).run()
        losses.append([line["loss"] for line in lines(folder)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)


def test_a_loss_that_is_no_number_stops_with_the_batch_and_keeps_the_last_checkpoint(tmp_path: Path) -> None:
    configuration = CONFIGURATION.with_(checkpoint_interval=2)
    # Batch 3 of epoch 1 is number 4 of what there is; in epoch 0, number 4 comes last.
    source = MemorySource(configuration, broken_batch=4, dtype=torch.float32)
    run = trainer(tmp_path, configuration, source)
    with pytest.raises(NotFiniteError, match="batch 4 of epoch 0") as raised:
        run.run()
    assert (raised.value.step, raised.value.epoch, raised.value.batch) == (5, 0, 4)
    state = Checkpoints(tmp_path / "checkpoints").latest()
    assert state is not None
    assert state["step"] == 4
    assert all(tensor.isfinite().all() for tensor in state["model"].values())
    assert lines(tmp_path, "event")[-1]["event"] == "failed"


def test_checkpoints_of_another_run_are_refused(tmp_path: Path) -> None:
    trainer(tmp_path, CONFIGURATION.with_(steps=1), identity="one").run()
    with pytest.raises(CheckpointError, match="another configuration or curation"):
        trainer(tmp_path, CONFIGURATION.with_(steps=2), identity="one").resume()
    with pytest.raises(CheckpointError, match="another configuration or curation"):
        trainer(tmp_path, CONFIGURATION.with_(steps=1), identity="two").resume()
    assert trainer(tmp_path, CONFIGURATION.with_(steps=1, workers=3), identity="one").resume()


def test_an_epoch_that_has_nothing_is_an_error(tmp_path: Path) -> None:
    class Short(MemorySource):
        def samples(self, epoch: int, *, start: int) -> Iterator[Samples]:
            return iter(())

    with pytest.raises(DataError, match="epoch 0 has nothing from batch 0 on"):
        trainer(tmp_path, CONFIGURATION, Short(CONFIGURATION)).run()


def test_nothing_to_resume_is_a_beginning(tmp_path: Path) -> None:
    assert not trainer(tmp_path).resume()


def test_evaluations_see_the_average_and_disturb_nothing(tmp_path: Path) -> None:
    configuration = CONFIGURATION.with_(average_decay=0.9, steps=6)
    seen: list[dict[str, torch.Tensor]] = []

    def evaluate(model: GroupViT) -> dict[str, float]:
        assert not model.training
        torch.rand(3)
        seen.append({name: tensor.clone() for name, tensor in model.state_dict().items()})
        return {"figure": float(len(seen))}

    plain = trainer(tmp_path / "plain", configuration)
    plain.run()
    run = trainer(tmp_path / "evaluated", configuration.with_(evaluation_interval=2), evaluate=evaluate)
    run.run()
    assert_same_weights(plain.model.state_dict(), run.model.state_dict())
    assert [(line["step"], line["figure"]) for line in lines(tmp_path / "evaluated", "evaluation")] == [
        (2, 1.0),
        (4, 2.0),
        (6, 3.0),
    ]
    assert run.average is not None
    assert_same_weights(seen[-1], run.average.weights)
    (file,) = (tmp_path / "evaluated" / "checkpoints").glob("*.pt")
    model, read = load_model(file)
    assert read.hash == configuration.hash
    assert_same_weights(model.state_dict(), run.average.weights)


def test_the_average_forgets_the_beginning() -> None:
    from cocu_training.loop.ema import WeightAverage

    model = torch.nn.Linear(1, 1, bias=False)
    torch.nn.init.constant_(model.weight, 100.0)
    average = WeightAverage(model, 0.5)
    torch.nn.init.constant_(model.weight, 1.0)
    values = []
    for _ in range(12):
        average.update(model)
        values.append(average.weights["weight"].item())
    # (1 + n) / (10 + n) of the average stays, until that is more than the decay.
    assert values[0] == pytest.approx(1 + 99 * 2 / 11, rel=1e-5)
    assert values[1] == pytest.approx(1 + 99 * 2 / 11 * 3 / 12, rel=1e-5)
    assert values[11] - 1 == pytest.approx((values[10] - 1) / 2, rel=1e-2)
    assert values[11] == pytest.approx(1.0, abs=2e-3)


def test_mixed_precision_trains_weights_that_are_float32(tmp_path: Path) -> None:
    run = trainer(tmp_path, CONFIGURATION.with_(precision="bf16", steps=3))
    run.run()
    assert {tensor.dtype for tensor in run.model.parameters()} == {torch.float32}
    assert all(line["loss"] < 50 for line in lines(tmp_path))


def test_the_objective_can_be_captured_as_a_graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # As torch.compile does, but without making machine code of it, which takes minutes.
    compile_module = torch.nn.Module.compile
    monkeypatch.setattr(torch.nn.Module, "compile", lambda module: compile_module(module, backend="eager"))
    losses = []
    for compiled in (False, True):
        folder = tmp_path / str(compiled)
        trainer(folder, CONFIGURATION.with_(compile=compiled, mask_shared=True, steps=3)).run()
        losses.append([line["loss"] for line in lines(folder)])
    assert losses[0] == pytest.approx(losses[1], rel=1e-5)
