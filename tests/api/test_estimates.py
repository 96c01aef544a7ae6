"""Dry runs: an estimate of a curation and its cost, without starting it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from tests.local_platform import running, tar_of_samples
from tests.pipeline.tiny_encoder import write_tiny_encoder
from typer.testing import CliRunner

from cocu.api.server import LocalServer
from cocu.cli.application import app
from cocu.client import CocuClient
from cocu.schemas import CurationEstimate, Parameters

PARAMETERS = Parameters(neighbours=4)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalServer]:
    folder = tmp_path_factory.mktemp("platform")
    with running(folder / "data", write_tiny_encoder(folder / "encoder"), samples_per_shard=10) as started:
        yield started


@pytest.fixture
def client(server: LocalServer) -> Iterator[CocuClient]:
    with CocuClient(server.url) as opened:
        yield opened


def put_in(client: CocuClient, dataset: str, folder: Path, name: str, numbers: range) -> None:
    samples = {f"{number:03d}": f"a dog and a tree, {number}" for number in numbers}
    (folder / name).write_bytes(tar_of_samples(samples, first_seed=numbers.start))
    client.datasets.upload(dataset, folder / name)
    client.datasets.wait(dataset, timeout=60)


def by_stage(estimate: CurationEstimate) -> dict[str, tuple[int, int]]:
    return {
        stage.stage: (stage.shards - stage.shards_there, stage.samples_there) for stage in estimate.stages
    }


def test_dry_run__tells_what_would_be_and_starts_nothing(
    server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    dataset = client.datasets.create("estimated").id
    put_in(client, dataset, tmp_path, "a.tar", range(20))
    first = client.curations.estimate(dataset, parameters=PARAMETERS)
    assert list(client.curations.list(dataset=dataset)) == []
    assert (first.state, first.samples, first.shards, first.pairs) == (None, 20, 2, 400)
    assert set(by_stage(first).values()) == {(2, 0)}
    assert (first.seconds, first.bytes) == (None, None)
    assert "seconds of embed: not run with this encoder yet" in first.not_known
    assert first.memory > 0
    assert first.bytes_free

    curation = client.curations.create(dataset, parameters=PARAMETERS)
    assert (curation.id, curation.snapshot, curation.parameters) == (
        first.id,
        first.snapshot,
        first.parameters,
    )
    client.curations.wait(curation.id, timeout=120)

    again = client.curations.estimate(dataset, parameters=PARAMETERS)
    assert (again.state, again.seconds, again.bytes, again.pairs) == ("completed", 0, 0, 0)
    # What follows the run may still be under way.
    assert {found for stage, found in by_stage(again).items() if stage != "index_concepts"} == {(0, 20)}

    other = client.curations.estimate(dataset, parameters=Parameters(neighbours=4, scoring="official"))
    assert by_stage(other) == {
        stage: (0, 20) if stage in ("embed", "index") else (2, 0) for stage in by_stage(other)
    }
    assert other.not_known == []
    assert other.seconds is not None
    assert other.seconds > 0
    assert other.builds_on == curation.id

    put_in(client, dataset, tmp_path, "b.tar", range(20, 25))
    grown = client.curations.estimate(dataset, parameters=PARAMETERS)
    assert by_stage(grown)["embed"] == (1, 20)
    assert grown.builds_on == curation.id
    assert (grown.pairs, grown.pairs_in_all) == (20 * 5 + 5 * 25, 625)
    files = {path: server.platform.objects.size(path) for path in server.platform.objects.list()}
    run = client.curations.wait(client.curations.create(dataset, parameters=PARAMETERS).id, timeout=120)
    assert run.id == grown.id
    written = sum(
        server.platform.objects.size(path)
        for path in server.platform.objects.list()
        if path not in files and "/indexes/" not in path
    )
    # Only roughly: small files are mostly headers, and there is one per shard.
    assert grown.bytes is not None
    assert 0.3 < grown.bytes / written < 3


def test_dry_run__is_refused_as_the_run_would_be(server: LocalServer, client: CocuClient) -> None:
    dataset = client.datasets.create("empty").id
    url = f"{server.url}/v1/datasets/{dataset}/curations"
    for body, status in (({}, 409), ({"parameters": {"neighbours": 0}}, 422), ({"encoder": "none"}, 422)):
        assert httpx.post(url, params={"dry_run": "true"}, json=body).status_code == status
        assert httpx.post(url, json=body).status_code == status
    nowhere = f"{server.url}/v1/datasets/nowhere/curations"
    assert httpx.post(nowhere, params={"dry_run": "true"}, json={}).status_code == 404


def test_dry_run__from_the_command_line(server: LocalServer, client: CocuClient, tmp_path: Path) -> None:
    (tmp_path / "few.tar").write_bytes(tar_of_samples({"a": "a dog", "b": "a cat"}))
    command = ["curate", str(tmp_path / "few.tar"), "--server", server.url, "--dry-run", "-L", "3"]
    shown = CliRunner().invoke(app, command)
    assert shown.exit_code == 0, shown.output
    assert "nothing was started" in shown.output
    assert "pairs of images" in shown.output
    document = json.loads(CliRunner().invoke(app, [*command, "--json"]).stdout)
    assert document["parameters"]["neighbours"] == 3
    assert document["id"] in shown.output
    assert list(client.curations.list(dataset=document["dataset"])) == []
