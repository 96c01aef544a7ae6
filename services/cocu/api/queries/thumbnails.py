"""Thumbnails: made at the first request, stored beside the dataset, read afterwards.

A stored thumbnail belongs to the content of an image: its name is the SHA-256 of the image and the size. So
two samples with one image share it, it is deleted with the dataset, and `paths.thumbnail` names what must be
deleted with an image. It has a checksum; a damaged one is made again. Two requests, also of two processes,
may make the same one at the same time. Neither waits for the other, and both write the same bytes.
"""

from __future__ import annotations

import logging

from cocu import schemas
from cocu.api.queries.lru_cache import LruCache
from cocu.api.queries.samples import Samples, StoredImage
from cocu.errors import IntegrityError, MachineError, NotFoundError, UnavailableError
from cocu.formats import images
from cocu.platform import Platform
from cocu.storage import checksums, paths

REMEMBERED = 20_000
"""Images whose hash a process remembers: at most 600 bytes each, the longest key among them."""

log = logging.getLogger(__name__)


class Thumbnails:
    """Thumbnails of every dataset of a platform."""

    def __init__(self, platform: Platform, samples: Samples) -> None:
        self._platform = platform
        self._samples = samples
        self._hashes: LruCache[tuple[str, str, str], str] = LruCache(REMEMBERED)

    def recall(self, *, tenant: str, dataset: str, key: str, size: schemas.ThumbnailSize) -> str | None:
        """Return the tag of a thumbnail that this process has given to this tenant; the catalog is not asked.

        It is None where the process has not, and where the stored thumbnail is gone: it goes with its
        dataset. So a tag is never confirmed to another tenant, nor for a dataset that is deleted.
        """
        sha256 = self._hashes.find((tenant, dataset, key))
        if sha256 is None or not self._platform.objects.exists(paths.thumbnail(dataset, sha256, size)):
            return None
        return tag_of(sha256, size)

    def read(self, *, tenant: str, image: StoredImage, size: schemas.ThumbnailSize) -> bytes:
        """Return a JPEG of at most `size` pixels on the longer side, and store it where it is not stored yet.

        Costs reading one small object; the first time also decoding the image, within the budget of pixels.
        Raises NotFoundError where the sample was deleted meanwhile, InvalidInputError for an image that
        cannot be decoded, UnavailableError like the budget, IntegrityError for a damaged image.
        """
        path = paths.thumbnail(image.dataset, image.sha256, size)
        data = self._stored(path)
        if data is None:
            data = images.thumbnail(
                self._samples.bytes_of(image),
                side=size,
                pixels=self._platform.pixels,
                limits=self._platform.limits,
            )
            self._store(path, data, tenant=tenant, image=image)
        self._hashes.put((tenant, image.dataset, image.key), image.sha256)
        return data

    def _stored(self, path: str) -> bytes | None:
        try:
            return checksums.unseal(path, self._platform.objects.get(path))
        except NotFoundError:
            return None
        except IntegrityError as error:
            log.warning("a thumbnail is made again: %s", error)
            return None

    def _store(self, path: str, data: bytes, *, tenant: str, image: StoredImage) -> None:
        objects = self._platform.objects
        try:
            objects.put(path, checksums.seal(data))
        except (UnavailableError, MachineError) as error:
            # The answer does not need it: with a full disk, thumbnails are made at every request.
            log.warning("a thumbnail is not stored: %s", error)
            return
        try:
            # Deleting a dataset first hides it, then deletes its files. What was written after that is seen
            # here, what was written before is deleted there.
            self._samples.image(tenant=tenant, dataset=image.dataset, key=image.key)
        except NotFoundError:
            objects.delete(path)
            raise


def tag_of(sha256: str, size: schemas.ThumbnailSize) -> str:
    """Return the ETag of a thumbnail of the image with this SHA-256 (hex)."""
    return f"{sha256}-{size}"
