"""Quality of the shipped encoder on scenes that it has not seen: what it says first, and zero-shot tagging.

python -m benchmarks.scenes_encoder
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import cocu_scenes
from benchmarks.report import report
from cocu.encoders import InProcessEncoder, open_encoder

BUNDLE = Path(__file__).parent.parent / "examples" / "encoders" / "scenes"
# The committed scenes have seed 0, the training images 100.
HELD_OUT_SEED = 2
IMAGES = 2000
PROMPT = "a photo of a {}"
TOP_BOUND, TAGGING_BOUND = 0.8, 0.5


def held_out(encoder: InProcessEncoder) -> tuple[NDArray[np.float32], list[set[str]]]:
    """Embeddings float32 [N, D] and labels of scenes that are new to training and examples."""
    pixels, labels = [], []
    for scene in cocu_scenes.generate(HELD_OUT_SEED, 0, IMAGES):
        pixels.append(encoder.preprocess(scene.image))
        labels.append(set(scene.labels))
    return encoder.embed_images(np.stack(pixels)), labels


def top_present(scores_NV: NDArray[np.float32], truth_NV: NDArray[np.bool_]) -> float:
    """Part of the images whose best name is there."""
    return float(truth_NV[np.arange(len(truth_NV)), scores_NV.argmax(axis=1)].mean())


def tagging_quality(scores_NV: NDArray[np.float32], truth_NV: NDArray[np.bool_]) -> float:
    """Mean over names of the average precision with which the score ranks images that show the name."""
    order_NV = np.argsort(-scores_NV, axis=0, kind="stable")
    hits_NV = np.take_along_axis(truth_NV, order_NV, axis=0)
    precisions_NV = np.cumsum(hits_NV, axis=0) / np.arange(1, len(hits_NV) + 1)[:, None]
    counts_V = hits_NV.sum(axis=0)
    return float(((precisions_NV * hits_NV).sum(axis=0)[counts_V > 0] / counts_V[counts_V > 0]).mean())


def main() -> None:
    """Measure over all object concepts, with the prompt and with bare names, and over backgrounds."""
    encoder = open_encoder(BUNDLE, threads=1)
    images_ND, labels = held_out(encoder)

    def measure(names: list[str], template: str) -> tuple[float, float, float]:
        scores_NV = images_ND @ encoder.embed_texts([template.format(name) for name in names]).T
        truth_NV = np.array([[name in present for name in names] for present in labels])
        return top_present(scores_NV, truth_NV), tagging_quality(scores_NV, truth_NV), float(truth_NV.mean())

    things = [thing.name for thing in cocu_scenes.objects()]
    top, quality, _ = measure([background.name for background in cocu_scenes.backgrounds()], PROMPT)
    print(f"backgrounds: the first is there in {top:.3f}, mAP {quality:.3f}")
    top, quality, _ = measure(things, "{}")
    print(f"objects by bare names: the first is there in {top:.3f}, mAP {quality:.3f}")
    top, quality, chance = measure(things, PROMPT)
    print(f"{len(things)} objects by prompt in {IMAGES} held-out scenes; one drawn by chance: {chance:.3f}")
    report(
        "scenes_encoder_tagging_map", quality, "mAP", f">= {TAGGING_BOUND}", holds=quality >= TAGGING_BOUND
    )
    report("scenes_encoder_top_present", top, "part of images", f">= {TOP_BOUND}", holds=top >= TOP_BOUND)


if __name__ == "__main__":
    main()
