"""What every test may ask for."""

from __future__ import annotations

from pathlib import Path

import pytest
from benchmarks.photo_encoder import photo_encoder
from hypothesis import HealthCheck, settings
from tests.servers.fixtures import bucket, postgres, redis, s3_address

from cocu.errors import InvalidBundleError

__all__ = ["bucket", "postgres", "redis", "s3_address"]

REPOSITORY = Path(__file__).parent.parent

# How long an example takes depends on what else the machine does; no test asserts on time.
settings.register_profile("cocu", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("cocu")


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
def photo_encoder_folder(shared_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The encoder of the photographs, restored where it is damaged; skips beyond repair."""
    try:
        return photo_encoder(tmp_path_factory.mktemp("encoders"))
    except InvalidBundleError as error:
        pytest.skip(f"the encoder of the real photographs does not run: {error}")
