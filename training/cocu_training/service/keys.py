"""API keys of the service: random characters, shown once and stored as a hash; each belongs to a tenant."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import re
import secrets
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from cocu_training.service.errors import UnauthorizedError
from cocu_training.service.settings import DEFAULT_TENANT

log = logging.getLogger(__name__)

PREFIX = "cocu_train_"
TENANT = re.compile(r"[0-9a-z][0-9a-z_-]{0,62}")


@dataclass(frozen=True)
class Key:
    """What is stored about a key; not the key itself."""

    id: str
    tenant: str
    sha256: str
    created_at: float


def read_keys(file: Path) -> list[Key]:
    """The keys in a file; none where it does not exist. Raises ValueError for a file without keys."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [Key(**values) for values in json.loads(text)["keys"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is not a file of API keys: {error}") from error


def create_key(file: Path, *, tenant: str = DEFAULT_TENANT) -> str:
    """Create a key and return it; it cannot be read again later. Raises ValueError."""
    if TENANT.fullmatch(tenant) is None:
        raise ValueError(f"a tenant is named by up to 63 of a-z, 0-9, - and _, not {tenant!r}")
    key = PREFIX + secrets.token_urlsafe(32)
    stored = Key(secrets.token_hex(4), tenant, _digest(key), time.time())
    _write(file, [*read_keys(file), stored])
    return key


def revoke_key(file: Path, key_id: str) -> None:
    """Revoke a key; it is refused from the next request on. Raises ValueError."""
    keys = read_keys(file)
    if key_id not in {key.id for key in keys}:
        raise ValueError(f"{file} has no key {key_id!r}")
    _write(file, [key for key in keys if key.id != key_id])


class Keys:
    """Finds the tenant of a request; the file of keys is read again whenever it has changed.

    Once the file has existed, requests without a key are refused, also after a restart: deleting the file
    must not open the service. note: the file that stores this; default: beside the file of keys.
    """

    def __init__(self, file: Path, note: Path | None = None) -> None:
        self._file = file
        self._note = note or file.with_name("needs-api-keys")
        self._lock = threading.Lock()
        self._read: tuple[int, int, int] | None = None
        self._tenants: dict[str, str] = {}
        self._required = self._note.exists()
        self._refresh()
        if self._required and not self._tenants:
            log.warning(
                "there are no API keys in %s, and every request is refused: make one with `cocu-train key "
                "create`, or delete %s to let everybody in",
                self._file,
                self._note,
            )

    @property
    def required(self) -> bool:
        """Whether requests need a key."""
        return self._required

    def tenant(self, authorization: str | None) -> str:
        """The tenant of a request with this header. Raises UnauthorizedError."""
        with self._lock:
            try:
                self._refresh()
            except ValueError as error:
                log.error("every key is refused: %s", error)
            if not self._required:
                return DEFAULT_TENANT
            scheme, _, key = (authorization or "").partition(" ")
            known = self._tenants.get(_digest(key.strip())) if scheme.lower() == "bearer" else None
        if known is None:
            raise UnauthorizedError(
                "Send a valid API key, as Authorization: Bearer cocu_train_…; the operator of this service "
                "makes keys with `cocu-train key create`."
            )
        return known

    def _refresh(self) -> None:
        try:
            status = self._file.stat()
        except FileNotFoundError:
            self._tenants, self._read = {}, None
            return
        state = (status.st_mtime_ns, status.st_size, status.st_ino)
        if state != self._read:
            if not self._required:
                self._note.touch()
            # No tenants before the file is read: where that raises, every key is refused.
            self._required, self._tenants, self._read = True, {}, state
            self._tenants = {key.sha256: key.tenant for key in read_keys(self._file)}


def _digest(key: str) -> str:
    # Keys are 256 random bits, so nothing slower is needed.
    return hashlib.sha256(key.encode("utf-8", "replace")).hexdigest()


def _write(file: Path, keys: list[Key]) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    partial = file.with_name(f"{file.name}.{secrets.token_hex(4)}.partial")
    with open(os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as out:
        json.dump({"keys": [asdict(key) for key in keys]}, out, indent=2)
        out.flush()
        os.fsync(out.fileno())
    partial.replace(file)
