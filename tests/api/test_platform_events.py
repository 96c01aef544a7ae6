"""Events of everything, lists of curations by state, and tasks that failed."""

from __future__ import annotations

import threading
from dataclasses import asdict
from itertools import takewhile
from pathlib import Path

import httpx
import pytest
from sqlalchemy import delete, select, update
from tests.api.conftest import CAPTIONS, Curated
from tests.local_platform import tar_of_samples

from cocu.api.server import LocalServer
from cocu.catalog import models
from cocu.client import CocuClient
from cocu.curation.parameters import CurationParameters
from cocu.schemas import PARAMETER_DEFAULTS, Parameters, PlatformEvent


def test_events__begin_now_and_tell_of_uploads_and_curations(
    server: LocalServer, client: CocuClient, curated: Curated, tmp_path: Path
) -> None:
    told: list[PlatformEvent] = []
    followed: set[str] = set()
    began, ended = threading.Event(), threading.Event()

    def listen() -> None:
        with CocuClient(server.url) as listener:
            for event in listener.events():
                told.append(event)
                began.set()
                # A curation of another test may end meanwhile.
                if event.dataset in followed and event.data.get("state") == "completed":
                    ended.set()
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    assert began.wait(30)
    dataset = client.datasets.create("followed").id
    followed.add(dataset)
    (tmp_path / "a.tar").write_bytes(tar_of_samples(CAPTIONS, first_seed=300))
    client.datasets.upload(dataset, tmp_path / "a.tar")
    client.datasets.wait(dataset, timeout=60)
    curation = client.curations.create(dataset, vocabulary=curated.curation.vocabulary)
    client.curations.wait(curation.id, timeout=120)
    assert ended.wait(30)
    thread.join(30)

    assert told[0].kind == "now"
    ids = [event.id for event in told[1:]]
    assert ids == sorted(set(ids))
    own = [event for event in told if event.dataset == dataset]
    uploads = [str(event.data["state"]) for event in own if event.kind == "upload"]
    assert uploads == ["receiving", "received", "ingested"]
    # Congruent with the stream of the curation itself.
    alone = list(client.curations.events(curation.id))
    of_curation = [event for event in own if event.curation == curation.id]
    assert [(event.id, event.kind, event.data) for event in of_curation] == [
        (event.id, event.kind, event.data) for event in alone[: len(of_curation)]
    ]
    # Continued after an event in the middle, the stream has the same rest.
    middle = own[len(own) // 2].id
    again = [event for event in _until(client, middle, told[-1].id) if event.dataset == dataset]
    assert [event.id for event in again] == [event.id for event in own if event.id > middle]


def test_events__go_on_after_an_event_that_the_feed_has_not_come_to(
    server: LocalServer, client: CocuClient, tmp_path: Path
) -> None:
    """What is deleted leaves a gap in the ids, at which a feed that begins waits for some seconds."""
    dataset = client.datasets.create("with a gap").id
    for number, name in enumerate(("a.tar", "b.tar")):
        (tmp_path / name).write_bytes(tar_of_samples(CAPTIONS, first_seed=400 + 100 * number))
        client.datasets.upload(dataset, tmp_path / name)
    client.datasets.wait(dataset, timeout=60)
    event = models.Event
    with server._app.state.platform.catalog.write() as connection:
        ids = list(
            connection.execute(
                select(event.id).where(event.dataset_id == dataset).order_by(event.id)
            ).scalars()
        )
        connection.execute(delete(event).where(event.id == ids[1]))
    again = list(takewhile(lambda told: told.id < ids[-1], client.events(after=ids[3])))
    assert [told.id for told in again if told.dataset == dataset] == ids[4:-1]
    assert "now" not in {told.kind for told in again}


def _until(client: CocuClient, after: int, last: int) -> list[PlatformEvent]:
    events = client.events(after=after)
    before = list(takewhile(lambda event: event.id < last, events))
    return [*before, PlatformEvent(id=last, at=before[-1].at, kind="state", dataset=before[-1].dataset)]


@pytest.mark.parametrize("last", ["-1", "x", "1.5", "", "1" * 19, "٣"])
def test_events__after_what_is_no_event_is_a_bad_request(http: httpx.Client, last: str) -> None:
    answer = http.get("/v1/events", headers={"Last-Event-ID": last.encode()})
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")


def test_events__after_one_that_is_to_come_begin_anew(http: httpx.Client, curated: Curated) -> None:
    with http.stream("GET", "/v1/events", headers={"Last-Event-ID": "9" * 18}) as answer:
        assert answer.headers["content-type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        first = [next(lines) for _ in range(3)]
    assert "event: now" in first
    assert not any("9" * 18 in line for line in first)


def test_curations__are_listed_by_state_and_newest_first(
    client: CocuClient, http: httpx.Client, curated: Curated
) -> None:
    everything = [curation.id for curation in client.curations.list(page_size=1)]
    newest = [curation.id for curation in client.curations.list(order="-created_at", page_size=1)]
    assert newest == everything[::-1]
    # Other tests of this server leave curations behind that ended otherwise.
    states = {curation.id: curation.state for curation in client.curations.list()}
    for wanted in (("completed",), ("queued", "running", "failed", "cancelled")):
        listed = [curation.id for curation in client.curations.list(state=wanted)]
        assert listed == [curation for curation in everything if states[curation] in wanted]
    assert states[curated.curation.id] == "completed"
    ended = client.curations.get(curated.curation.id)
    assert (ended.stage, ended.samples_done, ended.per_second, ended.remaining_seconds) == (None,) * 4
    for query in ("state=nothing", "order=name", "order=-created_at&order=created_at", "states=completed"):
        assert http.get(f"/v1/curations?{query}").status_code == 422, query


def test_curations__go_on_only_in_the_same_list(
    client: CocuClient, http: httpx.Client, curated: Curated
) -> None:
    client.curations.wait(
        client.curations.create(
            curated.dataset.id,
            vocabulary=curated.curation.vocabulary,
            parameters=Parameters(neighbours=3, seed=17),
        ).id,
        timeout=120,
    )
    cursor = http.get("/v1/curations?limit=1&order=-created_at").json()["next"]
    assert http.get("/v1/curations", params={"limit": 1, "order": "-created_at", "cursor": cursor}).is_success
    for other in ({}, {"order": "created_at"}, {"order": "-created_at", "state": "completed"}):
        answer = http.get("/v1/curations", params={"limit": 1, "cursor": cursor, **other})
        assert answer.status_code == 422


def test_failures__are_the_tasks_with_an_error(
    server: LocalServer, client: CocuClient, http: httpx.Client, curated: Curated
) -> None:
    catalog = server._app.state.platform.catalog
    assert list(client.curations.failures(curated.curation.id)) == []
    with catalog.read() as connection:
        rows = connection.execute(
            select(models.Task.id, models.Task.stage, models.Task.target)
            .where(models.Task.curation_id == curated.curation.id)
            .order_by(models.Task.stage, models.Task.target)
        ).all()
    try:
        with catalog.write() as connection:
            for row, state in zip(rows, ("failed", "pending", "running", "done"), strict=False):
                values = {"state": state, "error": f"<b>{row.stage}</b> broke", "attempts": 3}
                values |= {"not_before": 4e9, "lease_until": 4e9}
                connection.execute(update(models.Task).where(models.Task.id == row.id).values(values))
        told = list(client.curations.failures(curated.curation.id, page_size=1))
        assert [(task.stage, task.shard, task.reason) for task in told] == [
            (row.stage, None if row.target == "all" else row.target, f"<b>{row.stage}</b> broke")
            for row in rows[:3]
        ]
        assert [task.given_up for task in told] == [True, False, False]
        assert [task.next_attempt is not None for task in told] == [False, True, False]
        assert {task.attempts for task in told} == {3}
    finally:
        with catalog.write() as connection:
            connection.execute(
                update(models.Task)
                .where(models.Task.curation_id == curated.curation.id)
                .values(state="done", error=None, not_before=0.0, lease_until=0.0)
            )
    path = f"/v1/curations/{curated.curation.id}/failures"
    assert http.get(path, params={"cursor": "bm90IG9uZQ"}).status_code == 422
    assert http.get("/v1/curations/none-such/failures").status_code == 404


def test_parameters__have_a_sentence_with_their_default(http: httpx.Client) -> None:
    assert asdict(CurationParameters()) == dict(PARAMETER_DEFAULTS)
    properties = http.get("/openapi.json").json()["components"]["schemas"]["Parameters"]["properties"]
    assert properties.keys() == PARAMETER_DEFAULTS.keys()
    words = {None: "null", True: "true", False: "false"}
    for name, schema in properties.items():
        default = PARAMETER_DEFAULTS[name]
        word = words[default] if default is None or isinstance(default, bool) else str(default)
        assert schema["description"].endswith(f"Default: {word}."), name
