"""Contrastive training of both towers on images and their one incomplete caption; two cores suffice.

    python -m scenes_encoder.train /tmp/pairs first.pt --steps 500
    python -m scenes_encoder.train /tmp/pairs second.pt --start first.pt --seed 1 --steps 1500

trained the shipped encoder, except that its first part followed a schedule of 3,000 steps and that some
captions then contained “a photo of” or “we saw”. A single run of 2,000 steps should give the same quality.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, cast

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import Tensor, nn
from torch.nn import functional

import cocu_scenes
from scenes_encoder.data import Pairs, pixels, prepare
from scenes_encoder.model import DualEncoder
from scenes_encoder.tokens import learn_tokenizer

HELD_OUT_SEED = 1
# The share of captions that are turned into prompts.
PROMPTED = 0.15


def contrastive_loss(images_ND: Tensor, texts_ND: Tensor, scale: Tensor) -> Tensor:
    """Symmetric cross entropy over the batch: each image finds its caption, each caption its image."""
    logits_NN = scale * images_ND @ texts_ND.T
    targets_N = torch.arange(len(logits_NN))
    return (
        functional.cross_entropy(logits_NN, targets_N) + functional.cross_entropy(logits_NN.T, targets_N)
    ) / 2


def augment(pixels_NSSC: Tensor, rng: np.random.Generator) -> Tensor:
    """Mirror half of the batch and shift it by a few pixels."""
    mirrored_N = torch.from_numpy(rng.random(len(pixels_NSSC)) < 0.5)
    pixels_NSSC = torch.where(mirrored_N[:, None, None, None], pixels_NSSC.flip(2), pixels_NSSC)
    down, right = rng.integers(-5, 6, size=2).tolist()
    return pixels_NSSC.roll((down, right), dims=(1, 2))


@torch.no_grad()
def measure(model: DualEncoder, tokenize: Callable[[list[str]], Tensor], count: int) -> tuple[float, float]:
    """Return the share of held-out images whose best object is present, and the mean average precision."""
    held_out = list(cocu_scenes.generate(HELD_OUT_SEED, 0, count))
    names = [thing.name for thing in cocu_scenes.objects()]
    truth_NV = np.array([[name in scene.object_labels for name in names] for scene in held_out])
    model.eval()
    images = np.stack([pixels(scene.image) for scene in held_out])
    images_ND = torch.cat([model.image(torch.from_numpy(part)) for part in np.array_split(images, 10)])
    scores_NV = (images_ND @ model.text(tokenize([f"a photo of a {name}" for name in names])).T).numpy()
    model.train()
    order_NV = np.argsort(-scores_NV, axis=0, kind="stable")
    hits_NV = np.take_along_axis(truth_NV, order_NV, axis=0)
    precision_NV = np.cumsum(hits_NV, axis=0) / np.arange(1, len(hits_NV) + 1)[:, None]
    seen_V = hits_NV.any(axis=0)
    mean = ((precision_NV * hits_NV).sum(axis=0)[seen_V] / hits_NV.sum(axis=0)[seen_V]).mean()
    return float(truth_NV[np.arange(count), scores_NV.argmax(axis=1)].mean()), float(mean)


def train(
    pairs: Pairs,
    target: Path,
    *,
    steps: int,
    batch: int,
    rate: float,
    start: Path | None = None,
    seed: int = 0,
) -> None:
    """Train, print the progress, and save the state and the tokenizer."""
    torch.manual_seed(seed)
    rng = np.random.default_rng(seed)
    saved = torch.load(start, weights_only=True) if start is not None else None
    tokenizer = Tokenizer.from_str(saved["tokenizer"]) if saved else learn_tokenizer(pairs.captions)

    def tokenize(texts: list[str]) -> Tensor:
        return torch.tensor([encoding.ids for encoding in tokenizer.encode_batch(texts)])

    model = DualEncoder(tokenizer.get_vocab_size())
    # Some versions of torch have no type for this form of the call.
    cast(Any, model).to(memory_format=torch.channels_last)
    if saved:
        model.load_state_dict(saved["model"])
    print(sum(p.numel() for p in model.image.parameters()), "parameters in the image tower", flush=True)
    decayed = [p for p in model.parameters() if p.ndim >= 2]
    others = [p for p in model.parameters() if p.ndim < 2]
    optimizer = torch.optim.AdamW(
        [{"params": decayed, "weight_decay": 0.03}, {"params": others, "weight_decay": 0.0}],
        lr=rate,
        betas=(0.9, 0.98),
    )
    warm_up = min(200, steps // 10)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda s: min((s + 1) / warm_up, 0.5 * (1 + math.cos(math.pi * s / steps)))
    )
    started, losses, order = time.time(), [], np.empty(0, dtype=np.int64)
    for step in range(1, steps + 1):
        if len(order) < batch:
            order = rng.permutation(len(pairs.captions))
        rows, order = np.sort(order[:batch]), order[batch:]
        pixels_NSSC = augment(torch.from_numpy(pairs.images[rows]), rng)
        # Captions of scenes never contain “a photo of”, but the prompts of vocabularies do.
        captions = [pairs.captions[row] for row in rows.tolist()]
        prompted = (rng.random(batch) < PROMPTED).tolist()
        texts_NT = tokenize([f"a photo of {c}" if p else c for c, p in zip(captions, prompted, strict=True)])
        # Padding carries no information and costs as much as words.
        texts_NT = texts_NT[:, : int((texts_NT > 0).sum(dim=1).max())]
        with torch.autocast("cpu", torch.bfloat16):
            images_ND, texts_ND = model.image(pixels_NSSC), model.text(texts_NT)
        loss = contrastive_loss(images_ND.float(), texts_ND.float(), model.log_scale.clamp(max=4.0).exp())
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(loss.item())
        if step % 100 == 0:
            speed = step * batch / (time.time() - started)
            scale = model.log_scale.exp().item()
            print(f"{step} loss {np.mean(losses[-100:]):.3f} scale {scale:.1f} {speed:.0f}/s", flush=True)
        if step % 500 == 0 or step == steps:
            present, mean = measure(model, tokenize, 500 if step < steps else 2000)
            print(
                f"{step} top-1 present {present:.3f} mAP {mean:.3f} after {time.time() - started:.0f} s",
                flush=True,
            )
            torch.save({"model": model.state_dict(), "tokenizer": tokenizer.to_str()}, target)


def main() -> None:
    """Train the encoder of the scenes."""
    parser = argparse.ArgumentParser(description=main.__doc__)
    parser.add_argument("pairs", type=Path, help="folder of training pairs; generated there if it is empty")
    parser.add_argument("target", type=Path, help="checkpoint to write")
    parser.add_argument("--start", type=Path, help="checkpoint to start from")
    parser.add_argument("--count", type=int, default=120_000)
    parser.add_argument("--steps", type=int, default=2000)
    parser.add_argument("--batch", type=int, default=192)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    pairs = prepare(arguments.pairs, count=arguments.count)
    train(
        pairs,
        arguments.target,
        steps=arguments.steps,
        batch=arguments.batch,
        rate=arguments.rate,
        start=arguments.start,
        seed=arguments.seed,
    )


if __name__ == "__main__":
    main()
