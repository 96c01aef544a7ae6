"""What every test may ask for."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from cocu.encoders import open_encoder
from cocu.errors import InvalidBundleError

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


@pytest.fixture(scope="session")
def photo_encoder_folder(shared_folder: Path) -> Path:
    """The encoder of the photographs, or the one COCU_TEST_PHOTO_ENCODER names; skips if it does not run."""
    folder = Path(os.environ.get("COCU_TEST_PHOTO_ENCODER", shared_folder / "encoders" / "photo"))
    try:
        open_encoder(folder)
    except InvalidBundleError as error:
        pytest.skip(f"the encoder of the real photographs does not run: {error}")
    return folder
