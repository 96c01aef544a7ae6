from __future__ import annotations

import sqlite3
import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError as ConstraintError
from tests.catalog.catalog_fixtures import TENANT, dataset

from cocu.catalog import Catalog, datasets, models
from cocu.catalog.db_time import database_seconds
from cocu.errors import IntegrityError, InvalidInputError


def test_the_migrations_make_the_tables_of_the_models(catalog: Catalog) -> None:
    with catalog.read() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, models.Base.metadata) == []


def test_every_table_names_the_tenant() -> None:
    others = {table.name for table in models.Base.metadata.sorted_tables if "tenant" not in table.c}
    assert others == {"commits"}  # of connections, which belong to no tenant


def test_opening_at_once_from_many_threads_migrates_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'folder' / 'catalog.sqlite'}"
    with ThreadPoolExecutor(6) as pool:
        catalogs = list(pool.map(Catalog.open, [url] * 6))
    dataset_id = dataset(catalogs[0])

    names = {datasets.get(catalog, tenant=TENANT, dataset_id=dataset_id).name for catalog in catalogs}
    assert names == {"photographs"}
    for catalog in catalogs:
        catalog.close()


def test_opening_waits_for_a_writer_in_a_file_that_is_not_write_ahead_yet(tmp_path: Path) -> None:
    file = tmp_path / "catalog.sqlite"
    writer = sqlite3.connect(file, isolation_level=None, check_same_thread=False)
    writer.execute("BEGIN IMMEDIATE")
    writer.execute("CREATE TABLE passing (x)")
    end = threading.Timer(0.3, writer.execute, ["ROLLBACK"])
    end.start()
    Catalog.open(f"sqlite:///{file}").close()
    end.join()
    writer.close()


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'catalog.sqlite'}"
    first = Catalog.open(url)
    dataset_id = dataset(first)
    first.close()
    second = Catalog.open(url)

    assert datasets.get(second, tenant=TENANT, dataset_id=dataset_id).id == dataset_id
    second.close()


@pytest.mark.parametrize("url", ["nonsense", "sqlite://", "sqlite:///:memory:", ""])
def test_a_url_that_names_no_database_is_refused(url: str) -> None:
    with pytest.raises(InvalidInputError):
        Catalog.open(url)


def test_a_file_that_is_no_database_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "catalog.sqlite").write_bytes(b"certainly not a database" * 100)

    with pytest.raises(IntegrityError, match="is damaged"):
        Catalog.open(f"sqlite:///{tmp_path / 'catalog.sqlite'}")


def test_a_failed_write_leaves_nothing(catalog: Catalog) -> None:
    values = {"id": "x", "tenant": TENANT, "name": "x", "state": "active"}

    def write() -> None:
        with catalog.write() as connection:
            connection.execute(insert(models.Dataset).values(values))
            raise RuntimeError

    with pytest.raises(RuntimeError):
        write()
    with catalog.read() as connection:
        assert connection.execute(select(models.Dataset.id)).all() == []


def test_readers_see_one_moment_and_do_not_wait_for_the_writer(catalog: Catalog) -> None:
    with catalog.read() as reader:
        assert reader.execute(select(models.Dataset.id)).all() == []
        dataset(catalog)
        assert reader.execute(select(models.Dataset.id)).all() == []


def test_writers_of_a_file_queue(catalog: Catalog) -> None:
    if catalog.dialect != "sqlite":
        pytest.skip("a server locks rows, not the whole database")
    with catalog.write() as connection:
        connection.execute(text("CREATE TABLE counted (number INTEGER)"))
        connection.execute(text("INSERT INTO counted VALUES (0)"))
    barrier = threading.Barrier(4)

    def count(_: int) -> None:
        barrier.wait()
        for _ in range(10):
            with catalog.write() as connection:
                number = connection.execute(text("SELECT number FROM counted")).scalar_one()
                connection.execute(text("UPDATE counted SET number = :number"), {"number": number + 1})

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(count, range(4)))
    with catalog.read() as connection:
        assert connection.execute(text("SELECT number FROM counted")).scalar_one() == 40


def test_foreign_keys_are_kept(catalog: Catalog) -> None:
    values = {
        "id": "u",
        "tenant": TENANT,
        "dataset_id": "nowhere",
        "name": "u",
        "options": {},
        "state": "failed",
    }

    with pytest.raises(ConstraintError), catalog.write() as connection:
        connection.execute(insert(models.Upload).values(values))


def test_dates_are_of_now_in_utc(catalog: Catalog) -> None:
    created = datasets.get(catalog, tenant=TENANT, dataset_id=dataset(catalog)).created_at

    assert created.tzinfo is UTC
    assert abs(datetime.now(UTC) - created) < timedelta(minutes=1)
    with catalog.read() as connection:
        seconds = connection.execute(select(database_seconds())).scalar_one()
    assert abs(seconds - created.timestamp()) < 60
