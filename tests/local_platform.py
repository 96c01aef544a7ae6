"""A real platform for tests of the API, the client and the command line, and small data to put into it."""

from __future__ import annotations

import io
import socket
import tarfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np
from PIL import Image

from cocu.api.server import LocalServer, local_platform
from cocu.settings import Settings


@contextmanager
def running(folder: Path, encoders: Path, **settings: object) -> Iterator[LocalServer]:
    """A platform with its workers on a free port of localhost."""
    chosen = Settings.model_validate({"data_folder": folder, "encoders_url": encoders, **settings})
    with socket.create_server(("127.0.0.1", 0)) as listening, local_platform(chosen, listening) as server:
        yield server


def picture(seed: int, *, side: int = 24, format: str = "JPEG") -> bytes:
    """A small picture; another seed is another picture."""
    pixels = np.random.default_rng(seed).integers(0, 255, (side, side, 3), dtype=np.uint8)
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, format, quality=90)
    return out.getvalue()


def tar_of(members: Mapping[str, bytes]) -> bytes:
    """A tar with these files."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, content in members.items():
            information = tarfile.TarInfo(name)
            information.size = len(content)
            tar.addfile(information, io.BytesIO(content))
    return out.getvalue()


def tar_of_samples(captions: Mapping[str, str], *, first_seed: int = 0) -> bytes:
    """A tar of key.jpg and key.txt."""
    members: dict[str, bytes] = {}
    for seed, (key, caption) in enumerate(captions.items(), start=first_seed):
        members[f"{key}.jpg"] = picture(seed)
        members[f"{key}.txt"] = caption.encode()
    return tar_of(members)
