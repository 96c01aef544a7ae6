"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parent.parent


@pytest.fixture(scope="session")
def repository() -> Path:
    """The root of the checkout."""
    return REPOSITORY


@pytest.fixture(scope="session")
def shared_folder() -> Path:
    """Real photographs, a photo encoder, class names: not part of the project; skips without them."""
    folder = REPOSITORY.parent / "shared"
    if not (folder / "datasets" / "coco-photos").is_dir():
        pytest.skip("the real photographs are not beside this checkout (../shared/datasets)")
    return folder
