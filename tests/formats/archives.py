"""Small archives for tests."""

from __future__ import annotations

import io
import tarfile
import zipfile
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO

from PIL import Image

from cocu.formats.limits import Limits
from cocu.formats.options import ReadOptions
from cocu.formats.reading import Fetch, RawSample, read_samples
from cocu.formats.rejections import Reason, Rejection


def picture(number: int = 0, format: str = "JPEG") -> bytes:
    target = io.BytesIO()
    Image.new("RGB", (9, 7), ((number * 37) % 256, number % 256, 99)).save(target, format)
    return target.getvalue()


def tar_of(
    members: Iterable[tuple[str, bytes] | tarfile.TarInfo], mode: str = "w", **options: object
) -> io.BytesIO:
    target = io.BytesIO()
    with tarfile.open(fileobj=target, mode=mode, **options) as archive:  # type: ignore[call-overload]
        for member in members:
            if isinstance(member, tarfile.TarInfo):
                archive.addfile(member)
                continue
            info = tarfile.TarInfo(member[0])
            info.size = len(member[1])
            archive.addfile(info, io.BytesIO(member[1]))
    target.seek(0)
    return target


def zip_of(
    members: Iterable[tuple[str | zipfile.ZipInfo, bytes]], compression: int = zipfile.ZIP_DEFLATED
) -> io.BytesIO:
    target = io.BytesIO()
    with zipfile.ZipFile(target, "w", compression) as archive:
        for name, data in members:
            archive.writestr(name, data)
    target.seek(0)
    return target


def read(
    source: BinaryIO | Path,
    limits: Limits | None = None,
    format: str | None = None,
    options: ReadOptions | None = None,
    fetch: Fetch | None = None,
) -> tuple[list[RawSample], list[Rejection]]:
    chosen = options or ReadOptions(format=format)
    items = list(read_samples(source, limits=limits or Limits(), options=chosen, fetch=fetch))
    return (
        [item for item in items if isinstance(item, RawSample)],
        [item for item in items if isinstance(item, Rejection)],
    )


def keys(source: BinaryIO, limits: Limits | None = None) -> list[str]:
    """Keys of the samples of a source without rejections."""
    samples, rejections = read(source, limits)
    assert rejections == []
    return [sample.key for sample in samples]


def reasons(rejections: list[Rejection]) -> list[tuple[str | None, Reason]]:
    return [(rejection.key, rejection.reason) for rejection in rejections]
