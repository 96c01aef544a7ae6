"""Quality of the shipped encoder on scenes that it has not seen: what it says first, and zero-shot tagging.

python -m benchmarks.scenes_encoder
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.report import report
from cocu.datasets import scenes
from cocu.encoders import InProcessEncoder, open_encoder

BUNDLE = Path(__file__).parent.parent / "examples" / "encoders" / "scenes"
# The committed scenes have seed 0, the training pictures 100.
HELD_OUT_SEED = 2
PICTURES = 2000
TOP_BOUND, TAGGING_BOUND = 0.8, 0.5


def similarities(
    encoder: InProcessEncoder, *, count: int, names: list[str], template: str
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """Similarity of held-out scenes to prompts, float32 [N, V], and which names are there, bool [N, V]."""
    pixels, truth = [], []
    for scene in scenes.generate(HELD_OUT_SEED, 0, count):
        pixels.append(encoder.preprocess(scene.picture))
        truth.append([name in scene.labels for name in names])
    texts_VD = encoder.embed_texts([template.format(name) for name in names])
    return encoder.embed_images(np.stack(pixels)) @ texts_VD.T, np.array(truth)


def top_present(scores_NV: NDArray[np.float32], truth_NV: NDArray[np.bool_]) -> float:
    """Part of the pictures whose best name is there."""
    return float(truth_NV[np.arange(len(truth_NV)), scores_NV.argmax(axis=1)].mean())


def tagging_quality(scores_NV: NDArray[np.float32], truth_NV: NDArray[np.bool_]) -> float:
    """Mean over names of the average precision with which the score ranks pictures that show the name."""
    order_NV = np.argsort(-scores_NV, axis=0, kind="stable")
    hits_NV = np.take_along_axis(truth_NV, order_NV, axis=0)
    precisions_NV = np.cumsum(hits_NV, axis=0) / np.arange(1, len(hits_NV) + 1)[:, None]
    counts_V = hits_NV.sum(axis=0)
    return float(((precisions_NV * hits_NV).sum(axis=0)[counts_V > 0] / counts_V[counts_V > 0]).mean())


def main() -> None:
    """Measure over all object concepts, with the prompt and with bare names, and over backgrounds."""
    encoder = open_encoder(BUNDLE, threads=1)
    things = [thing.name for thing in scenes.objects()]
    places = [background.name for background in scenes.backgrounds()]
    for label, names, template in (("backgrounds", places, "a photo of a {}"), ("bare names", things, "{}")):
        scores_NV, truth_NV = similarities(encoder, count=PICTURES, names=names, template=template)
        top, quality = top_present(scores_NV, truth_NV), tagging_quality(scores_NV, truth_NV)
        print(f"{label}: first one present {top:.3f}, mAP {quality:.3f}")
    scores_NV, truth_NV = similarities(encoder, count=PICTURES, names=things, template="a photo of a {}")
    chance = float(truth_NV.mean())
    top, quality = top_present(scores_NV, truth_NV), tagging_quality(scores_NV, truth_NV)
    print(f"{len(things)} objects in {PICTURES} held-out scenes; by chance {chance:.3f}")
    report(
        "scenes_encoder_tagging_map", quality, "mAP", f">= {TAGGING_BOUND}", holds=quality >= TAGGING_BOUND
    )
    report("scenes_encoder_top_present", top, "part of pictures", f">= {TOP_BOUND}", holds=top >= TOP_BOUND)


if __name__ == "__main__":
    main()
