"""Runs over HTTP: submit, list, follow, stop, resume, results."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

pytest.importorskip("torch")

from tests.training.service import stand_in
from tests.training.service.conftest import Platform, Training, settings_of, training_on

from cocu_training.service.keys import create_key


def events(training: Training, run: str, *, after: int | None = None) -> list[dict[str, Any]]:
    """Every event of a run until it ends."""
    headers = {} if after is None else {"Last-Event-ID": str(after)}
    with training.http.stream("GET", f"/v1/runs/{run}/events", headers=headers, timeout=120) as stream:
        assert stream.headers["content-type"].startswith("text/event-stream")
        lines = list(stream.iter_lines())
    run_events = [json.loads(line.removeprefix("data: ")) for line in lines if line.startswith("data: ")]
    ids = [int(line.removeprefix("id: ")) for line in lines if line.startswith("id: ")]
    assert ids == [event["id"] for event in run_events]
    return run_events


def states(run_events: list[dict[str, Any]]) -> list[str]:
    return [event["values"]["state"] for event in run_events if event["kind"] == "state"]


def test_run__from_submission_to_results(training: Training) -> None:
    answer = training.http.post("/v1/runs", json=training.body(steps=6) | {"arm": "topk", "name": "first"})
    created = answer.json()
    assert answer.status_code == 201
    assert answer.headers["location"] == f"/v1/runs/{created['id']}"
    assert (created["arm"], created["name"], created["state"]) == ("topk", "first", "queued")
    assert created["configuration"]["model"] == "tiny"
    seen = training.wait(created["id"])
    assert (seen["state"], seen["step"], seen["steps"], seen["starts"]) == ("completed", 6, 6, 1)
    results = training.http.get(f"/v1/runs/{created['id']}/results").json()
    assert results["latest"]["loss"] == pytest.approx(1 / 6)
    assert results["evaluations"] == [{"step": 6, "mean_iou": 0.06}]
    kinds = {file["name"]: file["kind"] for file in results["files"]}
    assert kinds["checkpoints/step-000000006.pt"] == "checkpoint"
    assert kinds["evaluation/previews/a picture.png"] == "preview"
    assert kinds["records.jsonl"] == "records"
    assert kinds["log.txt"] == "log"


def test_files__are_fetched_whole_and_in_part(training: Training) -> None:
    run = training.submit(steps=5)["id"]
    training.wait(run)
    for file in training.http.get(f"/v1/runs/{run}/files").json()["items"]:
        fetched = training.http.get(file["url"])
        assert fetched.status_code == 200
        assert len(fetched.content) == file["bytes"]
        assert fetched.headers["x-content-type-options"] == "nosniff"
    content = training.http.get(f"/v1/runs/{run}/files/records.jsonl").content
    part = training.http.get(f"/v1/runs/{run}/files/records.jsonl", headers={"Range": "bytes=10-"})
    assert (part.status_code, part.content) == (206, content[10:])
    beyond = training.http.get(f"/v1/runs/{run}/files/records.jsonl", headers={"Range": "bytes=99999999-"})
    assert beyond.status_code == 416
    assert beyond.headers["content-type"] == "application/problem+json"


def test_files__have_tags(training: Training) -> None:
    run = training.submit(steps=5)["id"]
    training.wait(run)
    url = f"/v1/runs/{run}/files/records.jsonl"
    complete = training.http.get(url)
    tag = complete.headers["etag"]
    for held in (tag, f'"other", W/{tag}', "*"):
        answer = training.http.get(url, headers={"If-None-Match": held})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)
    assert training.http.get(url, headers={"If-None-Match": '"other"'}).content == complete.content
    part = {"Range": "bytes=-7"}
    assert training.http.get(url, headers=part | {"If-Range": tag}).content == complete.content[-7:]
    # The rest of another version would not fit what the caller has.
    other = training.http.get(url, headers=part | {"If-Range": '"other"'})
    assert (other.status_code, other.content) == (200, complete.content)
    with (training.output(run) / "records.jsonl").open("ab") as file:
        file.write(b"more\n")
    assert training.http.get(url, headers={"If-None-Match": tag}).content == complete.content + b"more\n"


def test_files__that_grow_are_sent_as_they_were(training: Training) -> None:
    run = training.submit(steps=100_000)["id"]
    training.wait(run, lambda seen: seen["step"] >= 3)
    file = training.output(run) / "growing.bin"
    file.write_bytes(bytes(50_000_000))
    with training.http.stream("GET", f"/v1/runs/{run}/files/growing.bin") as answer:
        pieces = answer.iter_raw()
        received = len(next(pieces))
        with file.open("ab") as more:
            more.write(bytes(1000))
        received += sum(len(piece) for piece in pieces)
        assert received == int(answer.headers["content-length"]) == 50_000_000
    for _ in range(20):
        log = training.http.get(f"/v1/runs/{run}/files/records.jsonl")
        assert len(log.content) == int(log.headers["content-length"])
    training.http.post(f"/v1/runs/{run}/stop")
    training.wait(run)


def test_files__that_vanish_while_they_are_sent_are_sent(training: Training) -> None:
    run = training.submit(steps=1)["id"]
    training.wait(run)
    (training.output(run) / "large.bin").write_bytes(bytes(30_000_000))
    with training.http.stream("GET", f"/v1/runs/{run}/files/large.bin") as answer:
        pieces = answer.iter_raw()
        received = len(next(pieces))
        assert training.http.delete(f"/v1/runs/{run}").status_code == 204
        received += sum(len(piece) for piece in pieces)
    assert received == 30_000_000


def test_deleted_run__is_gone_with_its_files(training: Training) -> None:
    kept, run = training.submit(steps=1)["id"], training.submit(steps=2)["id"]
    for run_id in (kept, run):
        training.wait(run_id)
    assert training.settings.run_folder(run).is_dir()
    answer = training.http.delete(f"/v1/runs/{run}")
    assert (answer.status_code, answer.content) == (204, b"")
    assert not training.settings.run_folder(run).exists()
    for path in ("", "/events", "/results", "/files", "/files/records.jsonl"):
        assert training.http.get(f"/v1/runs/{run}{path}").status_code == 404
    for action in ("stop", "resume"):
        assert training.http.post(f"/v1/runs/{run}/{action}").status_code == 404
    assert training.http.delete(f"/v1/runs/{run}").status_code == 404
    assert [item["id"] for item in training.http.get("/v1/runs").json()["items"]] == [kept]
    assert (training.output(kept) / "records.jsonl").is_file()


def test_deleted_run__must_have_been_stopped(training: Training) -> None:
    run = training.submit(steps=100_000)["id"]
    training.wait(run, lambda seen: seen["step"] >= 2)
    answer = training.http.delete(f"/v1/runs/{run}")
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:cocu:problem:conflict")
    assert "stop it" in answer.json()["detail"]
    training.http.post(f"/v1/runs/{run}/stop")
    assert training.wait(run)["state"] == "stopped"
    assert training.http.delete(f"/v1/runs/{run}").status_code == 204


def test_deleted_run__leaves_the_queue_and_is_not_made_again(training: Training) -> None:
    first = training.submit(steps=100_000)["id"]
    training.wait(first, lambda seen: seen["step"] >= 1)
    key = {"Idempotency-Key": '"mine"'}
    queued, last = training.submit(steps=1, headers=key)["id"], training.submit(steps=1)["id"]
    with training.http.stream("GET", f"/v1/runs/{queued}/events", timeout=30) as stream:
        lines = stream.iter_lines()
        next(lines)
        assert training.http.delete(f"/v1/runs/{queued}").status_code == 204
        # What follows it is told of no more, by an end and not by a broken connection.
        assert not any("running" in line for line in lines)
    repeated = training.http.post("/v1/runs", json=training.body(steps=1, seed=0), headers=key)
    assert (repeated.status_code, "deleted" in repeated.json()["detail"]) == (409, True)
    training.http.post(f"/v1/runs/{first}/stop")
    assert training.wait(last)["state"] == "completed"
    assert not training.settings.run_folder(queued).exists()


def test_events__tell_states_steps_and_evaluations_in_order(training: Training) -> None:
    run = training.submit(steps=6)["id"]
    run_events = events(training, run)
    assert [event["id"] for event in run_events] == list(range(1, len(run_events) + 1))
    assert states(run_events) == ["queued", "running", "completed"]
    steps = [event["values"] for event in run_events if event["kind"] == "step"]
    assert [values["step"] for values in steps] == [1, 2, 3, 4, 5, 6]
    assert [event["values"]["event"] for event in run_events if event["kind"] == "event"] == [
        "started",
        "checkpoint",
        "checkpoint",
        "finished",
    ]


def test_events__go_on_after_the_last_one_that_was_seen(training: Training) -> None:
    run = training.submit(steps=5)["id"]
    everything = events(training, run)
    assert events(training, run, after=4) == everything[4:]
    assert events(training, run, after=10**17) == []


def test_stop__writes_a_checkpoint_that_resume_goes_on_from(training: Training) -> None:
    run = training.submit(steps=100_000)["id"]
    training.wait(run, lambda seen: seen["step"] >= 6)
    assert training.http.post(f"/v1/runs/{run}/stop").status_code == 202
    stopped = training.wait(run)
    assert stopped["state"] == "stopped"
    names = {file["name"] for file in training.http.get(f"/v1/runs/{run}/files").json()["items"]}
    assert f"checkpoints/step-{stopped['step']:09d}.pt" in names

    assert training.http.post(f"/v1/runs/{run}/resume").json()["state"] == "queued"
    training.wait(run, lambda seen: seen["step"] >= stopped["step"] + 3)
    assert [step for _, step in training.starts(run)] == [0, stopped["step"]]
    training.http.post(f"/v1/runs/{run}/stop")
    training.wait(run)
    run_events = events(training, run)
    steps = [event["values"]["step"] for event in run_events if event["kind"] == "step"]
    assert steps == list(range(1, len(steps) + 1))
    assert states(run_events) == ["queued", "running", "stopping", "stopped"] * 2


def test_stop__of_a_trainer_that_does_not_listen_kills_it(
    tmp_path: Path, platform: Platform, repository: Path
) -> None:
    settings = settings_of(tmp_path / "service", platform, repository, stop_seconds=0.5)
    with training_on(platform, settings) as training:
        run = training.submit(steps=100_000, seed=stand_in.DEAF)["id"]
        training.wait(run, lambda seen: seen["step"] >= 5)
        training.http.post(f"/v1/runs/{run}/stop")
        assert training.wait(run)["state"] == "stopped"
        training.http.post(f"/v1/runs/{run}/resume")
        training.wait(run, lambda seen: len(training.starts(run)) == 2)
        assert training.starts(run)[-1][1] >= 4


def test_queue__trains_one_run_at_a_time_in_order(training: Training) -> None:
    first = training.submit(steps=100_000)["id"]
    second, third = training.submit(steps=4)["id"], training.submit(steps=4)["id"]
    training.wait(first, lambda seen: seen["step"] >= 2)
    assert [training.get(run)["ahead"] for run in (first, second, third)] == [None, 1, 2]
    assert training.http.post(f"/v1/runs/{second}/stop").json()["state"] == "stopped"
    assert training.get(third)["ahead"] == 1
    training.http.post(f"/v1/runs/{first}/stop")
    assert training.wait(third)["state"] == "completed"
    assert training.get(second)["starts"] == 0
    assert training.get(first)["finished_at"] <= training.get(third)["started_at"]


def test_crash__is_failed_with_the_end_of_its_log(training: Training) -> None:
    run = training.submit(steps=20, seed=stand_in.CRASHES)["id"]
    failed = training.wait(run)
    assert failed["state"] == "failed"
    assert "the loss is not finite: a stand-in's" in failed["detail"]
    training.http.post(f"/v1/runs/{run}/resume")
    assert training.wait(run)["state"] == "completed"
    assert [step for _, step in training.starts(run)] == [0, 4]
    steps = [event["values"]["step"] for event in events(training, run) if event["kind"] == "step"]
    assert steps == [1, 2, 3, 4, 5, *range(5, 21)]


def test_vanished_processes__go_on_from_the_last_checkpoint(training: Training) -> None:
    run = training.submit(steps=12, seed=stand_in.VANISHES)["id"]
    assert training.wait(run)["state"] == "completed"
    assert [step for _, step in training.starts(run)] == [0, 4]
    assert states(events(training, run)) == ["queued", "running", "queued", "running", "completed"]


def test_vanished_processes__are_given_up_when_no_step_is_done(training: Training) -> None:
    run = training.submit(steps=12, seed=stand_in.LOST)["id"]
    failed = training.wait(run)
    assert (failed["state"], failed["starts"]) == ("failed", 4)
    assert "vanished 4 times" in failed["detail"]


def test_damaged_records__are_passed_over(training: Training) -> None:
    run = training.submit(steps=3, seed=stand_in.BROKEN)["id"]
    assert training.wait(run)["state"] == "completed"
    run_events = events(training, run)
    assert sum(event["values"].get("event") == "unreadable" for event in run_events) == 9
    assert [event["values"]["step"] for event in run_events if event["kind"] == "step"] == [1, 2, 3]


@pytest.mark.parametrize("action", ["stop", "resume"])
def test_actions__on_a_completed_run_are_conflicts(training: Training, action: str) -> None:
    run = training.submit(steps=1)["id"]
    training.wait(run)
    answer = training.http.post(f"/v1/runs/{run}/{action}")
    assert answer.status_code == 409
    assert answer.json()["type"] == "urn:cocu:problem:conflict"


def test_list__comes_in_pages(training: Training) -> None:
    submitted = [training.submit(steps=1)["id"] for _ in range(5)]
    for run in submitted:
        training.wait(run)
    listed, cursor = [], None
    while True:
        page = training.http.get(
            "/v1/runs", params={"limit": 2} | ({"cursor": cursor} if cursor else {})
        ).json()
        listed += [run["id"] for run in page["items"]]
        cursor = page["next"]
        if cursor is None:
            break
    assert listed == submitted
    first = training.http.get("/v1/runs", params={"limit": 2}).json()["next"]
    other = training.http.get("/v1/runs", params={"cursor": first, "state": "completed"})
    assert other.status_code == 422
    assert len(training.http.get("/v1/runs", params={"state": "completed"}).json()["items"]) == 5
    assert training.http.get("/v1/runs", params={"state": "failed"}).json()["items"] == []


def test_idempotency__the_same_request_makes_one_run(training: Training) -> None:
    key = {"Idempotency-Key": '"once"'}
    first = training.submit(steps=2, headers=key)
    assert training.submit(steps=2, headers=key)["id"] == first["id"]
    other = training.http.post("/v1/runs", json=training.body(steps=3), headers=key)
    assert other.status_code == 422
    assert other.json()["errors"][0]["field"] == "Idempotency-Key"
    assert len(training.http.get("/v1/runs").json()["items"]) == 1


def test_queue__has_a_limit(tmp_path: Path, platform: Platform, repository: Path) -> None:
    settings = settings_of(tmp_path / "service", platform, repository, max_queued=1)
    with training_on(platform, settings) as training:
        running = training.submit(steps=100_000)["id"]
        training.wait(running, lambda seen: seen["state"] == "running")
        training.submit(steps=1)
        answer = training.http.post("/v1/runs", json=training.body(steps=1))
        assert (answer.status_code, "retry-after" in answer.headers) == (429, True)


def test_platform__that_is_away_is_503_and_told_by_readyz(
    tmp_path: Path, platform: Platform, repository: Path
) -> None:
    away = Platform("http://127.0.0.1:9", platform.curation)
    with training_on(away, settings_of(tmp_path / "service", away, repository)) as training:
        answer = training.http.post("/v1/runs", json=training.body(steps=1))
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
        ready = training.http.get("/readyz")
        assert (ready.status_code, ready.json()["parts"]["platform"]) == (200, "unavailable")


def test_health(training: Training) -> None:
    assert training.http.get("/healthz").json()["status"] == "ok"
    ready = training.http.get("/readyz").json()["parts"]
    assert ready == {"database": "ok", "runner": "ok", "platform": "ok"}


def test_openapi__has_stable_ids_and_every_problem(training: Training) -> None:
    document = training.http.get("/openapi.json").json()
    operations = {
        operation["operationId"]: operation
        for path in document["paths"].values()
        for operation in path.values()
    }
    assert set(operations) == {
        "create_run",
        "list_runs",
        "get_run",
        "delete_run",
        "stop_run",
        "resume_run",
        "stream_run_events",
        "get_run_results",
        "list_run_files",
        "get_run_file",
        "get_run_series",
        "get_health",
        "get_readiness",
    }
    assert "429" in operations["create_run"]["responses"]
    assert "Problem" in document["components"]["schemas"]
    assert "HTTPValidationError" not in json.dumps(document["paths"])
    fields = document["components"]["schemas"]["RunCreate"]["properties"]["configuration"]["properties"]
    assert {"arm", "learning_rate", "global_batch"} <= set(fields)


def test_openapi__says_whether_a_key_is_needed(training: Training) -> None:
    def security() -> object:
        return training.http.get("/openapi.json").json()["paths"]["/v1/runs"]["get"]["security"]

    assert security() == [{"HTTPBearer": []}, {}]
    create_key(training.settings.keys_file)
    assert training.http.get("/v1/runs").status_code == 401
    assert security() == [{"HTTPBearer": []}]


def test_curation__that_is_not_there(training: Training) -> None:
    answer: httpx.Response = training.http.post(
        "/v1/runs", json=training.body(steps=1) | {"curation": "cur_unknown"}
    )
    assert answer.status_code == 422
    assert answer.json()["errors"] == [
        {"field": "body.curation", "problem": "give the id of one on the platform"}
    ]
