"""The shipped scenes, exported and put in again on another platform: the same curation."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.local_platform import running

from cocu.client import CocuClient
from cocu.schemas import Curation


def curate(client: CocuClient, path: Path) -> Curation:
    dataset = client.datasets.create("scenes")
    client.datasets.upload(dataset.id, path)
    client.datasets.wait(dataset.id, timeout=120)
    return client.curations.wait(client.curations.create(dataset.id).id, timeout=240)


@pytest.mark.slow
def test_export_of_scenes__put_in_elsewhere_comes_to_the_same(repository: Path, tmp_path: Path) -> None:
    encoder = repository / "examples" / "encoders" / "scenes"
    scenes = tmp_path / "scenes"
    scenes.mkdir()
    for name in ("scenes-00000.tar", "scenes-00001.tar"):
        (scenes / name).symlink_to(repository / "examples" / "scenes" / name)
    with running(tmp_path / "here", encoder) as server, CocuClient(server.url) as client:
        curation = curate(client, scenes)
        manifest = client.curations.export(curation.id, tmp_path / "export")
    with running(tmp_path / "there", encoder) as server, CocuClient(server.url) as client:
        again = curate(client, tmp_path / "export")
    assert manifest.samples == 560
    assert again.content_hash == curation.content_hash == manifest.content_hash
