"""Upgrade a catalog to the tables of this version: check it, copy it, change everything or nothing."""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine

from cocu import machine
from cocu.catalog import migrations
from cocu.errors import IntegrityError, NoRoomError

logger = logging.getLogger(__name__)

Exclusive = Callable[[], AbstractContextManager[object]]
"""Locks the catalog for this process, for a block; raises ConflictError where another process uses it."""

_SPARE_BYTES = 16 << 20


def upgrade_server(connection: Connection) -> None:
    """Apply the missing migrations in the caller's write transaction; other processes wait."""
    migrations.queue(connection)
    migrations.upgrade(connection)


def upgrade_file(engine: Engine, file: Path, *, exclusive: Exclusive) -> None:
    """The same for SQLite. A catalog with data is copied first, and upgraded under the lock `exclusive`.

    Raises InvalidInputError for a catalog of unknown state, ConflictError, NoRoomError.
    """
    with engine.connect() as connection:
        with connection.begin():
            revision = migrations.revision(connection)
        if revision == migrations.newest():
            return
        if revision is None:  # no tables yet: a second process waits, and finds nothing to do
            _apply(connection)
            return
        with exclusive():
            copy = _copy_aside(file)
            logger.info("the catalog of version %s is upgraded; a copy is kept as %s", revision, copy)
            _apply(connection)


def _apply(connection: Connection) -> None:
    raw: Any = connection.connection.dbapi_connection
    # Most changes rebuild a table, which foreign keys of other tables would forbid. SQLite ignores this
    # pragma inside a transaction, so it comes first.
    raw.execute("PRAGMA foreign_keys = OFF")
    try:
        with connection.execution_options(writes=True).begin():
            migrations.upgrade(connection)
            broken = connection.exec_driver_sql("PRAGMA foreign_key_check").fetchall()
            if broken:
                raise IntegrityError(
                    f"the upgrade would leave {len(broken)} rows that refer to nothing, the first in table "
                    f"{broken[0][0]}; nothing was changed"
                )
    finally:
        raw.execute("PRAGMA foreign_keys = ON")


def _copy_aside(file: Path) -> Path:
    """Copy the catalog as it is into its folder; return the copy."""
    copy = file.with_name(f"{file.name}.before-{migrations.newest()}")
    # The copy, and as much again for the upgrade itself.
    needed = 2 * file.stat().st_size + _SPARE_BYTES
    if not machine.has_room(file.parent, needed):
        raise NoRoomError(
            f"upgrading the catalog needs {needed >> 20} MiB of room on its disk: a copy is made first",
            str(file.parent),
        )
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    with machine.translate_errors(f"copy the catalog to {copy}", file=file):
        with closing(sqlite3.connect(file)) as source:
            source.execute("VACUUM INTO ?", (str(part),))
        part.chmod(0o600)
        with part.open("rb") as written:
            os.fsync(written.fileno())
        shutil.move(part, copy)
    return copy
