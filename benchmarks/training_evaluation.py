"""Images evaluated per second with the model of the scenes on a CPU, against its network alone.

An evaluation reads, resizes, cuts, segments, puts together and scores. All but the network should cost
little: the alternative is the image tower on the same windows in the same batches, already in memory. The
limit of both is the arithmetic of the tower.
"""

from __future__ import annotations

import importlib.util
import tempfile
from pathlib import Path

import cocu_scenes
from benchmarks.report import measure, report

HAS_TORCH = importlib.util.find_spec("torch") is not None
if HAS_TORCH:
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    from cocu_training import evaluation
    from cocu_training.data.texts import Texts
    from cocu_training.evaluation.sliding_window import cut_windows, prepare
    from cocu_training.model import GroupViT, GroupViTConfiguration

IMAGES = 64
TOKENIZER = Path(__file__).parent.parent / "examples" / "encoders" / "scenes" / "tokenizer.json"
CONTEXT_LENGTH = 40
BOUND = 0.6


def main() -> None:
    """Print images per second of both, and their ratio."""
    if not HAS_TORCH:
        print("torch is not installed here (it comes with cocu[training]): nothing is measured")
        return
    with tempfile.TemporaryDirectory() as folder:
        cocu_scenes.write_scenes(folder, seed=11, count=IMAGES)
        _compare(Path(folder))


def _compare(folder: Path) -> None:
    torch.manual_seed(0)
    texts = Texts(TOKENIZER, CONTEXT_LENGTH)
    configuration = GroupViTConfiguration.scenes(text_tokens=texts.tokens, context_length=CONTEXT_LENGTH)
    model = GroupViT(configuration).eval()
    protocol = evaluation.find_protocol("scenes")
    dataset = evaluation.open_dataset("scenes", folder)
    size = protocol.short_side, protocol.short_side
    windows = cut_windows(*size, crop=protocol.crop, stride=protocol.stride)
    pixels_N3HW = torch.stack(
        [
            prepared_3HW[:, window.top : window.bottom, window.left : window.right]
            for prepared_3HW in (
                prepare(labelled.image_HW3, size, torch.device("cpu")) for labelled in dataset
            )
            for window in windows
        ]
    )

    @torch.inference_mode()
    def network() -> None:
        for pixels_B3HW in pixels_N3HW.split(16):
            model.groups(pixels_B3HW)

    def whole() -> None:
        evaluation.evaluate(model, texts, dataset, protocol)

    alone, evaluated = measure(network).processor, measure(whole).processor
    with FlopCounterMode(display=False) as counter:
        network()
    operations = counter.get_total_flops()
    print(f"{IMAGES} scenes, {len(dataset.names.names if dataset.names else ())} classes, one core:")
    print(f"  network alone   {IMAGES / alone:8.1f} images/s, {operations / alone / 1e9:.0f} GFLOP/s")
    print(f"  evaluation      {IMAGES / evaluated:8.1f} images/s")
    report(
        "training_evaluation",
        alone / evaluated,
        "x network alone",
        f">= {BOUND}",
        alone / evaluated >= BOUND,
    )


if __name__ == "__main__":
    main()
