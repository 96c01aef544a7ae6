"""A platform with a curated part of the shipped scenes, and with texts as attackers and people write them."""

from __future__ import annotations

import io
import tarfile
from dataclasses import dataclass
from pathlib import Path

from benchmarks.pages import kinds
from tests.dashboard.trainer import SPIKE
from tests.local_platform import picture, tar_of

from cocu.api.server import LocalServer
from cocu.client import CocuClient, TrainingClient, read_labels
from cocu.schemas import Curation, Dataset, Parameters

SCENES = 150
"""Pictures: two pages of the grid and a part of a third."""
NAME = "scenes"
LABELS = "drawn"
"""The labels of the scenes: what the generator drew."""
TIMEOUT = 250

HOSTILE_CONCEPTS = (
    "dog",
    "<script>alert(1)</script>",
    "<img src=x onerror=alert(2)>",
    '"onmouseover="alert(3)',
    "javascript:alert(4)",
    "{{ 7 * 7 }}",
    "کتاب",
    "🐕 dachshund",
    "o'brien & sons/../..",
    "w" * 300,
)
HOSTILE_CAPTIONS = {
    "plain": "a dog and a dachshund beside o'brien & sons",
    "<script>alert(5)</script>": "<script>alert(1)</script> and a dog",
    '"><img src=x onerror=alert(6)>': "<img src=x onerror=alert(2)> </textarea></script><h1>big</h1>",
    "javascript:alert(7)": 'javascript:alert(4) "onmouseover="alert(3) {{ 7 * 7 }} {% raw %}',
    "right-to-left": "\u202egod a\u202c \u2067کتاب\u2069 a dog \u202e unclosed",
    "emoji/🐕‍🦺/👩🏽‍🚀": "🐕 dachshund 👩🏽‍🚀 🏳️‍🌈 e\u0301\u0302\u0303\u0304 z\u0351\u0352\u0353\u0354",
    "nul-like": "before \u2400 after \\x00 %00 \x7f \u0001 end of a dog",
    "unbroken": "w" * 10_000,
    "long": "a dog and " * 1_000,
    "lines": "a dog\r\n\r\n\tand\u2028another\u2029dog",
    "..%2f..%2fetc": "a dog up the path",
    "k" * 200: "a dog with a long key",
}
HOSTILE_NAME = "<b onclick=alert(8)>x</b> כלב 🐕 javascript:alert(8)"


@dataclass(frozen=True)
class Shown:
    """A platform, and what the pages are about."""

    server: LocalServer
    client: CocuClient
    dataset: Dataset
    curation: Curation
    other: Curation
    hostile_dataset: Dataset
    hostile: Curation
    empty_dataset: Dataset
    training: str
    run: str
    other_run: str

    @property
    def objects(self) -> Path:
        """Where the files of the platform are."""
        return self.server.platform.settings.data_folder / "objects"

    @property
    def grid(self) -> str:
        """The path of the grid of the scenes."""
        return f"/curations/{self.curation.id}/archives"

    @property
    def kinds(self) -> dict[str, str]:
        """A page of every kind: its name, its path."""
        pages = kinds(self.client, self.curation, other=self.other.id, run=self.run)
        return pages | {"empty-dataset": f"/datasets/{self.empty_dataset.id}"}


def show(server: LocalServer, client: CocuClient, repository: Path, folder: Path, *, training: str) -> Shown:
    """Fill a platform, and the training service at `training`, with what the pages are tested on."""
    scenes = repository / "examples" / "scenes"
    part = folder / "scenes.tar"
    part.write_bytes(first_samples(scenes / "scenes-00000.tar", SCENES))
    dataset, curation = _curated(client, NAME, part, vocabulary=None)
    projection = client.projections.create(dataset.id, encoder=curation.encoder, method="pca")
    client.projections.wait(dataset.id, projection.id, timeout=TIMEOUT)
    other = client.curations.create(dataset.id, parameters=Parameters(neighbours=4))
    other = client.curations.wait(other.id, timeout=TIMEOUT)
    labels = read_labels(scenes / "labels.json")
    labels = {key: labels[key] for key in _keys(client, dataset)}
    client.labels.put(dataset.id, LABELS, labels=labels)
    client.evaluations.create(curation.id, kept=LABELS)
    hostile_file = folder / "<img src=x onerror=alert(9)>.tar"
    hostile_file.write_bytes(hostile_samples())
    concepts = folder / "hostile.txt"
    concepts.write_text("\n".join(HOSTILE_CONCEPTS), encoding="utf-8")
    vocabulary = client.vocabularies.from_file(concepts).id
    hostile_dataset, hostile = _curated(client, HOSTILE_NAME, hostile_file, vocabulary=vocabulary)
    empty = client.datasets.create("nothing here yet")
    with TrainingClient(training) as trainer:
        run, other_run = (
            trained(trainer, curation.id, steps=1200, name=name, seed=seed)
            for name, seed in (("first", SPIKE), (HOSTILE_NAME[:100], 0))
        )
    return Shown(
        server, client, dataset, curation, other, hostile_dataset, hostile, empty, training, run, other_run
    )


def trained(client: TrainingClient, curation: str, *, steps: int, name: str | None, seed: int) -> str:
    """The id of a run of the stand-in, which has ended."""
    configuration = {"steps": steps, "seed": seed}
    run = client.runs.create(curation, preset="tiny", configuration=configuration, name=name)
    for _ in client.runs.events(run.id):
        pass
    assert client.runs.get(run.id).ended
    return run.id


def first_samples(shard: Path, samples: int) -> bytes:
    """A tar with the first samples of a shard, each in three files at most."""
    members: dict[str, bytes] = {}
    keys: set[str] = set()
    with tarfile.open(shard) as tar:
        for member in tar:
            keys.add(member.name.split(".")[0])
            if len(keys) > samples:
                break
            content = tar.extractfile(member)
            assert content is not None
            members[member.name] = content.read()
    return tar_of(members)


def hostile_samples() -> bytes:
    """A tar of the hostile captions under the hostile keys."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for seed, (key, caption) in enumerate(HOSTILE_CAPTIONS.items()):
            for suffix, content in (("jpg", picture(seed)), ("txt", caption.encode())):
                information = tarfile.TarInfo(f"{key}.{suffix}")
                information.size = len(content)
                tar.addfile(information, io.BytesIO(content))
    return out.getvalue()


def _curated(
    client: CocuClient, name: str, file: Path, *, vocabulary: str | None
) -> tuple[Dataset, Curation]:
    dataset = client.datasets.create(name)
    client.datasets.upload(dataset.id, file)
    client.datasets.wait(dataset.id, timeout=TIMEOUT)
    options = {} if vocabulary is None else {"vocabulary": vocabulary}
    curation = client.curations.create(dataset.id, **options)
    finished = client.curations.wait(curation.id, timeout=TIMEOUT)
    assert finished.completed, finished.detail
    return client.datasets.get(dataset.id), finished


def _keys(client: CocuClient, dataset: Dataset) -> list[str]:
    return [sample.key for sample in client.datasets.samples(dataset.id, page_size=200)]
