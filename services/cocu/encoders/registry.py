"""The registry of a platform's encoders, which a folder of bundles or an inference server provides."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cocu.encoders.bundle import DESCRIPTION, Bundle
from cocu.encoders.encoder import Encoder
from cocu.encoders.inprocess import InProcessEncoder
from cocu.errors import IntegrityError, NotFoundError
from cocu.settings import Settings

__all__ = ["BundleFolder", "EncoderDescription", "EncoderProvider", "EncoderRegistry", "open_provider"]


@dataclass(frozen=True)
class EncoderDescription:
    """An encoder that the platform offers."""

    name: str
    hash: str
    dim: int
    license: str
    source: str


class EncoderProvider(Protocol):
    """A folder of bundles or an inference server; implementations are safe to use from many threads."""

    @property
    def location(self) -> str:
        """The name of the provider in error messages."""
        ...

    def list(self, *, required_hash: str | None = None) -> tuple[EncoderDescription, ...]:
        """Return every encoder that can be used now, sorted by name.

        required_hash: the hash of an encoder that the caller cannot do without. Raises UnavailableError when
        the provider does not answer, or when it has that encoder but cannot serve it yet.
        """
        ...

    def open(self, hash: str) -> Encoder:
        """Open the encoder of this hash, which `list` has returned."""
        ...

    def close(self) -> None:
        """Close the connections."""
        ...


class EncoderRegistry:
    """The encoders of a provider, opened when they are first used."""

    def __init__(self, provider: EncoderProvider) -> None:
        self._provider = provider
        self._lock = threading.Lock()
        self._opened: dict[str, Encoder] = {}

    def list(self) -> tuple[EncoderDescription, ...]:
        """Return every encoder, sorted by name. Raises InvalidBundleError for a bundle that is incomplete."""
        return self._provider.list()

    def describe(self, name: str | None = None) -> EncoderDescription:
        """Return the encoder of this name or hash, or the first encoder for None. Raises NotFoundError."""
        encoders = self.list()
        matching = [encoder for encoder in encoders if name in (None, encoder.name, encoder.hash)]
        if matching:
            return matching[0]
        names = ", ".join(encoder.name for encoder in encoders) or "none"
        missing = "no encoder" if name is None else f"no encoder {name!r}"
        raise NotFoundError(f"{missing} under {self._provider.location}; there are: {names}")

    def get(self, name: str | None = None) -> Encoder:
        """Open the encoder of this name or hash. Raises NotFoundError, InvalidBundleError."""
        return self._open(self.describe(name).hash)

    def require(self, *, name: str, hash: str) -> Encoder:
        """Open the encoder of exactly this hash; wait for it as long as a batch may take.

        Raises IntegrityError when it is gone or has changed, UnavailableError when it may come back.
        """
        if hash not in {encoder.hash for encoder in self._provider.list(required_hash=hash)}:
            raise IntegrityError(
                f"encoder {name!r} is not the one this work began with (hash {hash[:12]}…); "
                "put that bundle back, or start a new curation"
            )
        return self._open(hash)

    def close(self) -> None:
        """Close the connections; encoders that were returned must not be used afterwards."""
        self._provider.close()

    def _open(self, hash: str) -> Encoder:
        with self._lock:
            if hash not in self._opened:
                self._opened[hash] = self._provider.open(hash)
            return self._opened[hash]


class BundleFolder:
    """The bundles in a folder, or the folder itself if it is a bundle, served by ONNX Runtime in this
    process.

    threads: the threads of a single inference, 0 for one per physical core.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self._folder = folder
        self._threads = threads
        self._lock = threading.Lock()
        self._cached_bundles: dict[Path, tuple[float, Bundle]] = {}

    @property
    def location(self) -> str:
        """The folder's name."""
        return self._folder.name

    def list(self, *, required_hash: str | None = None) -> tuple[EncoderDescription, ...]:
        """Return every bundle, sorted by name. Raises InvalidBundleError for one that is incomplete."""
        return tuple(
            EncoderDescription(bundle.name, bundle.hash, bundle.dim, bundle.license, bundle.source)
            for bundle in self._bundles()
        )

    def open(self, hash: str) -> Encoder:
        """Open the encoder of this hash. Raises InvalidBundleError when it does not run."""
        for bundle in self._bundles():
            if bundle.hash == hash:
                return self.serve(bundle)
        raise IntegrityError(f"the encoder of hash {hash[:12]}… was replaced while it was opened; try again")

    def serve(self, bundle: Bundle) -> Encoder:
        """Return an encoder that runs a bundle of the folder."""
        return InProcessEncoder(bundle, threads=self._threads)

    def close(self) -> None:
        """Do nothing: there are no connections."""

    def _bundles(self) -> tuple[Bundle, ...]:
        single = (self._folder / DESCRIPTION).is_file()
        inside = self._folder.glob(f"*/{DESCRIPTION}")
        folders = [self._folder] if single else sorted(path.parent for path in inside)
        with self._lock:
            bundles = [self._bundle(folder) for folder in folders]
        return tuple(sorted(bundles, key=lambda bundle: bundle.name))

    def _bundle(self, folder: Path) -> Bundle:
        # Hashing a bundle reads hundreds of megabytes, so do it only when a file in the folder has changed.
        changed = max(path.stat().st_mtime for path in folder.iterdir())
        cached = self._cached_bundles.get(folder)
        if cached is None or cached[0] != changed:
            cached = self._cached_bundles[folder] = (changed, Bundle.load(folder))
        return cached[1]


def open_provider(settings: Settings) -> EncoderProvider:
    """Return the provider for the folder that the settings name."""
    return BundleFolder(Path(settings.encoders_url), threads=settings.worker_cores or 0)
