"""A data folder that the first release wrote opens, is migrated and goes on, in files and on a server."""

from __future__ import annotations

import json
import sqlite3
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from tests.local_platform import running
from tests.servers.postgres_server import PostgresServer

from cocu.catalog import Catalog, curations, migrations, models
from cocu.client import CocuClient
from cocu.platform import Platform
from cocu.schemas.curations import Parameters
from cocu.settings import Settings
from cocu.storage import paths, tables

EARLIER = Path(__file__).parent / "earlier_folder"
EXPECTED: dict[str, Any] = json.loads((EARLIER / "expected.json").read_text())
IDS = {name: run["id"] for name, run in EXPECTED["curations"].items()}
HASHES = {name: run["content_hash"] for name, run in EXPECTED["curations"].items()}
PATIENCE = 180.0

# The parameters of each curation; those whose default never changed are left out.
PARAMETERS: dict[str, dict[str, Any]] = {
    "A": {"neighbours": 4, "search": "exact", "scoring": "evidence", "seed": 3},
    "B": {"neighbours": 4, "search": "ivf", "scoring": "evidence", "seed": 3},
    "C": {"neighbours": 4, "search": "ivf", "scoring": "evidence", "seed": 0},
    "D": {"neighbours": 3, "search": "ivf", "scoring": "evidence", "seed": 0},
    "E": {"neighbours": 5, "search": "exact", "scoring": "evidence", "seed": 0},
}
VOCABULARY = "small"


def unpacked(name: str, folder: Path) -> None:
    with tarfile.open(EARLIER / name) as archive:
        archive.extractall(folder, filter="data")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    data = tmp_path / "data"
    data.mkdir()
    unpacked("objects.tar.xz", data)
    database = sqlite3.connect(data / "catalog.sqlite")
    database.executescript((EARLIER / "catalog.sql").read_text())
    database.close()
    return data


def archives(platform: Platform, name: str) -> dict[str, list[dict[str, Any]]]:
    """The rows of every shard's archives."""
    shards = curations.shards(platform.catalog, curation_id=IDS[name])
    return {
        shard.shard_id: tables.read_table(
            platform.objects, paths.archives(IDS[name], shard.shard_id)
        ).to_pylist()
        for shard in shards
    }


def same(rows: list[dict[str, Any]], others: list[dict[str, Any]]) -> bool:
    """Whether two tables hold the same concepts, origins and clusters, and scores that differ in rounding."""
    for row, other in zip(rows, others, strict=True):
        for field in ("concept", "origins", "cluster"):
            if [concept[field] for concept in row["concepts"]] != [c[field] for c in other["concepts"]]:
                return False
        for field in ("score", "global", "local"):
            scores = [[concept[field] for concept in table["concepts"]] for table in (row, other)]
            if not np.allclose(*scores, rtol=0, atol=1e-5):
                return False
    return [row["key"] for row in rows] == [row["key"] for row in others]


def test_folder_of_the_first_release__goes_on(folder: Path, tmp_path: Path, repository: Path) -> None:
    encoders = repository / "examples" / "encoders" / "scenes"
    settings = {"samples_per_shard": 6, "sweep_seconds": 0.05, "retry_seconds": 0.01}
    with (
        running(folder, encoders, **settings) as server,
        CocuClient(server.url) as client,
        Platform.open(Settings(data_folder=folder, encoders_url=str(encoders))) as platform,
    ):
        for name in "AB":
            kept = client.curations.get(IDS[name])
            assert (kept.state, kept.content_hash) == ("completed", HASHES[name])
            assert kept.parameters["search"] == PARAMETERS[name]["search"]
        of_first_release = archives(platform, "A")
        assert of_first_release == archives(platform, "B")

        states = {name: client.curations.get(IDS[name]).state for name in "DE"}
        assert states == {"D": "cancelled", "E": "failed"}
        for name, dataset in zip("ABDE", ("finished", "finished", "underway", "underway"), strict=True):
            created = client.curations.create(
                EXPECTED["datasets"][dataset],
                vocabulary=VOCABULARY,
                parameters=Parameters(**PARAMETERS[name]),
            )
            assert created.id == IDS[name]
        for name in "CDE":
            completed = client.curations.wait(IDS[name], timeout=PATIENCE)
            assert completed.state == "completed"
            stages = [
                "embed",
                "index",
                "ivf",
                "neighbours",
                "aggregate",
                "curate",
                "publish",
                "index_concepts",
            ]
            searched = ["ivf"] if PARAMETERS[name]["search"] == "ivf" else []
            assert [stage.stage for stage in completed.stages] == [
                stage for stage in stages if stage != "ivf" or stage in searched
            ]
        waiting = client.datasets.get(EXPECTED["datasets"]["waiting"])
        (upload,) = client.datasets.uploads(waiting.id)
        assert (upload.state, upload.accepted) == ("ingested", 6)

        # A is made again from the same images. Content hashes are not compared: sums differ in their last
        # bits between processors. `benchmarks.same_results` compares them on one.
        with platform.catalog.write() as connection:
            connection.execute(
                sa.update(models.Curation).where(models.Curation.id == IDS["A"]).values(state="cancelled")
            )
        client.curations.create(
            EXPECTED["datasets"]["finished"],
            vocabulary=VOCABULARY,
            parameters=Parameters(**PARAMETERS["A"]),
        )
        client.curations.wait(IDS["A"], timeout=PATIENCE)
        unpacked("archives.tar.xz", tmp_path)
        with Platform.open(
            Settings(data_folder=tmp_path, catalog_url=f"sqlite:///{folder}/catalog.sqlite")
        ) as of_release:
            for name in "ACDE":
                before = of_first_release if name == "A" else archives(of_release, name)
                for shard, rows in archives(platform, name).items():
                    assert same(rows, before[shard]), (name, shard)


