"""Scenes on disk: WebDataset shards, and one table with the truth of all scenes."""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

from cocu_scenes.concepts import class_names
from cocu_scenes.generation import generate
from cocu_scenes.truth import Scene

LABELS_FILE = "labels.json"
_JPEG_QUALITY = 80


def write_scenes(folder: str | Path, *, seed: int, count: int, shards: int = 1) -> list[Path]:
    """Write the first `count` scenes of a seed, `scenes-00000.tar` … and `labels.json`; return the shards.

    A scene is four members of a shard: `key.jpg`, `key.txt` (the caption), `key.json` (labels, objects with
    boxes and visible parts) and `key.mask.png` (grey levels are positions in `class_names()`). `labels.json`
    holds {"labels": names by mask value, "samples": key → names of everything in the scene}.
    Guarantees: the same arguments write the same bytes; memory does not grow with the images.

    Raises:
        ValueError: fewer scenes than shards, or no shard at all.
    """
    if not 1 <= shards <= count:
        raise ValueError(f"{count} scenes do not fill {shards} shards; ask for 1 to {count} shards")
    folder = Path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    borders = np.linspace(0, count, shards + 1).round().astype(int).tolist()
    paths, samples = [], {}
    for shard, (start, end) in enumerate(pairwise(borders)):
        paths.append(folder / f"scenes-{shard:05d}.tar")
        # USTAR: half the headers of the default format, and no time, owner or path of this machine.
        with tarfile.open(paths[-1], "w", format=tarfile.USTAR_FORMAT) as tar:
            for scene in generate(seed, start, end - start):
                _add(tar, scene)
                samples[scene.key] = list(scene.labels)
    (folder / LABELS_FILE).write_text(_lines(class_names(), samples), encoding="utf-8")
    return paths


def _add(tar: tarfile.TarFile, scene: Scene) -> None:
    image, mask = io.BytesIO(), io.BytesIO()
    scene.image.save(image, "JPEG", quality=_JPEG_QUALITY, optimize=True)
    # Level 9 takes as long as generating the scene, and saves less than a block of the tar.
    Image.fromarray(scene.mask).save(mask, "PNG", compress_level=6)
    metadata = json.dumps(scene.metadata(), separators=(",", ":"))
    members = {
        "jpg": image.getvalue(),
        "txt": scene.caption.encode(),
        "json": metadata.encode(),
        "mask.png": mask.getvalue(),
    }
    for extension, content in members.items():
        member = tarfile.TarInfo(f"{scene.key}.{extension}")
        member.size = len(content)
        tar.addfile(member, io.BytesIO(content))


def _lines(labels: Sequence[str], samples: Mapping[str, Sequence[str]]) -> str:
    """Return JSON with one sample per line, for readable differences."""
    rows = ",\n".join(f"  {json.dumps(key)}: {json.dumps(names)}" for key, names in samples.items())
    return f'{{\n"labels": {json.dumps(labels)},\n"samples": {{\n{rows}\n}}\n}}\n'
