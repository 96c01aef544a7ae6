"""Runs on the pages: what they show is what was recorded, and the files of a run stay where they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import pairwise
from urllib.parse import quote, urljoin

import httpx
import pytest
from playwright.sync_api import Page, expect
from tests.dashboard.shown_platform import HOSTILE_NAME, Shown, trained
from tests.dashboard.test_pages import check_page, page_at
from tests.dashboard.test_service import served
from tests.dashboard.trainer import BARE, FAILS, REFUSES, RUNS, SPIKE_LOSS, SPIKE_STEP
from tests.dashboard.viewers import overflow

from cocu.client import TrainingClient
from cocu.dashboard.rendering import count, figure
from cocu.dashboard.run_curves import plots
from cocu.schemas.training import RunSeries, Series


@pytest.fixture
def trainer(shown: Shown) -> Iterator[TrainingClient]:
    with TrainingClient(shown.training) as client:
        yield client


def plain(text: str) -> str:
    """A text as `PageDocument` reads it, white space as one space."""
    return " ".join(text.split())


def records(trainer: TrainingClient, run: str, kind: str) -> list[dict[str, float]]:
    lines = trainer.runs.file(run, "records.jsonl").splitlines()
    return [record for record in map(json.loads, lines) if record["kind"] == kind]


def started(trainer: TrainingClient, curation: str, seed: int) -> str:
    """A run that goes on until it is stopped, and has recorded something."""
    run = trainer.runs.create(curation, preset="tiny", configuration={"steps": 200, "seed": seed}).id
    for event in trainer.runs.events(run):
        if event.kind == "evaluation":
            return run
    raise AssertionError("the run ended without an evaluation")


def test_list__shows_what_the_runs_recorded_last(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    page = page_at(http, f"/training?curation={shown.curation.id}")
    last, evaluation = (records(trainer, shown.run, kind)[-1] for kind in ("step", "evaluation"))
    row = next(row for row in page.all("tr") if "first" in row.text)
    assert plain(figure(last["loss"])) in row.text
    assert plain(figure(last["images_per_second"])) in row.text
    assert f"{100 * evaluation['mean_iou']:.1f}" in row.text
    assert "1 200 of 1 200" in row.text
    names = [link.text for link in page.all("a") if "training/runs/" in link.attributes["href"]]
    assert names.index(plain(HOSTILE_NAME[:100])) < names.index("first"), "newest first"
    assert page.code == []


def test_curves__end_and_peak_where_the_records_do(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    steps = records(trainer, shown.run, "step")
    page = page_at(http, f"/training/runs/{shown.run}")
    check_page(page)
    section = next(section for section in page.all("section") if section.attributes["aria-label"] == "Loss")
    cells = [cell.text for cell in page.all("td") if section in cell.around]
    rows = {cells[at]: cells[at + 1 : at + 3] for at in range(0, len(cells), 3)}
    lowest = min(steps, key=lambda record: record["loss"])
    assert rows["highest"] == [figure(SPIKE_LOSS), str(SPIKE_STEP)]
    assert rows["lowest"] == [plain(figure(lowest["loss"])), plain(count(int(lowest["step"])))]
    assert rows["first"] == [figure(steps[0]["loss"]), "1"]
    assert rows["last"] == [figure(steps[-1]["loss"]), "1 200"]
    (line,) = [line for line in page.all("polyline") if section in line.around]
    heights = [float(point.split(",")[1]) for point in line.attributes["points"].split()]
    assert len(heights) <= 300
    assert min(heights) == 12.0, "the spike touches the top"
    titles = {section.attributes["aria-label"] for section in page.all("section")}
    assert titles >= {"Loss", "mIoU", "Images per second", "Learning rate"}


def test_runs_beside__differ_by_dash_and_label(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, f"/training/runs/{shown.run}?with={shown.other_run},run_{'0' * 20}")
    check_page(page)
    section = next(section for section in page.all("section") if section.attributes["aria-label"] == "mIoU")
    lines = [line for line in page.all("polyline") if section in line.around]
    assert len({frozenset(line.classes) for line in lines}) == len(lines) == 2
    labels = [text.text for text in page.all("text", class_="end") if section in text.around]
    assert sorted(labels) == ["A", "B"]
    assert "There is no run" in page.first("p", class_="hint").text
    for ugly in ("with=,,,", "with=../..", f"with={quote('<script>')}", "with=" + ",".join("abcdefgh")):
        assert page_at(http, f"/training/runs/{shown.run}?{ugly}").code == []


def test_a_run__is_stopped_and_goes_on(shown: Shown, http: httpx.Client, trainer: TrainingClient) -> None:
    run = started(trainer, shown.curation.id, RUNS)
    path = f"/training/runs/{run}"
    assert [form.attributes["action"] for form in page_at(http, path).all("form")] == [f"../..{path}/stop"]
    for headers in ({"Origin": "http://evil.example"}, {"Origin": "null"}):
        assert http.post(f"{path}/stop", headers=headers).status_code == 403
    answer = http.post(f"{path}/stop")
    assert (answer.status_code, urljoin(f"{path}/stop", answer.headers["location"])) == (303, path)
    for _ in trainer.runs.events(run):
        pass
    assert trainer.runs.get(run).state == "stopped"
    assert [form.attributes["action"] for form in page_at(http, path).all("form")] == [f"../..{path}/resume"]
    assert http.post(f"{path}/resume").status_code == 303
    assert trainer.runs.get(run).state in {"queued", "running"}
    assert http.post(f"{path}/resume").status_code == 409
    http.post(f"{path}/stop")
    for _ in trainer.runs.events(run):
        pass
    trainer.runs.delete(run)
    assert page_at(http, path, status=404).first("h1").text == "Nothing is here"


def test_a_run_that_failed__says_why_as_text(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    run = trained(trainer, shown.curation.id, steps=120, name=None, seed=FAILS)
    page = page_at(http, f"/training/runs/{run}")
    assert "step 60 <b>!</b>" in page.first("div", class_="problem").text
    log = page.first("details", id="log").text
    assert "training <script>alert(2)</script>" in log
    assert "\x1b" not in log
    assert page.code == []
    trainer.runs.delete(run)


def test_curation__says_how_often_it_was_trained_on(shown: Shown, http: httpx.Client) -> None:
    line = next(
        link for link in page_at(http, f"/curations/{shown.curation.id}").all("a") if "trained" in link.text
    )
    assert line.text == "trained: 2 runs"
    assert line.attributes["href"].endswith(f"training?curation={shown.curation.id}")
    assert "trained:" not in http.get(f"/curations/{shown.other.id}").text


def test_without_a_service__the_page_says_how_to_start_one(shown: Shown) -> None:
    with served(shown.server.url) as url, httpx.Client(base_url=url, timeout=60) as http:
        page = page_at(http, "/training")
        check_page(page)
        assert "cocu-train serve" in page.first("pre").text
        assert "COCU_TRAINING=" in page.first("pre").text
        assert not [link for link in page_at(http, "/").all("a") if link.text == "Training"]
        for path in (f"/training/runs/{shown.run}", f"/training/runs/{shown.run}/files/previews/x.png"):
            assert http.get(path).status_code == 404
        assert "trained:" not in http.get(f"/curations/{shown.curation.id}").text


def test_plots__of_odd_figures_stay_within_their_frame() -> None:
    odd = {
        "flat": Series(step=[1, 2], value=[3.0, 3.0]),
        "single": Series(step=[0], value=[1e-9]),
        "huge": Series(step=[1, 2], value=[-1.7e308, 1.7e308]),
    }
    series = RunSeries(run="r", state="completed", steps=odd, evaluations={}, thinned=False)
    for plot in plots(dict.fromkeys("ABCDEF", series)):
        assert len(plot.lines) == 6
        labels = sorted(line.end[1] for line in plot.lines)
        assert all(later - earlier >= 11.99 for earlier, later in pairwise(labels))
        for line in plot.lines:
            places = [tuple(map(float, point.split(","))) for point in re.split(" ", line.points)]
            assert all(56 <= x <= 456 and 12 <= y <= 172 for x, y in places), plot.name


def test_plots__have_the_figures_that_any_run_has() -> None:
    failed = RunSeries(run="a", state="failed", steps={}, evaluations={}, thinned=False)
    curve = {"loss": Series(step=[1, 2], value=[3.0, 2.0])}
    scores = {"mean_iou": Series(step=[2], value=[0.3])}
    other = RunSeries(run="b", state="completed", steps=curve, evaluations=scores, thinned=False)
    drawn = {plot.name: plot.lines for plot in plots({"A": failed, "B": other})}
    assert {name: [(line.letter, line.dash) for line in lines] for name, lines in drawn.items()} == {
        "mean_iou": [("B", 2)],
        "loss": [("B", 2)],
    }


def test_labels__stay_beside_their_lines_where_nothing_is_in_their_way() -> None:
    def ending(step: int) -> RunSeries:
        curve = {"loss": Series(step=[0, step], value=[1.0, 0.0])}
        return RunSeries(run="r", state="completed", steps=curve, evaluations={}, thinned=False)

    (plot,) = plots({"A": ending(100), "B": ending(200), "C": ending(1000)})
    assert [line.end[1] for line in plot.lines] == [176.0, 176.0, 176.0]


def test_a_run_that_failed_at_once__says_so_and_may_be_resumed(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    run = trained(trainer, shown.curation.id, steps=100, name=None, seed=REFUSES)
    page = page_at(http, f"/training/runs/{run}")
    check_page(page)
    text = page.first("main").text
    assert "there is no table of texts <b>here</b>" in page.first("div", class_="problem").text
    assert "It ended before anything was recorded." in text
    assert "Resume" in text
    beside = page_at(http, f"/training/runs/{run}?with={shown.run}")
    assert "Loss" in {section.attributes["aria-label"] for section in beside.all("section")}
    trainer.runs.delete(run)


def test_a_run_without_evaluations__has_a_dash_for_them(
    shown: Shown, http: httpx.Client, trainer: TrainingClient
) -> None:
    run = trained(trainer, shown.curation.id, steps=20, name="bare", seed=BARE)
    page = page_at(http, f"/training/runs/{run}")
    check_page(page)
    titles = {section.attributes["aria-label"] for section in page.all("section")}
    assert "Loss" in titles
    assert "mIoU" not in titles
    assert "There are none" in page.first("div", id="previews").text
    trainer.runs.delete(run)


def test_curves_of_a_run_that_waited__appear_by_themselves(
    shown: Shown, open_page: Callable[..., Page], trainer: TrainingClient
) -> None:
    first = started(trainer, shown.curation.id, RUNS)
    waiting = trainer.runs.create(
        shown.curation.id, preset="tiny", configuration={"steps": 200, "seed": RUNS}
    )
    page = open_page(f"/training/runs/{waiting.id}")
    expect(page.locator("#curves")).to_contain_text("It waits for its turn")
    trainer.runs.stop(first)
    expect(page.locator("#curves svg.plot").first).to_be_visible()
    expect(page.locator("#previews img").first).to_be_visible()
    page.locator("#curves summary").first.click()
    expect(page.locator("#curves details[open]")).to_have_count(1)
    trainer.runs.stop(waiting.id)
    expect(page.get_by_role("button", name="Resume the run")).to_be_visible()
    for run in (first, waiting.id):
        trainer.runs.delete(run)


def test_a_run_that_ends__is_shown_as_ended_by_itself(
    shown: Shown, open_page: Callable[..., Page], trainer: TrainingClient
) -> None:
    run = started(trainer, shown.curation.id, RUNS)
    page = open_page(f"/training/runs/{run}", width=390)
    expect(page.locator("#progress")).to_contain_text("running")
    assert overflow(page) == 0
    page.get_by_role("button", name="Stop the run").click()
    expect(page.locator("#progress")).to_contain_text("stopped")
    expect(page.get_by_role("button", name="Resume the run")).to_be_visible()
    page.goto("/training")
    assert overflow(page) == 0
    trainer.runs.delete(run)
