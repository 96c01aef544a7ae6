"""Real photographs with real captions, over HTTP: 388 samples in four shards, 128 of them labelled."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.local_platform import running

from cocu.client import CocuClient, read_labels
from cocu.schemas import CocoInstances, Curation, Dataset, Evaluation, Parameters, Vocabulary

pytestmark = [pytest.mark.slow, pytest.mark.photographs]

PHOTOGRAPHS = 388
LABELLED = 128


class Photographs:
    """The photographs on a platform with the photo encoder, and their labels."""

    def __init__(
        self, client: CocuClient, dataset: Dataset, labels: CocoInstances, names: Vocabulary
    ) -> None:
        self.client, self.dataset, self.labels, self.names = client, dataset, labels, names

    def curate(self, *, vocabulary: str | None = None, **parameters: object) -> Curation:
        made = self.client.curations.create(
            self.dataset.id,
            vocabulary=vocabulary or self.names.id,
            parameters=Parameters.model_validate(parameters),
        )
        return self.client.curations.wait(made.id, timeout=240)

    def evaluate(self, curation: Curation) -> Evaluation:
        return self.client.evaluations.create(curation.id, instances=self.labels)


@pytest.fixture(scope="module")
def photographs(
    shared_folder: Path, photo_encoder_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Photographs]:
    folder = shared_folder / "datasets" / "coco-photos"
    labels = read_labels(folder / "instances.json")
    assert isinstance(labels, CocoInstances)
    data = tmp_path_factory.mktemp("photographs")
    with running(data, photo_encoder_folder) as server, CocuClient(server.url) as client:
        dataset = client.datasets.create("photographs")
        client.datasets.upload(dataset.id, folder)
        dataset = client.datasets.wait(dataset.id, timeout=120)
        names = client.vocabularies.from_file(shared_folder / "encoders" / "photo" / "concepts.txt")
        yield Photographs(client, dataset, labels, names)


def test_photographs__are_all_accepted(photographs: Photographs) -> None:
    report = photographs.client.datasets.report(photographs.dataset.id)
    assert (report.accepted, report.skipped, report.failed, report.uploads) == (PHOTOGRAPHS, 0, 0, 4)
    assert photographs.dataset.shards == 4


def test_archives__of_eight_neighbours_recall_what_the_labels_say(photographs: Photographs) -> None:
    found = photographs.evaluate(photographs.curate(neighbours=8))
    assert found.images == LABELLED
    assert found.row("archive").metrics["recall"] >= 0.68


def test_archives__by_default_rank_better_than_the_released_scoring(photographs: Photographs) -> None:
    archive = photographs.evaluate(photographs.curate()).row("archive").metrics
    official = (
        photographs.evaluate(photographs.curate(scoring="official", neighbours=8)).row("archive").metrics
    )
    assert archive["ap judged"] >= 0.64
    assert archive["ap judged"] > official["ap judged"]
    assert archive["precision@5 judged"] >= official["precision@5 judged"]
    assert archive["added ap judged"] > official["added ap judged"]


def test_archives__name_more_than_the_captions(photographs: Photographs) -> None:
    found = photographs.evaluate(photographs.curate())
    caption, archive = found.row("caption").metrics, found.row("archive").metrics
    assert archive["recall"] > caption["recall"] + 0.15
    assert archive["ap judged"] > caption["ap judged"] + 0.1
    assert archive["missing recall"] > 0.3


def test_archives__with_the_shipped_vocabulary(photographs: Photographs) -> None:
    shipped = photographs.client.vocabularies.shipped()
    found = photographs.evaluate(photographs.curate(vocabulary=shipped.id))
    caption, archive = found.row("caption").metrics, found.row("archive").metrics
    assert archive["recall"] > caption["recall"]
    assert archive["ap judged"] > caption["ap judged"]


def test_archives__hold_their_evidence(photographs: Photographs) -> None:
    curation = photographs.curate()
    archives = list(photographs.client.archives.list(curation.id, page_size=200))
    assert len({archive.key for archive in archives}) == PHOTOGRAPHS
    captions = {archive.key: archive.caption for archive in archives}
    for archive in archives:
        assert len(archive.neighbours) == curation.parameters["neighbours"]
        assert archive.key not in {neighbour.key for neighbour in archive.neighbours}
        similarities = [neighbour.similarity for neighbour in archive.neighbours]
        assert similarities == sorted(similarities, reverse=True)
        for concept in archive.concepts:
            assert all(captions[origin.key] == origin.caption for origin in concept.origins)
