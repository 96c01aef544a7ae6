from __future__ import annotations

import re
from pathlib import Path

from tests.docs.flow import drawn_order, drawn_stages, order_of_table, stages_of_table
from tests.docs.rooms import drawn, imported, mermaid


def test_the_drawing_of_the_rooms_is_that_of_the_imports(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert drawn(page) == imported(), f"the imports are now:\n{mermaid(imported())}"


def test_the_drawing_of_the_way_of_data_is_that_of_the_table_of_stages(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    assert drawn_stages(page) == stages_of_table()
    assert drawn_order(page) == order_of_table()


def test_every_room_has_a_row(repository: Path) -> None:
    page = (repository / "docs" / "architecture.md").read_text(encoding="utf-8")
    rows = "".join(line.split("|")[1] for line in page.splitlines() if line.startswith("| `"))
    assert set(re.findall(r"`(\w+)`", rows)) == {room for arrow in imported() for room in arrow}


def test_every_file_that_pages_name_exists(repository: Path) -> None:
    missing = []
    for name in (
        "docs/architecture.md",
        "docs/extending.md",
        "docs/glossary.md",
        "CONTRIBUTING.md",
        "README.md",
    ):
        page = re.sub(r"^```.*?^```", "", (repository / name).read_text(encoding="utf-8"), flags=re.S | re.M)
        for file in re.findall(r"`((?:\w+/)+\w+\.(?:py|md|toml|sh))`", page):
            places = (
                repository,
                repository / "services" / "cocu",
                repository / "services",
                repository / "training",
            )
            if not any((place / file).is_file() for place in places):
                missing.append(f"{name}: {file}")
    assert not missing
