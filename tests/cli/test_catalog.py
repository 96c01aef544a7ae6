"""`cocu catalog` as an operator uses it: a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

from alembic.script import ScriptDirectory
from tests.servers.binaries import free_port
from tests.servers.postgres_server import PASSWORD, PostgresServer

from cocu.catalog.migrations import configuration

HEAD = ScriptDirectory.from_config(configuration()).get_current_head()


def migrate(url: str, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "cocu", "catalog", "migrate", *options],
        env={**os.environ, "COCU_CATALOG_URL": url, "COLUMNS": "200", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def test_migrate__makes_the_tables_and_does_nothing_the_second_time(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'folder' / 'catalog.sqlite'}"
    for _ in range(2):
        ended = migrate(url, "--json")
        assert ended.returncode == 0
        assert json.loads(ended.stdout) == {"catalog": url, "version": HEAD}


def test_migrate__on_a_server_keeps_the_password_to_itself(postgres: PostgresServer) -> None:
    ended = migrate(postgres.new_catalog())

    assert ended.returncode == 0
    assert f"version {HEAD}" in ended.stdout
    assert PASSWORD not in ended.stdout + ended.stderr


def test_migrate__without_a_database_says_so(postgres: PostgresServer) -> None:
    url = postgres.database_url("nowhere", port=free_port())
    ended = migrate(url, "--wait", "0.2")

    assert ended.returncode == 1
    assert "does not open" in ended.stderr
    assert "refused" in ended.stderr
    assert PASSWORD not in ended.stderr
    assert "Traceback" not in ended.stderr
