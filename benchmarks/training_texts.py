"""What the arms of the training experiment are taught: the texts beside the captions, held against the truth.

For each arm, over as many epochs as a run has: how many of the texts asked for there are (the caption takes
the place of the others), how many of those are true of their image, how much of an image's truth is ever
named, and over how many labels the true ones spread (exp of their entropy: the number of equally frequent
labels that would be as varied).

    python -m benchmarks.training_texts --folder .cocu-experiment

The folder is that of `benchmarks.training_experiment`, which must not be running in it. No torch is needed.
"""

from __future__ import annotations

import argparse
import json
import math
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from benchmarks.experiment_platform import serving
from benchmarks.report import report
from cocu.client import BatchRequest, CocuClient
from cocu.curation.labels import NO_LABEL, LabelMap
from cocu.curation.vocabulary import Vocabulary

SAMPLERS = {"caption_nouns": "caption", "topk": "topk", "cluster": "cluster"}
TEXTS = 3
Drawn = Iterable[tuple[str, Sequence[str | None]]]
"""Keys, and what was drawn for each: labels, None where a concept is no label."""


def main() -> None:
    """Print a table, and as JSON how much more of the truth clusters name than captions do."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--folder", type=Path, default=Path(".cocu-experiment"))
    folder: Path = parser.parse_args().folder
    if not (folder / "curation.json").exists():
        print(f"no experiment in {folder}: nothing is measured")
        return
    size = json.loads((folder / "size.json").read_text(encoding="utf-8"))
    epochs = max(1, round(size["steps"] * size["batch"] / size["scenes"]))
    curation = json.loads((folder / "curation.json").read_text(encoding="utf-8"))["curation"]
    truth = json.loads((folder / "scenes" / "labels.json").read_text(encoding="utf-8"))["samples"]
    print(f"{TEXTS} texts an image, {epochs} epochs\n")
    print("| arm | texts there are | of them true | truth ever named | spread over labels |")
    print("|---|---|---|---|---|")
    named = {}
    with serving(folder) as url, CocuClient(url) as client:
        labels = _labels_of_concepts(sorted({name for names in truth.values() for name in names}))
        for arm, sampler in SAMPLERS.items():
            drawn = _streamed(client, curation, sampler, epochs, labels)
            named[arm] = _row(arm, drawn, truth, epochs)
    named["oracle"] = _row("oracle", _from_truth(truth, epochs), truth, epochs)
    ratio = named["cluster"] / named["caption_nouns"]
    report("truth named by clusters", ratio, "x what captions name", "> 1", ratio > 1)


def _labels_of_concepts(labels: Sequence[str]) -> dict[str, str]:
    vocabulary = Vocabulary.shipped()
    labels_V = LabelMap.by_name().labels_of_concepts(
        labels=labels, concept_count=len(vocabulary.names), find=vocabulary.find
    )
    return {
        name: labels[label]
        for name, label in zip(vocabulary.names, labels_V.tolist(), strict=True)
        if label != NO_LABEL
    }


def _streamed(
    client: CocuClient, curation: str, sampler: str, epochs: int, labels: Mapping[str, str]
) -> Iterator[tuple[str, list[str | None]]]:
    for epoch in range(epochs):
        request = BatchRequest(epoch=epoch, concepts=TEXTS, sampler=sampler, images=False)
        for batch in client.batches.stream(curation, request):
            for key, names, count in zip(batch.keys, batch.concepts, batch.drawn, strict=True):
                yield key, [labels.get(name) for name in names[:count]]


def _from_truth(truth: Mapping[str, Sequence[str]], epochs: int) -> Iterator[tuple[str, list[str | None]]]:
    rng = random.Random(0)
    for _ in range(epochs):
        for key, names in truth.items():
            yield key, [*rng.sample(sorted(names), min(TEXTS, len(names)))]


def _row(arm: str, drawn: Drawn, truth: Mapping[str, Sequence[str]], epochs: int) -> float:
    """Print the figures of an arm; the share of the truth that it ever named."""
    texts = 0
    true: Counter[str] = Counter()
    seen: defaultdict[str, set[str]] = defaultdict(set)
    for key, labels in drawn:
        texts += len(labels)
        true_labels = [label for label in labels if label is not None and label in truth[key]]
        true.update(true_labels)
        seen[key].update(true_labels)
    named = sum(map(len, seen.values())) / sum(map(len, truth.values()))
    total = true.total()
    spread = math.exp(-sum(count / total * math.log(count / total) for count in true.values()))
    named_share = texts / (TEXTS * epochs * len(truth))
    print(
        f"| `{arm}` | {named_share:.0%} | {total / texts:.0%} | {named:.0%} | {spread:.0f} of {len(true)} |"
    )
    return named


if __name__ == "__main__":
    main()
