"""The demo's path on a part of the shipped scenes: over HTTP, with the shipped encoder."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from tests.local_platform import running

from cocu.cli.demo import is_better
from cocu.client import CocuClient, read_labels


def test_scenes__archives_name_more_than_captions(repository: Path, tmp_path: Path) -> None:
    examples = repository / "examples"
    labels = read_labels(examples / "scenes" / "labels.json")
    assert isinstance(labels, dict)
    with running(tmp_path, examples / "encoders" / "scenes") as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("scenes")
        client.datasets.upload(dataset.id, examples / "scenes" / "scenes-00000.tar")
        samples = client.datasets.wait(dataset.id, timeout=60).samples
        curation = client.curations.create(dataset.id)
        states = []
        curation = client.curations.wait(
            curation.id, timeout=120, progress=lambda seen: states.append(seen.state)
        )
        evaluation = client.evaluations.create(curation.id, labels=labels)
        caption, archive = evaluation.row("caption").metrics, evaluation.row("archive").metrics
        archives = list(client.archives.list(curation.id, page_size=200))
    assert curation.state == "completed"
    assert states[-1] == "completed"
    assert len(archives) == samples == evaluation.images == 280
    assert is_better(evaluation)
    assert archive["recall"] > caption["recall"] + 0.2
    assert archive["ap judged"] > caption["ap judged"] + 0.15
    assert archive["missing recall"] > 0.3


def test_demo__once_prints_the_table_and_succeeds(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "cocu", "demo", "--once", "--data", str(tmp_path / "data")]
    outcome = subprocess.run(command, capture_output=True, text=True, timeout=170, check=False)
    assert outcome.returncode == 0, outcome.stderr
    for shown in ("1,120 samples", "caption alone", "archive", "recall@5", "precision@5", "mAP", "missing"):
        assert shown in outcome.stdout
    assert "Traceback" not in outcome.stderr


@pytest.mark.slow
def test_scenes__curated_twice_have_the_same_content_hash(tmp_path: Path, repository: Path) -> None:
    """Curating the same upload elsewhere gives the same content, whatever the ids and paths are."""
    hashes = []
    for name in ("first", "second"):
        encoder = repository / "examples" / "encoders" / "scenes"
        with running(tmp_path / name, encoder) as server, CocuClient(server.url) as client:
            dataset = client.datasets.create(name)
            client.datasets.upload(dataset.id, repository / "examples" / "scenes" / "scenes-00001.tar")
            client.datasets.wait(dataset.id, timeout=60)
            curation = client.curations.create(dataset.id)
            hashes.append(client.curations.wait(curation.id, timeout=120).content_hash)
    assert hashes[0] == hashes[1]
