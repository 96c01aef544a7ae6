"""The encoders that a Triton server serves."""

from __future__ import annotations

import logging
import threading
from collections.abc import Sequence
from urllib.parse import urlsplit

from cocu.encoders.bundle import Description
from cocu.encoders.registry import EncoderDescription
from cocu.encoders.triton.configuration import PublishedTower, read_tower, version_of
from cocu.encoders.triton.connection import Connection, Deadline, IndexEntry, NoSuchModelError, RetryPolicy
from cocu.encoders.triton.encoder import BATCH, TritonEncoder
from cocu.errors import IntegrityError, InvalidBundleError, InvalidInputError, UnavailableError
from cocu.settings import Settings

__all__ = ["InferenceServer", "address_of", "open_provider"]

DEFAULT_PORT = 8001

log = logging.getLogger(__name__)
_SUFFIXES = ("_image", "_text")


def address_of(url: str) -> tuple[str, bool]:
    """Return the host:port of a grpc:// or grpcs:// URL, and whether it is secure. Raises
    InvalidInputError."""
    wrong = InvalidInputError(
        f"{url!r} is no address of an inference server; it must be like grpc://triton:8001"
    )
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError as error:
        raise wrong from error
    rest = (parts.path.strip("/"), parts.query, parts.fragment, parts.username, parts.password)
    if parts.scheme not in ("grpc", "grpcs") or not host or any(rest):
        raise wrong
    named = f"[{host}]" if ":" in host else host
    return f"{named}:{port or DEFAULT_PORT}", parts.scheme == "grpcs"


class InferenceServer:
    """A provider of encoders: a Triton server whose models `cocu encoder publish` has written.

    An encoder is listed when both of its models are ready. The connection is opened on first use.
    """

    def __init__(self, url: str, *, retry_policy: RetryPolicy | None = None, in_flight: int = 4) -> None:
        self.location = url
        self._address, self._secure = address_of(url)
        self._retry_policy = retry_policy or RetryPolicy()
        self._in_flight = in_flight
        self._lock = threading.Lock()
        self._connection: Connection | None = None
        self._towers: dict[tuple[str, str], PublishedTower | None] = {}
        self._opened: list[TritonEncoder] = []

    def list(self, *, required_hash: str | None = None) -> tuple[EncoderDescription, ...]:
        """Return every encoder that is ready, sorted by name.

        required_hash: the hash of an encoder that the caller cannot do without: the call then waits for the
        server as long as for a batch. Raises UnavailableError when the server does not answer, or has that
        encoder but cannot serve it.
        """
        deadline = self._retry_policy.deadline(1 if required_hash is None else BATCH)
        entries = self._connect().index(deadline)
        encoders = self._encoders(entries, deadline)
        if required_hash is not None and required_hash not in encoders:
            self._require_to_be_gone(required_hash, entries)
        described = [(image.hash, image.description) for image, _ in encoders.values()]
        return tuple(
            EncoderDescription(
                description.name, hash, description.dim, description.license, description.source
            )
            for hash, description in sorted(described, key=_by_name)
        )

    def open(self, hash: str) -> TritonEncoder:
        """Open the encoder of this hash. Raises UnavailableError, IntegrityError when it is gone."""
        connection = self._connect()
        deadline = self._retry_policy.deadline(1)
        encoders = self._encoders(connection.index(deadline), deadline)
        if hash not in encoders:
            raise IntegrityError(
                f"the inference server at {self._address} has no bundle {hash[:12]}… any more"
            )
        encoder = TritonEncoder(connection, *encoders[hash], in_flight=self._in_flight)
        with self._lock:
            self._opened.append(encoder)
        return encoder

    def close(self) -> None:
        """Close the connection and stop the threads of the opened encoders."""
        with self._lock:
            opened, connection = self._opened, self._connection
            self._opened, self._connection = [], None
        for encoder in opened:
            encoder.close()
        if connection is not None:
            connection.close()

    def _connect(self) -> Connection:
        with self._lock:
            if self._connection is None:
                self._connection = Connection(
                    self._address, secure=self._secure, retry_policy=self._retry_policy
                )
            return self._connection

    def _encoders(
        self, entries: Sequence[IndexEntry], deadline: Deadline
    ) -> dict[str, tuple[PublishedTower, PublishedTower]]:
        """Return the image and the text tower of every encoder that has both, by hash."""
        towers = [self._tower(entry, deadline) for entry in entries if entry.ready]
        images = {tower.hash: tower for tower in towers if tower is not None and tower.tower == "image"}
        texts = {tower.hash: tower for tower in towers if tower is not None and tower.tower == "text"}
        return {hash: (images[hash], texts[hash]) for hash in images if hash in texts}

    def _tower(self, entry: IndexEntry, deadline: Deadline) -> PublishedTower | None:
        if not entry.model.endswith(_SUFFIXES):
            return None
        key = (entry.model, entry.version)
        if key not in self._towers:
            try:
                config = self._connect().configuration(entry.model, entry.version, deadline)
            except NoSuchModelError:
                return None
            # The version is computed from the bundle, so its description needs to be read only once.
            try:
                self._towers[key] = read_tower(config, version=entry.version)
            except InvalidBundleError as error:
                log.warning("an encoder of the inference server cannot be used: %s", error)
                self._towers[key] = None
        return self._towers[key]

    def _require_to_be_gone(self, hash: str, entries: Sequence[IndexEntry]) -> None:
        replaced = {entry.model for entry in entries if entry.ready and entry.version != version_of(hash)}
        for entry in entries:
            ours = entry.version == version_of(hash) and entry.model.endswith(_SUFFIXES)
            if ours and not entry.ready and entry.model not in replaced:
                raise UnavailableError(
                    f"the inference server at {self._address} cannot serve {entry.model} at the moment"
                    + (f": {entry.reason}" if entry.reason else "")
                )


def _by_name(described: tuple[str, Description]) -> str:
    return described[1].name


def open_provider(settings: Settings) -> InferenceServer:
    """Return the provider for the server that the settings name; nothing is sent to it yet."""
    retry_policy = RetryPolicy(
        seconds=settings.encoder_seconds, seconds_per_input=settings.encoder_seconds_per_input
    )
    return InferenceServer(
        settings.encoders_url, retry_policy=retry_policy, in_flight=settings.encoder_requests
    )