ANSWERED = sa.text(
    "INSERT INTO idempotency_keys (tenant, key, fingerprint, owner, claimed_until, status, body, expires_at) "
    "VALUES ('default', 'k', 'f', 'o', 0.0, 202, :body, 9e12)"
)


def answer(search: str, stage: str) -> dict[str, Any]:
    """A part of a kept answer."""
    return {"name": "group", "parameters": {"search": search}, "stages": [{"stage": stage, "done": 1}]}


def rows_of(connection: sa.Connection) -> dict[str, list[dict[str, Any]]]:
    metadata = sa.MetaData()
    metadata.reflect(connection)
    return {
        table.name: sorted(
            (dict(row) for row in connection.execute(sa.select(table)).mappings()),
            key=lambda row: json.dumps(row, default=str, sort_keys=True),
        )
        for table in metadata.sorted_tables
        if table.name != "commits"  # Of connections to a server alone.
    }


def test_server__is_migrated_to_the_same_rows(folder: Path, postgres: PostgresServer) -> None:
    file = sa.create_engine(f"sqlite:///{folder / 'catalog.sqlite'}")
    url = postgres.new_catalog()
    server = sa.create_engine(url)
    with file.begin() as connection:
        migrations._run(connection, "0003")
        connection.execute(ANSWERED, {"body": json.dumps(answer("cells", "group")).encode()})
        of_file = rows_of(connection)
    with server.begin() as connection:
        migrations._run(connection, "0003")
        metadata = sa.MetaData()
        metadata.reflect(connection)
        for table in metadata.sorted_tables:
            if table.name != migrations.VERSIONS and of_file.get(table.name):
                connection.execute(table.insert(), of_file[table.name])
    Catalog.open(url).close()
    Catalog.open(f"sqlite:///{folder / 'catalog.sqlite'}").close()
    with file.connect() as sqlite, server.connect() as postgresql:
        migrated = rows_of(sqlite)
        assert migrated == rows_of(postgresql)
        indexes = [sa.inspect(connection).get_indexes("tasks") for connection in (sqlite, postgresql)]
    file.dispose()
    server.dispose()

    assert "chunks" not in migrated
    assert json.loads(migrated["idempotency_keys"][0]["body"]) == answer("ivf", "aggregate")
    assert len(migrated["tasks"]) == len(of_file["chunks"])
    assert {task["id"] for task in migrated["tasks"]} != {task["id"] for task in of_file["chunks"]}
    words = {task["stage"] for task in migrated["tasks"]} | {run["stage"] for run in migrated["curations"]}
    words |= {str(event["data"].get("stage")) for event in migrated["events"]}
    words |= {run["parameters"]["search"] for run in migrated["curations"]}
    assert words.isdisjoint({"group", "cells"})
    assert words.issuperset({"aggregate", "ivf"})
    names = {str(index["name"]) for table in indexes for index in table if "uq_" not in str(index["name"])}
    assert names == {
        "ix_tasks_curation_id",
        "ix_tasks_dataset_id_owner_key_stage_state",
        "ix_tasks_state_lease_until",
    }
