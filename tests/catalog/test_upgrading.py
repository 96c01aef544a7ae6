"""Catalogs of other versions and states: upgraded with what they hold, or refused and left as they are."""

from __future__ import annotations

import hashlib
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import text
from tests.catalog.catalog_fixtures import filled
from tests.servers.postgres_server import PostgresServer

import cocu
from cocu.catalog import Catalog, migrations
from cocu.errors import ConflictError, InvalidInputError
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage.folder_lock import FolderLock

VERSIONS = Path(migrations.__file__).parent / "versions"
RELEASED = {
    "v0001_first_tables.py": "847acaf2af3c4afb9a574ea0afc547a6d677efdb75ea74b0fa02d320a386c033",
    "v0002_source_digests.py": "96795dfe1012ed0aa7f724120d0b7f51e1f18320a5b3741a81aab8253f13a357",
    "v0003_uploads_that_end.py": "1ce85e077f3926373eacd8acd87dd125268b75ba47f34a90538144cad72a75c6",
    "v0004_tasks.py": "c37a3957967882edf6b34575f31ed185151e1beed0eceb9d5866f49563203888",
    "v0005_feedback.py": "b1a9a1940427978983601a7303879feb081d37a079c42ef7508a36edf95d534d",
    "v0006_events_of_uploads.py": "229f73d6e83abe98f71ef9977b692792acd4f9986de14d5096144dd67108a385",
    "v0007_projections.py": "0cb5e6b55d79191dd139e1498d677259a24692a42741ddbc1fa90e22d2b3dbe3",
    "v0008_labels_and_judgements.py": "78b5843990bef7440df31cd32b343aa49a9d8588dc485fbe0b266752aec30bd2",
    "v0009_tasks_by_state.py": "adc37c0b5b33b5d94c65c97b527e61d24c970605de8f4be0e363665b5c851d53",
}
"""SHA-256 of every migration. Never change a line of this: write another migration, and add its line."""

REBUILDING = """
import sqlalchemy as sa
from alembic import op
revision = "9999"
down_revision = "{before}"
branch_labels = depends_on = None
def upgrade():
    with op.batch_alter_table("datasets", recreate="always") as table:
        table.add_column(sa.Column("note", sa.String))
    {then}
def downgrade():
    pass
"""


def test_released_migrations_are_never_edited() -> None:
    """Each has the hash that it was released with.

    0001 and 0003 got other hashes once: they imported a type from a module that had to move. What they import
    now stays where it is (`migrations/types.py`), and what they make did not change.
    """
    hashes = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in VERSIONS.glob("v*.py")}

    assert hashes == RELEASED


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """A catalog with a dataset that other tables refer to."""
    path = tmp_path / "data" / "catalog.sqlite"
    catalog = Catalog.open(f"sqlite:///{path}")
    filled(catalog, ["a", "b"])
    catalog.close()
    return path


def opened(file: Path) -> Catalog:
    return Catalog.open(f"sqlite:///{file}")


def changed(file: Path, *statements: str) -> None:
    connection = sqlite3.connect(file)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def dump(file: Path) -> list[str]:
    connection = sqlite3.connect(file)
    lines = list(connection.iterdump())
    connection.close()
    return lines


@pytest.fixture
def newer(tmp_path: Path) -> Path:
    """This code with one migration more: a folder to import it from."""
    folder = tmp_path / "newer"
    shutil.copytree(
        Path(cocu.__file__).parent, folder / "cocu", ignore=shutil.ignore_patterns("__pycache__", "scenes")
    )
    return folder


def with_migration(newer: Path, then: str = "pass") -> None:
    versions = newer / "cocu" / VERSIONS.relative_to(Path(cocu.__file__).parent)
    (versions / "v9999_note.py").write_text(REBUILDING.format(before=migrations.newest(), then=then))


def run(newer: Path, program: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    code = f"import sys; sys.path.insert(0, {str(newer)!r})\n{program}"
    return subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False, timeout=120
    )


OPEN = """
import logging; logging.basicConfig(level=logging.INFO)
from cocu.catalog import Catalog
print(Catalog.open(f"sqlite:///{sys.argv[1]}").version())
"""


def test_upgrade__rebuilds_a_table_that_others_refer_to(file: Path, newer: Path) -> None:
    with_migration(newer)
    before = dump(file)
    ended = run(newer, OPEN, str(file))

    assert (ended.returncode, ended.stdout.strip()) == (0, "9999"), ended.stderr
    rows = sqlite3.connect(file).execute(
        "SELECT d.name, s.samples FROM datasets d JOIN shards s ON d.id = s.dataset_id"
    )
    assert rows.fetchall() == [("photographs", 2)]
    copy = file.with_name("catalog.sqlite.before-9999")
    assert str(copy) in ended.stderr
    assert sorted(dump(copy)) == sorted(before)
    assert copy.stat().st_mode & 0o777 == 0o600
    assert run(newer, OPEN, str(file)).returncode == 0


