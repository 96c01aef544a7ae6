"""The scripts that bring a catalog's tables to this version, in order; Alembic runs them.

A released script is never edited: catalogs made by it exist already. A change is a new script. A catalog
whose tables do not match its version is left as it is.
"""

from __future__ import annotations

import threading
from functools import cache
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, create_engine, inspect, text

from cocu.catalog.postgres import without_limits
from cocu.errors import InvalidInputError

LOCK = 0x636F6375
"""Number of the advisory lock that processes which start at the same time wait for."""

VERSIONS = "alembic_version"

Columns = dict[str, frozenset[tuple[str, bool]]]
"""By table: the names of its columns and whether they may be null."""

_running = threading.RLock()
"""Alembic keeps its state in variables of the process, so it runs on one thread at a time."""

_START_AGAIN = (
    "open it with the version that made it, or start again with another data folder (--data) or catalog "
    "(COCU_CATALOG_URL) and put the data in again"
)


def configuration() -> Config:
    """Alembic's configuration, without a file."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


@cache
def newest() -> str:
    """The version of the tables that this code works with."""
    return str(ScriptDirectory.from_config(configuration()).get_current_head())


def queue(connection: Connection) -> None:
    """Wait for other processes that change the tables of a server; lock until the transaction ends."""
    without_limits(connection)
    connection.execute(text("SELECT pg_advisory_xact_lock(:lock)"), {"lock": LOCK})


def revision(connection: Connection) -> str | None:
    """The version of a catalog; None for one without tables.

    Raises InvalidInputError for an unknown version, and for tables that do not match their version.
    """
    tables = _columns(connection)
    ours = sorted(tables.keys() & _columns_of(newest()).keys())
    versions: list[str] = []
    if VERSIONS in tables:
        versions = list(connection.execute(text(f"SELECT version_num FROM {VERSIONS}")).scalars())  # noqa: S608
    if not versions and not ours:
        others = sorted(tables.keys() - {VERSIONS})
        if others and connection.dialect.name == "sqlite":
            raise InvalidInputError(
                f"the file holds tables of something else ({', '.join(others[:3])}); choose another data "
                "folder or catalog (COCU_CATALOG_URL)"
            )
        return None
    if len(versions) != 1:
        raise InvalidInputError(
            f"it holds tables ({', '.join(ours[:3])}) but names {'several versions' if versions else 'none'}"
            f": its state is unknown, and its data is left alone; {_START_AGAIN}"
        )
    known = [script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()]
    if versions[0] not in known:
        raise InvalidInputError(
            f"it is of version {versions[0]}, and this cocu knows the data of versions up to {newest()}: "
            "a newer cocu made it; run that one, or one newer still"
        )
    wrong = _differences(tables, _columns_of(versions[0]))
    if wrong:
        raise InvalidInputError(
            f"it says that it is of version {versions[0]}, but its tables are not ({wrong}): another state "
            f"of cocu made this data; {_START_AGAIN}"
        )
    return versions[0]


def upgrade(connection: Connection) -> None:
    """Apply the missing migrations, inside the caller's write transaction: all of them or none.

    Raises InvalidInputError as `revision`.
    """
    if revision(connection) != newest():
        _run(connection, "head")


def _run(connection: Connection, target: str) -> None:
    with _running:
        config = configuration()
        config.attributes["connection"] = connection
        command.upgrade(config, target)


def _columns(connection: Connection) -> Columns:
    tables = inspect(connection).get_multi_columns()
    return {
        name: frozenset((column["name"], bool(column["nullable"])) for column in columns)
        for (_, name), columns in tables.items()
    }


@cache
def _columns_of(version: str) -> Columns:
    """The columns of the tables of a version, found by creating these in memory."""
    engine = create_engine("sqlite://")
    with engine.connect() as connection, connection.begin():
        _run(connection, version)
        columns = _columns(connection)
    engine.dispose()
    del columns[VERSIONS]
    return columns


def _differences(tables: Columns, expected: Columns) -> str:
    """The first three differences, in words."""
    words: list[str] = []
    for name, columns in sorted(expected.items()):
        if name not in tables:
            words.append(f"no table {name}")
            continue
        actual, required = dict(tables[name]), dict(columns)
        words += [f"no {name}.{column}" for column in sorted(required.keys() - actual.keys())]
        words += [f"{name}.{column} too many" for column in sorted(actual.keys() - required.keys())]
        both = sorted(actual.keys() & required.keys())
        words += [f"{name}.{column} is another" for column in both if actual[column] != required[column]]
    more = f" and {len(words) - 3} more" if len(words) > 3 else ""
    return ", ".join(words[:3]) + more
