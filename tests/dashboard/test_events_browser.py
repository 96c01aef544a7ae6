"""In a browser: files are sent by the page, wrong ones are refused before, and what runs moves by itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from playwright.sync_api import Page, expect
from tests.dashboard.shown_platform import Shown
from tests.local_platform import tar_of_samples

from cocu.schemas import Parameters

OpenPage = Callable[..., Page]


def test_upload__by_the_input_arrives_is_read_and_shown_without_a_reload(
    shown: Shown, open_page: OpenPage, tmp_path: Path
) -> None:
    dataset = shown.client.datasets.create("sent by a page").id
    content = tar_of_samples({f"{number}": "a dog" for number in range(5)}, first_seed=900)
    good, wrong = tmp_path / "five dogs.tar", tmp_path / "notes.docx"
    good.write_bytes(content)
    wrong.write_bytes(b"no pictures")
    page = open_page(f"/datasets/{dataset}?tab=uploads")
    page.locator("input[type=file]").set_input_files([good, wrong])
    expect(page.locator("#refused")).to_contain_text("notes.docx")
    expect(page.locator("#refused")).to_contain_text(".parquet")
    expect(page.locator("#uploads tbody tr")).to_have_count(1, timeout=30_000)
    expect(page.locator("#uploads tbody tr")).to_contain_text("✓ ready", timeout=60_000)
    uploads = list(shown.client.datasets.uploads(dataset))
    assert [(upload.name, upload.accepted) for upload in uploads] == [("five dogs.tar", 5)]
    assert uploads[0].bytes == len(content)


def test_overview__shows_a_curation_begin_and_end_by_itself(shown: Shown, open_page: OpenPage) -> None:
    page = open_page("/")
    expect(page.locator("#running h2")).to_have_count(0)
    curation = shown.client.curations.create(shown.dataset.id, parameters=Parameters(neighbours=2))
    shown.client.curations.wait(curation.id, timeout=120)
    expect(page.locator(f"#recent a[href*='{curation.id}']").first).to_be_visible(timeout=30_000)


def test_form__shows_another_preview_soon_after_a_change(shown: Shown, open_page: OpenPage) -> None:
    page = open_page(f"/datasets/{shown.dataset.id}/curate")
    expect(page.locator("#side .card")).to_have_count(10)
    page.get_by_label("neighbours").fill("0")
    expect(page.locator("#reason")).to_be_visible(timeout=20_000)
    expect(page.get_by_role("button", name="Start")).to_be_disabled()
    page.get_by_label("neighbours").fill("3")
    expect(page.locator("#side .card")).to_have_count(10, timeout=20_000)
    expect(page.get_by_role("button", name="Start")).to_be_enabled()
    expect(page.locator("#side [data-change]").filter(has_text="went").first).to_be_visible()
    assert page.url.endswith("neighbours=3") or "neighbours=3&" in page.url
