"""The typed client of the service, against a real one."""

from __future__ import annotations

import json
from pathlib import Path

import httpx
import pytest
from tests.training.service import stand_in
from tests.training.service.conftest import Platform, Training, settings_of, training_on

from cocu.client import ConflictError, InvalidInputError, NotFoundError, TrainingClient
from cocu.client.exceptions import ProblemError
from cocu_training.service.keys import create_key


def test_client__submits_follows_and_reads_a_run(training: Training, tmp_path: Path) -> None:
    with TrainingClient(training.url) as client:
        assert client.health().parts["runner"] == "ok"
        run = client.runs.create(
            training.curation, preset="tiny", arm="topk", name="first", configuration={"steps": 9}
        )
        assert (run.state, run.arm, run.name, run.latest) == ("queued", "topk", "first", None)
        kinds = [event.kind for event in client.runs.events(run.id)]
        assert kinds.count("step") == 9
        ended = client.runs.get(run.id)
        assert (ended.state, ended.ended, ended.step, ended.steps) == ("completed", True, 9, 9)
        assert ended.latest is not None
        assert ended.latest["loss"] == pytest.approx(1 / 9)
        assert ended.evaluation == {"step": 9, "mean_iou": 0.09}
        results = client.runs.results(run.id)
        assert results.evaluations == [ended.evaluation]
        assert [file.name for file in client.runs.files(run.id)] == [file.name for file in results.files]
        preview = next(file for file in results.files if file.kind == "preview")
        # A link is absolute once the client has read it.
        assert httpx.get(preview.url).content == client.runs.file(run.id, preview.name) == b"\x89PNG"
        records = client.runs.file(run.id, "records.jsonl")
        assert client.runs.file(run.id, "records.jsonl", last=20) == records[-20:]
        assert client.runs.download(run.id, "records.jsonl", tmp_path / "copy").read_bytes() == records
        client.runs.delete(run.id)
        for read in (client.runs.get, client.runs.series, client.runs.results):
            with pytest.raises(NotFoundError):
                read(run.id)


def test_series__are_the_records_of_the_trainer(training: Training) -> None:
    run = training.submit(steps=60)["id"]
    training.wait(run)
    with TrainingClient(training.url) as client:
        records = [json.loads(line) for line in client.runs.file(run, "records.jsonl").splitlines()]
        steps = [record for record in records if record["kind"] == "step"]
        series = client.runs.series(run)
        assert not series.thinned
        assert series.steps["loss"].step == [record["step"] for record in steps]
        assert series.steps["loss"].value == [record["loss"] for record in steps]
        assert series.evaluations["mean_iou"].model_dump() == {"step": [60], "value": [0.6]}
        few = client.runs.series(run, points=10)
        assert few.thinned
        assert len(few.steps["loss"].step) <= 10
        assert (few.steps["loss"].step[0], few.steps["loss"].step[-1]) == (1, 60)
        for points in (3, 5001):
            with pytest.raises(InvalidInputError, match="points"):
                client.runs.series(run, points=points)


def test_series__of_a_run_that_crashed_and_was_resumed_have_every_step_once(training: Training) -> None:
    run = training.submit(steps=12, seed=stand_in.CRASHES)["id"]
    training.wait(run)
    with TrainingClient(training.url) as client:
        assert client.runs.resume(run).state == "queued"
        assert training.wait(run)["state"] == "completed"
        records = [json.loads(line) for line in client.runs.file(run, "records.jsonl").splitlines()]
        steps = [record["step"] for record in records if record["kind"] == "step"]
        assert client.runs.series(run).steps["loss"].step == steps == list(range(1, 13))
        with pytest.raises(ConflictError, match="completed"):
            client.runs.resume(run)


def test_lists__are_by_curation_and_in_both_orders(training: Training) -> None:
    ids = [training.submit(steps=1)["id"] for _ in range(4)]
    for run in ids:
        training.wait(run)
    with TrainingClient(training.url) as client:
        assert [run.id for run in client.runs.list(page_size=3)] == ids
        newest = client.runs.list(curation=training.curation, order="-created_at", page_size=3)
        assert [run.id for run in newest] == ids[::-1]
        assert list(client.runs.list(curation="another")) == []
        first = client.runs.page(order="-created_at", limit=2)
        second = client.runs.page(order="-created_at", limit=2, cursor=first.next)
        assert [run.id for run in (*first.items, *second.items)] == ids[::-1]
        with pytest.raises(InvalidInputError, match="cursor"):
            client.runs.page(order="created_at", cursor=first.next)
        assert all(
            run.latest == {"step": 1, "loss": 1.0, "at": (run.latest or {})["at"]} for run in first.items
        )


def test_stopped_run__may_be_stopped_again_and_resumed(training: Training) -> None:
    run = training.submit(steps=100_000)["id"]
    training.wait(run, lambda seen: seen["step"] >= 2)
    with TrainingClient(training.url) as client:
        assert client.runs.stop(run).state == "stopping"
        assert training.wait(run)["state"] == "stopped"
        assert client.runs.stop(run).state == "stopped"
        assert client.runs.resume(run).state == "queued"
        training.wait(run, lambda seen: seen["starts"] == 2)
        client.runs.stop(run)
    training.wait(run)


def test_key__is_asked_for_and_sent(tmp_path: Path, platform: Platform, repository: Path) -> None:
    settings = settings_of(tmp_path / "service", platform, repository)
    with training_on(platform, settings) as training:
        key = create_key(settings.keys_file)
        with TrainingClient(training.url) as client, pytest.raises(ProblemError) as refused:
            next(client.runs.list())
        assert refused.value.problem.status == 401
        with TrainingClient(training.url, key) as client:
            assert list(client.runs.list()) == []
