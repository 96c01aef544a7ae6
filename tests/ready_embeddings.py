"""Embeddings as clip-retrieval writes them, for tests: the very files, made with numpy and pyarrow."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

Files = dict[str, bytes]


def npy(array: NDArray[Any]) -> bytes:
    target = io.BytesIO()
    np.save(target, array)
    return target.getvalue()


def parquet(columns: Mapping[str, Sequence[Any]]) -> bytes:
    target = io.BytesIO()
    pq.write_table(pa.table(dict(columns)), target)
    return target.getvalue()


def pair(number: int, vectors_ND: NDArray[Any], columns: Mapping[str, Sequence[Any]]) -> Files:
    """The two files of one partition."""
    return {
        f"img_emb/img_emb_{number}.npy": npy(vectors_ND),
        f"metadata/metadata_{number}.parquet": parquet(columns),
    }


def partitioned(vectors_ND: NDArray[Any], captions: Mapping[str, str], *, rows: int) -> Files:
    """Partitions of so many rows, the odd ones in float32; keys as a WebDataset has them."""
    keys = list(captions)
    files: Files = {}
    for number, start in enumerate(range(0, len(keys), rows)):
        part = keys[start : start + rows]
        columns = {
            "image_path": part,
            "caption": [captions[key] for key in part],
            "url": [f"https://example.org/{key}" for key in part],
            "similarity": [0.25] * len(part),
        }
        vectors_PD = vectors_ND[start : start + rows].astype(np.float32 if number % 2 else np.float16)
        files |= pair(number, vectors_PD, columns)
        files[f"text_emb/text_emb_{number}.npy"] = npy(np.zeros((1, 3), np.float16))
    return files


def write(files: Files, folder: Path) -> Path:
    """The files in a folder."""
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder
