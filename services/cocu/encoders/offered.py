"""The encoders that a platform offers: those of a folder of bundles, or those of an inference server."""

from __future__ import annotations

import threading
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from cocu.encoders.bundle import DESCRIPTION, Bundle
from cocu.encoders.encoder import Encoder
from cocu.encoders.inprocess import InProcessEncoder
from cocu.errors import IntegrityError, NotFoundError

__all__ = ["BundleFolder", "EncoderDescription", "EncoderSource", "Encoders"]


@dataclass(frozen=True)
class EncoderDescription:
    """An encoder that the platform offers."""

    name: str
    hash: str
    dim: int
    license: str
    source: str


class EncoderSource(Protocol):
    """Where encoders come from; safe to use from many threads."""

    @property
    def place(self) -> str:
        """What it is called in errors."""
        ...

    def list(self, *, awaiting: str | None = None) -> tuple[EncoderDescription, ...]:
        """Every encoder that can be used now, by name.

        awaiting: a hash that work cannot go on without. Raises UnavailableError when the source does not
        answer, or when it has that encoder but cannot serve it yet.
        """
        ...

    def open(self, hash: str) -> Encoder:
        """The encoder of this hash, which `list` has named."""
        ...

    def close(self) -> None:
        """Ends connections."""
        ...


class Encoders:
    """The encoders of a source, opened when they are first used."""

    def __init__(self, source: EncoderSource) -> None:
        self._source = source
        self._lock = threading.Lock()
        self._opened: dict[str, Encoder] = {}

    def list(self) -> tuple[EncoderDescription, ...]:
        """Every encoder, by name. Raises InvalidBundleError for a bundle that is incomplete."""
        return self._source.list()

    def describe(self, name: str | None = None) -> EncoderDescription:
        """The encoder of this name or hash; without one the only, or first, encoder. Raises NotFoundError."""
        found = self.list()
        matching = [one for one in found if name in (None, one.name, one.hash)]
        if matching:
            return matching[0]
        names = ", ".join(one.name for one in found) or "none"
        wanted = "no encoder" if name is None else f"no encoder {name!r}"
        raise NotFoundError(f"{wanted} under {self._source.place}; there are: {names}")

    def get(self, name: str | None = None) -> Encoder:
        """The encoder of this name or hash, ready to use. Raises NotFoundError, InvalidBundleError."""
        return self._open(self.describe(name).hash)

    def require(self, *, name: str, hash: str) -> Encoder:
        """The encoder of exactly this hash, waited for as long as work may wait.

        Raises IntegrityError when it is gone or has changed, UnavailableError when it may come back.
        """
        if hash not in {one.hash for one in self._source.list(awaiting=hash)}:
            raise IntegrityError(
                f"encoder {name!r} is not the one this work began with (hash {hash[:12]}…); "
                "put that bundle back, or start a new curation"
            )
        return self._open(hash)

    def close(self) -> None:
        """Ends connections; the encoders that were given out must not be used any more."""
        self._source.close()

    def _open(self, hash: str) -> Encoder:
        with self._lock:
            if hash not in self._opened:
                self._opened[hash] = self._source.open(hash)
            return self._opened[hash]


class BundleFolder:
    """The bundles of a folder, or the one that the folder is, served by ONNX Runtime in this process.

    threads: of a single inference, 0 for one per physical core.
    """

    def __init__(self, folder: Path, *, threads: int = 0) -> None:
        self._folder = folder
        self._threads = threads
        self._lock = threading.Lock()
        self._known: dict[Path, tuple[float, Bundle]] = {}

    @property
    def place(self) -> str:
        """The folder's name."""
        return self._folder.name

    def list(self, *, awaiting: str | None = None) -> tuple[EncoderDescription, ...]:
        """Every bundle, by name. Raises InvalidBundleError for one that is incomplete."""
        return tuple(
            EncoderDescription(one.name, one.hash, one.dim, one.license, one.source)
            for one in self._bundles()
        )

    def open(self, hash: str) -> Encoder:
        """The encoder of this hash. Raises InvalidBundleError when it does not run."""
        for bundle in self._bundles():
            if bundle.hash == hash:
                return InProcessEncoder(bundle, threads=self._threads)
        raise IntegrityError(f"the encoder of hash {hash[:12]}… was replaced while it was opened; try again")

    def close(self) -> None:
        """There is nothing to close."""

    def _bundles(self) -> tuple[Bundle, ...]:
        single = (self._folder / DESCRIPTION).is_file()
        inside = self._folder.glob(f"*/{DESCRIPTION}")
        folders = [self._folder] if single else sorted(path.parent for path in inside)
        with self._lock:
            bundles = [self._bundle(folder) for folder in folders]
        return tuple(sorted(bundles, key=lambda bundle: bundle.name))

    def _bundle(self, folder: Path) -> Bundle:
        # A bundle's hash reads hundreds of megabytes: only when a file in the folder has changed.
        changed = max(path.stat().st_mtime for path in folder.iterdir())
        known = self._known.get(folder)
        if known is None or known[0] != changed:
            known = self._known[folder] = (changed, Bundle.load(folder))
        return known[1]
