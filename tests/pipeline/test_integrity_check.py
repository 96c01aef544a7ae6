"""`cocu catalog verify`: problems are found, with their owner and a remedy; some of them are repaired."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import pytest
from tests.pipeline.damage import flip, the_first
from tests.pipeline.pipeline_driver import begin, drain, ingested, state_of
from typer.testing import CliRunner

from cocu.cli.application import app
from cocu.pipeline.integrity_check import DAMAGED, MISSING, ORPHAN, Finding, IntegrityCheck, repair
from cocu.platform import Platform
from cocu.storage import checksums, paths


def findings(platform: Platform) -> list[Finding]:
    check = IntegrityCheck(platform)
    check.list_objects()
    return list(check.findings())


def test_a_sound_platform_has_no_findings(platform: Platform) -> None:
    begin(platform, ingested(platform))
    drain(platform)
    check = IntegrityCheck(platform)
    count = check.list_objects()
    advanced: list[int] = []
    assert list(check.findings(advanced.append)) == []
    assert check.checked == sum(advanced) == count
    assert check.unsealed == 0


def test_every_object_that_is_damaged_is_found(platform: Platform) -> None:
    begin(platform, ingested(platform))
    drain(platform)
    everything = platform.objects.list()
    for path in everything:
        flip(platform, path)
    damaged = findings(platform)
    assert sorted(finding.path for finding in damaged) == everything
    assert {finding.problem for finding in damaged} == {DAMAGED}
    assert all(finding.remedy and finding.owner and finding.detail for finding in damaged)


def test_missing_objects_and_orphans_are_found(platform: Platform) -> None:
    begin(platform, ingested(platform))
    drain(platform)
    kinds = (("shards",), ("/samples/",), ("datasets", "/embeddings/"), ("archives",))
    missing = [the_first(platform, *parts) for parts in kinds]
    for path in missing:
        platform.objects.delete(path)
    platform.objects.put("datasets/nowhere/shards/a.tar", b"left over")
    problems = {finding.path: finding.problem for finding in findings(platform)}
    assert problems == dict.fromkeys(missing, MISSING) | {"datasets/nowhere/shards/a.tar": ORPHAN}


def test_what_needs_no_person_is_repaired(platform: Platform) -> None:
    dataset_id = ingested(platform)
    curation = begin(platform, dataset_id)
    drain(platform)
    content_hash = state_of(platform, curation).content_hash
    for parts in (("datasets", "embeddings"), ("archives",), ("neighbours",), ("indexes",)):
        flip(platform, the_first(platform, *parts))
    damaged = findings(platform)
    assert repair(platform, damaged) == len(damaged) == 4
    assert state_of(platform, curation).state == "failed"
    drain(platform)
    assert begin(platform, dataset_id).id == curation.id
    drain(platform)
    assert state_of(platform, curation).content_hash == content_hash
    assert findings(platform) == []


def test_damaged_thumbnails_are_deleted_for_they_are_made_again(platform: Platform) -> None:
    dataset_id = ingested(platform)
    stored = [paths.thumbnail(dataset_id, digest * 64, 96) for digest in "ab"]
    for path in stored:
        platform.objects.put(path, checksums.seal(b"a thumbnail"))
    assert findings(platform) == []
    flip(platform, stored[0])
    damaged = findings(platform)
    assert [(finding.path, finding.problem) for finding in damaged] == [(stored[0], DAMAGED)]
    assert repair(platform, damaged) == 1
    assert [path for path in stored if platform.objects.exists(path)] == stored[1:]


def test_damaged_databases_are_found(platform: Platform, tmp_path: Path) -> None:
    begin(platform, ingested(platform))
    drain(platform)
    folder = Path(platform.settings.vectors_url)
    platform.vectors.close()
    (meta,) = folder.glob("*/meta.json")
    meta.write_text("{")
    (finding,) = findings(platform)
    assert "delete the folder of vectors" in finding.remedy


@pytest.mark.parametrize("as_json", [True, False])
def test_command__says_what_is_wrong_and_ends_with_1(
    platform: Platform, tmp_path: Path, as_json: bool
) -> None:
    begin(platform, ingested(platform))
    drain(platform)
    command = ["catalog", "verify", "--data", str(tmp_path / "data"), *(["--json"] if as_json else [])]
    assert CliRunner().invoke(app, command).exit_code == 0
    path = the_first(platform, "archives")
    flip(platform, path)
    ended = CliRunner().invoke(app, command)
    assert ended.exit_code == 1
    if as_json:
        (finding,) = json.loads(ended.stdout)["findings"]
        assert (finding["problem"], finding["path"]) == (DAMAGED, path)
    else:
        assert path in ended.stdout
        assert "--repair" in ended.stdout


def test_command__makes_no_platform_where_there_is_none(tmp_path: Path) -> None:
    ended = CliRunner().invoke(app, ["catalog", "verify", "--data", str(tmp_path / "nothing")])
    assert ended.exit_code != 0
    assert not (tmp_path / "nothing").exists()


def test_the_catalog_itself_is_checked(platform: Platform, tmp_path: Path) -> None:
    ingested(platform)
    with sqlite3.connect(tmp_path / "data" / "catalog.sqlite") as connection:
        connection.execute("PRAGMA foreign_keys = OFF")
        connection.execute("UPDATE uploads SET dataset_id = 'gone'")
    assert "catalog" in {finding.path for finding in findings(platform)}
