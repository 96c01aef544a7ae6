from __future__ import annotations

from pathlib import Path

from cocu import settings_page
from cocu.settings import Settings


def test_the_page_of_settings_is_current(repository: Path) -> None:
    page = (repository / "docs" / "settings.md").read_text(encoding="utf-8")
    assert page == settings_page.page(), "run python -m cocu.settings_page > docs/settings.md"


def test_every_setting_has_a_row_with_a_meaning() -> None:
    rows = [line.split("|") for line in settings_page.page().splitlines() if line.startswith("| `COCU_")]
    assert {cells[1].strip(" `") for cells in rows} == {
        f"COCU_{name.upper()}" for name in Settings.model_fields
    }
    assert all(len(cells[3].strip()) > 10 for cells in rows)