def test_upgrade__that_breaks_what_rows_refer_to_changes_nothing(file: Path, newer: Path) -> None:
    with_migration(newer, then='op.execute("DELETE FROM datasets")')
    before = dump(file)
    ended = run(newer, OPEN, str(file))

    assert ended.returncode != 0
    assert "nothing was changed" in ended.stderr
    assert dump(file) == before


def test_upgrade__without_room_for_a_copy_changes_nothing(file: Path, newer: Path) -> None:
    with_migration(newer)
    before = dump(file)
    ended = run(
        newer, "from cocu import machine; machine.has_room = lambda folder, size: False" + OPEN, str(file)
    )

    assert "NoRoomError" in ended.stderr
    assert "a copy is made first" in ended.stderr
    assert dump(file) == before


SERVE = """
from cocu.cli.application import main
sys.argv = ["cocu", *sys.argv[1:]]
main()
"""


@pytest.mark.parametrize(
    "command", [["serve", "--port", "0", "--data"], ["catalog", "migrate"], ["index", "rebuild"]]
)
def test_newer_beside_a_running_one__changes_nothing(
    file: Path, newer: Path, command: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with_migration(newer)
    before = dump(file)
    monkeypatch.setenv("COCU_DATA_FOLDER", str(file.parent))
    with FolderLock(file.parent):
        ended = run(newer, SERVE, *command, *([str(file.parent)] if "--data" in command else []))

    assert ended.returncode == 1, ended.stderr
    assert f"another process works on {file.parent}" in " ".join(ended.stderr.split())
    assert dump(file) == before
    assert not list(file.parent.glob("*.before-*"))


def test_platform__alone_holds_the_folder_before_anything_is_made(tmp_path: Path) -> None:
    settings = Settings(data_folder=tmp_path / "data")
    with FolderLock(settings.data_folder), pytest.raises(ConflictError, match="another process works on"):
        Platform.open(settings, alone=True)
    assert [path.name for path in settings.data_folder.iterdir()] == ["worker.lock"]

    with Platform.open(settings, alone=True), pytest.raises(ConflictError):
        FolderLock(settings.data_folder).acquire()
    FolderLock(settings.data_folder).acquire().release()


STRANGE = {
    "column missing": (["ALTER TABLE uploads DROP COLUMN source"], "no uploads.source"),
    "column too many": (["ALTER TABLE datasets ADD COLUMN note VARCHAR"], "datasets.note too many"),
    "table missing": (["DROP TABLE rejections"], "no table rejections"),
    "no version": (["DELETE FROM alembic_version"], "names none"),
    "no table of versions": (["DROP TABLE alembic_version"], "names none"),
    "two versions": (["INSERT INTO alembic_version VALUES ('0002')"], "several versions"),
    "newer": (["UPDATE alembic_version SET version_num = '9999'"], "a newer cocu made it"),
}


@pytest.mark.parametrize("name", STRANGE)
def test_unknown_state__is_refused_in_words_and_left_alone(file: Path, name: str) -> None:
    statements, words = STRANGE[name]
    changed(file, *statements)
    before = dump(file)
    with pytest.raises(InvalidInputError) as caught:
        opened(file)

    assert words in str(caught.value)
    assert "data" in str(caught.value)
    assert dump(file) == before


def test_file_of_something_else__is_refused(tmp_path: Path) -> None:
    changed(tmp_path / "catalog.sqlite", "CREATE TABLE bookmarks (url)")

    with pytest.raises(InvalidInputError, match="bookmarks"):
        opened(tmp_path / "catalog.sqlite")


def test_half_written_first_tables__are_refused(tmp_path: Path) -> None:
    changed(tmp_path / "catalog.sqlite", "CREATE TABLE datasets (id)")

    with pytest.raises(InvalidInputError, match="state is unknown"):
        opened(tmp_path / "catalog.sqlite")


def test_server_of_another_state__is_refused(postgres: PostgresServer) -> None:
    url = postgres.new_catalog()
    catalog = Catalog.open(url)
    with catalog.write() as connection:
        connection.execute(text("ALTER TABLE uploads DROP COLUMN source"))
    catalog.close()

    with pytest.raises(InvalidInputError, match=r"no uploads\.source"):
        Catalog.open(url)


def test_server__with_tables_of_others_beside_is_fine(postgres: PostgresServer) -> None:
    url = postgres.new_catalog()
    Catalog.open(url).close()
    catalog = Catalog.open(url)
    with catalog.write() as connection:
        connection.execute(text("CREATE TABLE bookmarks (url TEXT)"))
    catalog.close()
    again = Catalog.open(url)

    assert again.version() == migrations.newest()
    again.close()
