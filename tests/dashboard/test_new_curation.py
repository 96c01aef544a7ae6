"""The form of a new curation, cancelling, uploads and retries, without a browser: plain forms that work."""

from __future__ import annotations

from urllib.parse import urljoin

import httpx
import pytest
from tests.dashboard.page_document import PageDocument
from tests.dashboard.shown_platform import Shown
from tests.local_platform import tar_of_samples

from cocu.schemas import PARAMETER_DEFAULTS, Parameters


def page_at(http: httpx.Client, path: str) -> PageDocument:
    answer = http.get(path)
    assert answer.status_code == 200, answer.text[:300]
    return PageDocument(answer.text)


def form_path(shown: Shown) -> str:
    return f"/datasets/{shown.dataset.id}/curate"


def test_form__has_every_parameter_with_its_sentence_and_its_default(
    shown: Shown, http: httpx.Client
) -> None:
    page = page_at(http, form_path(shown))
    properties = Parameters.model_json_schema()["properties"]
    for name in PARAMETER_DEFAULTS:
        field = next(element for element in page.elements if element.attributes.get("name") == name)
        note = page.first("span", id=field.attributes["aria-describedby"])
        assert note.text == " ".join(properties[name]["description"].split())
        folded = any(element.tag == "details" for element in field.around)
        assert folded == (name not in {"neighbours", "scoring"})
    assert page.first("select", id="vocabulary")
    start = next(button for button in page.all("button") if button.text == "Start")
    assert "disabled" not in start.attributes


def test_form__shows_what_it_costs_and_ten_archives_as_the_platform_says(
    shown: Shown, http: httpx.Client
) -> None:
    page = page_at(http, f"{form_path(shown)}?neighbours=5&scoring=set&clustering=false")
    parameters = Parameters(neighbours=5, scoring="set", clustering=False)
    preview = shown.client.curations.preview(shown.dataset.id, parameters=parameters)
    cards = [element for element in page.all("div") if element.classes == {"card"}]
    assert len(cards) == len(preview.archives) == 10
    for card, archive in zip(cards, preview.archives, strict=True):
        added = [concept.concept for concept in archive.concepts if concept.added]
        assert f"{len(archive.concepts)} concepts, {len(added)} added" in card.text
        assert all(f"+ {name}" in card.text for name in added[:5])
    selected = [
        option.attributes["value"] for option in page.all("option") if "selected" in option.attributes
    ]
    assert selected == ["set", "false"]


@pytest.mark.parametrize(
    ("query", "told"),
    [
        ("neighbours=0", "greater than or equal to 1"),
        ("neighbours=<script>alert(1)</script>", "valid integer"),
        ("min_score=nan", "finite number"),
        ("scoring=nothing", "Input should be"),
        ("vocabulary=none-such", "none-such"),
        ("encoder=none-such", "none-such"),
    ],
)
def test_form__says_what_is_wrong_and_does_not_start(
    shown: Shown, http: httpx.Client, query: str, told: str
) -> None:
    page = page_at(http, f"{form_path(shown)}?{query}")
    assert told in page.first("main").text
    start = next(button for button in page.all("button") if button.text == "Start")
    assert "disabled" in start.attributes
    assert start.attributes["aria-describedby"] == page.first("div", id="reason").attributes["id"]
    assert page.code == []


def test_start__leads_to_the_curation_and_the_same_again_to_the_same(
    shown: Shown, http: httpx.Client
) -> None:
    chosen = {"neighbours": "16", "scoring": "evidence", "min_score": "", "vocabulary": ""}
    places = []
    for _ in range(2):
        answer = http.post(form_path(shown), data=chosen)
        assert answer.status_code == 303
        places.append(urljoin(form_path(shown), answer.headers["location"]))
    # Values at their default are left out, so that this is the curation that is there.
    assert places == [f"/curations/{shown.curation.id}"] * 2
    wrong = http.post(form_path(shown), data={"neighbours": "many"})
    assert wrong.status_code == 303
    back = urljoin(form_path(shown), wrong.headers["location"])
    assert back == f"{form_path(shown)}?neighbours=many"


def test_form__of_a_dataset_without_samples_says_why_not(shown: Shown, http: httpx.Client) -> None:
    page = page_at(http, f"/datasets/{shown.empty_dataset.id}/curate")
    assert "no accepted samples" in page.first("div", id="reason").text


def test_cancel__of_what_has_ended_leads_back_and_changes_nothing(shown: Shown, http: httpx.Client) -> None:
    path = f"/curations/{shown.curation.id}/cancel"
    for answer in (http.get(path), http.post(path)):
        assert answer.status_code == 303
        assert urljoin(path, answer.headers["location"]) == f"/curations/{shown.curation.id}"
    assert shown.client.curations.get(shown.curation.id).state == "completed"
    assert http.get("/curations/none-such/cancel").status_code == 404


def test_cancel__asks_once_and_then_cancels(shown: Shown, http: httpx.Client) -> None:
    dataset = shown.client.datasets.create("cancelled").id
    http.put(f"/v1/datasets/{dataset}/uploads/a.tar", content=tar_of_samples({"a": "a dog", "b": "a cat"}))
    shown.client.datasets.wait(dataset, timeout=60)
    curation = shown.client.curations.create(dataset, parameters=Parameters(neighbours=1)).id
    path = f"/curations/{curation}/cancel"
    asked = http.get(path)
    if asked.status_code == 200:  # it may have ended already
        page = PageDocument(asked.text)
        assert page.first("h1").text == "Cancel the curation of cancelled?"
        assert page.first("form").attributes["method"] == "post"
    assert http.post(path).status_code == 303
    assert shown.client.curations.get(curation).state in {"cancelled", "completed"}


def test_uploads__are_told_with_their_formats_and_how_to_send_them_without_a_script(
    shown: Shown, http: httpx.Client
) -> None:
    page = page_at(http, f"/datasets/{shown.dataset.id}?tab=uploads")
    drop = page.first("div", id="drop")
    assert urljoin(f"/datasets/{shown.dataset.id}", drop.attributes["data-endpoint"]) == (
        f"/v1/datasets/{shown.dataset.id}/uploads"
    )
    assert {".tar", ".zip", ".parquet", ".csv"} <= set(drop.attributes["data-endings"].split())
    assert f"cocu dataset add {shown.dataset.id} FILE" in drop.text


def test_retry__says_what_is_tried_again(shown: Shown, http: httpx.Client) -> None:
    dataset = shown.client.datasets.create("broken upload").id
    http.put(f"/v1/datasets/{dataset}/uploads/a.tar", content=b"this is no tar" * 100)
    shown.client.datasets.wait(dataset, timeout=60)
    page = page_at(http, f"/datasets/{dataset}?tab=uploads")
    form = next(form for form in page.all("form") if form.attributes["action"].endswith("/retry"))
    path = urljoin(f"/datasets/{dataset}", form.attributes["action"])
    answer = http.post(path)
    assert answer.status_code == 303
    told = page_at(http, urljoin(path, answer.headers["location"]))
    assert "Tried again: 1 upload." in told.first("main").text
    made_up = page_at(http, f"/datasets/{dataset}?tab=uploads&retried=call+this+number")
    assert "call this number" not in made_up.first("main").text
