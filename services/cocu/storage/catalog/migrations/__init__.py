"""The scripts that bring a catalog's tables to this version, in order; Alembic runs them."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, text

from cocu.storage.catalog.servers import without_limits

LOCK = 0x636F6375
"""Number of the advisory lock that processes starting at once queue for."""


def configuration() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


def upgrade(connection: Connection) -> None:
    """Applies what is missing, inside the caller's write transaction: all of it or nothing.

    Two processes that start together are safe: the second waits for the lock and finds nothing left to do.
    """
    if connection.dialect.name == "postgresql":
        without_limits(connection)
        connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, "head")
