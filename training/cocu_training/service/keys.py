"""API keys of the service: random characters, shown once, stored as a hash, each of one tenant."""

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
    """What is known of a key, which is not the key itself."""

    id: str
    tenant: str
    sha256: str
    created_at: float


def read_keys(file: Path) -> list[Key]:
    """The keys in a file; none where there is no file. Raises ValueError for what is no file of keys."""
    try:
        text = file.read_text(encoding="utf-8")
    except FileNotFoundError:
        return []
    try:
        return [Key(**each) for each in json.loads(text)["keys"]]
    except (ValueError, TypeError, KeyError) as error:
        raise ValueError(f"{file} is no file of API keys: {error}") from error


def create_key(file: Path, *, tenant: str = DEFAULT_TENANT) -> str:
    """A new key, which nobody can read again. Raises ValueError."""
    if TENANT.fullmatch(tenant) is None:
        raise ValueError(f"a tenant is named by up to 63 of a-z, 0-9, - and _, not {tenant!r}")
    key = PREFIX + secrets.token_urlsafe(32)
    made = Key(secrets.token_hex(4), tenant, _digest(key), time.time())
    _write(file, [*read_keys(file), made])
    return key


def revoke_key(file: Path, key_id: str) -> None:
    """Make a key worthless from the next request on. Raises ValueError."""
    keys = read_keys(file)
    if key_id not in {key.id for key in keys}:
        raise ValueError(f"{file} has no key {key_id!r}")
    _write(file, [key for key in keys if key.id != key_id])


class Keys:
    """Who a request comes from, by the file as it is at that moment.

    Once there was a file, requests without a key are refused for good: a file that vanished must not open the
    door.
    """

    def __init__(self, file: Path) -> None:
        self._file = file
        self._lock = threading.Lock()
        self._read: tuple[int, int, int] | None = None
        self._tenants: dict[str, str] = {}
        self._asked = False
        self._refresh()

    @property
    def asked(self) -> bool:
        """Whether requests need a key."""
        return self._asked

    def tenant(self, authorization: str | None) -> str:
        """The tenant of a request with this header. Raises UnauthorizedError."""
        with self._lock:
            try:
                self._refresh()
            except ValueError as error:
                log.error("every key is refused: %s", error)
            if not self._asked:
                return DEFAULT_TENANT
            scheme, _, key = (authorization or "").partition(" ")
            known = self._tenants.get(_digest(key.strip())) if scheme.lower() == "bearer" else None
        if known is None:
            raise UnauthorizedError(
                "Send a valid API key, as Authorization: Bearer cocu_train_…; whoever runs the service makes "
                "them with `cocu-train key create`."
            )
        return known

    def _refresh(self) -> None:
        try:
            found = self._file.stat()
        except FileNotFoundError:
            self._tenants, self._read = {}, None
            return
        state = (found.st_mtime_ns, found.st_size, found.st_ino)
        if state != self._read:
            self._asked, self._tenants, self._read = True, {}, state
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
