"""The scorings side by side on labelled images: what each finds of all labels, and of those captions leave
out.

Run as `python -m benchmarks.scoring`; `docs/scoring.md` explains the tables. The labels judge; nothing is
fitted to them.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.labelled import (
    Labelled,
    Prepared,
    photographs,
    prepare,
    scenes,
)
from benchmarks.photo_encoder import SHARED_ENCODER
from benchmarks.report import report
from cocu.curation.archives import Floats, Ints
from cocu.curation.calibration import calibrate, calibration_rows
from cocu.curation.curate import curate
from cocu.curation.metrics import Quality, RaggedIds, compare, evaluate, interval
from cocu.curation.parameters import CurationParameters
from cocu.curation.statistics import Calibration, Statistics
from cocu.curation.vocabulary import Vocabulary

NEIGHBOURS = (8, 16, 32)
COLUMNS = {
    "recall": "recall",
    "R@5": "recall@5 judged",
    "P@5": "precision@5 judged",
    "mAP": "ap judged",
    "nDCG@5": "ndcg@5 judged",
    "strict P@5": "precision@5",
    "strict mAP": "ap",
    "missing R@5": "missing recall@5 judged",
    "missing mAP": "missing ap judged",
    "added mAP": "added ap judged",
    "size": "size",
}


Ranking = list[Ints]
Judge = Callable[[Prepared, Ranking], Quality]


@dataclass(frozen=True, kw_only=True)
class Bench:
    """A prepared dataset with its statistics, calibrated and not, for one number of neighbours."""

    prepared: Prepared
    neighbours: int
    calibrated: Statistics

    @classmethod
    def of(cls, prepared: Prepared, neighbours: int) -> Bench:
        """Compute the statistics and calibrate them on the captions."""
        images_ND, concepts_VD = prepared.labelled.images_ND, prepared.concepts_VD
        statistics = Statistics.of_shard(
            mentions=prepared.mentions, images_ND=images_ND, concept_count=len(concepts_VD)
        )
        rows_S = calibration_rows(len(images_ND))
        calibrated = calibrate(
            statistics,
            mentions=prepared.mentions,
            anchors_S=rows_S,
            neighbours_SL=prepared.neighbours_NK[rows_S, :neighbours],
            neighbour_similarities_SL=prepared.similarities_NK[rows_S, :neighbours],
            images_SD=images_ND[rows_S],
            concepts_VD=concepts_VD,
        )
        return cls(prepared=prepared, neighbours=neighbours, calibrated=calibrated)

    def curated(
        self, scoring: str, *, part: str = "scores_C", calibration: Calibration | None = None
    ) -> Ranking:
        """The archives of a scoring, ordered by its score or by one part of it."""
        prepared, calibrated = self.prepared, self.calibrated
        archives = curate(
            mentions=prepared.mentions,
            anchors_B=np.arange(len(prepared.labelled.captions), dtype=np.int64),
            neighbours_BL=prepared.neighbours_NK[:, : self.neighbours],
            neighbour_similarities_BL=prepared.similarities_NK[:, : self.neighbours],
            images_BD=prepared.labelled.images_ND,
            concepts_VD=prepared.concepts_VD,
            names=prepared.vocabulary.names,
            parameters=replace(
                CurationParameters(), neighbours=self.neighbours, scoring=scoring, clustering=False
            ),
            statistics=calibrated if calibration is None else calibrated.with_calibration(calibration),
            embeddings_of=lambda rows: prepared.labelled.images_ND[rows],
        )
        values_C: Floats = getattr(archives, part)
        ranking = []
        for start, end in zip(archives.offsets_B1[:-1], archives.offsets_B1[1:], strict=True):
            order = np.argsort(-values_C[start:end], kind="stable")
            ranking.append(archives.concepts_C[start:end][order])
        return ranking

    def summed(self) -> Ranking:
        """The own caption's concepts, then the neighbours' by their summed similarity."""
        mentions, prepared = self.prepared.mentions, self.prepared
        ranking = []
        for row, named in enumerate(_own(prepared)):
            sums = np.zeros(len(prepared.vocabulary))
            near = slice(0, self.neighbours)
            pairs = zip(prepared.neighbours_NK[row, near], prepared.similarities_NK[row, near], strict=True)
            for other, similarity in pairs:
                concepts = mentions.concepts_M[mentions.offsets_N1[other] : mentions.offsets_N1[other + 1]]
                sums[concepts] += similarity
            offered = np.flatnonzero(sums)
            offered = offered[np.argsort(-sums[offered], kind="stable")]
            own = named[np.argsort(-sums[named], kind="stable")]
            ranking.append(np.concatenate([own, offered[~np.isin(offered, own)]]).astype(np.int32))
        return ranking


def _own(prepared: Prepared) -> Ranking:
    return np.split(prepared.mentions.concepts_M, prepared.mentions.offsets_N1[1:-1])


def baselines(prepared: Prepared) -> dict[str, Ranking]:
    """Rankings that use no neighbours."""
    images_ND, concepts_VD = prepared.labelled.images_ND, prepared.concepts_VD
    cosines_NV = images_ND @ concepts_VD.T
    counts_V = np.bincount(prepared.mentions.concepts_M, minlength=len(concepts_VD))
    generator = np.random.default_rng(0)
    frequent_V = np.argsort(-counts_V, kind="stable").astype(np.int32)
    spread_V = cosines_NV.std(axis=0) + 1e-12
    return {
        "caption alone": _own(prepared),
        "random concepts": [generator.permutation(len(concepts_VD)).astype(np.int32) for _ in images_ND],
        "concepts by frequency": [frequent_V for _ in images_ND],
        "zero-shot, all concepts": list(np.argsort(-cosines_NV, axis=1, kind="stable")),
        "zero-shot, standardised": list(
            np.argsort(-(cosines_NV - cosines_NV.mean(axis=0)) / spread_V, axis=1, kind="stable")
        ),
    }


def rankings(bench: Bench) -> dict[str, Ranking]:
    """Rankings of the archives of one number of neighbours."""
    trusting = replace(bench.calibrated.calibration, encoder=0.0)
    return {
        "official": bench.curated("official"),
        "set": bench.curated("set"),
        "set, global term only": bench.curated("set", part="global_C"),
        "set, local term only": bench.curated("set", part="local_C"),
        "summed similarity": bench.summed(),
        "evidence, encoder's part only": bench.curated("evidence", part="global_C"),
        "evidence, captions' part only": bench.curated("evidence", calibration=trusting),
        "evidence, not calibrated": bench.curated("evidence", calibration=Calibration()),
        "evidence": bench.curated("evidence"),
    }


def judge_by_labels(prepared: Prepared, ranking: Ranking) -> Quality:
    """Against the labels, over the labelled images."""
    labelled, vocabulary = prepared.labelled, prepared.vocabulary
    labels_V = labelled.label_map.labels_of_concepts(
        labels=labelled.label_names, concept_count=len(vocabulary), find=vocabulary.find
    )
    positions = {name: position for position, name in enumerate(labelled.label_names)}
    own = _own(prepared)
    return evaluate(
        archives=RaggedIds.from_lists([ranking[row] for row in labelled.truth]),
        captions=RaggedIds.from_lists([own[row] for row in labelled.truth]),
        labels=RaggedIds.from_lists(
            [[positions[name] for name in names] for names in labelled.truth.values()]
        ),
        labels_V=labels_V,
        depths=(5,),
    )


def judge_by_captions(prepared: Prepared, ranking: Ranking) -> Quality:
    """Against the concepts of the other captions of the images without labels: people saw these things
    too."""
    labelled, vocabulary = prepared.labelled, prepared.vocabulary
    rows = [row for row in labelled.more_captions if row not in labelled.truth]
    own = _own(prepared)
    named = [
        sorted({c for text in labelled.more_captions[row] for c in vocabulary.match(text)}) for row in rows
    ]
    return evaluate(
        archives=RaggedIds.from_lists([ranking[row] for row in rows]),
        captions=RaggedIds.from_lists([own[row] for row in rows]),
        labels=RaggedIds.from_lists(named),
        labels_V=np.arange(len(vocabulary), dtype=np.int32),
        depths=(5,),
    )


def print_table(title: str, qualities: dict[str, Quality]) -> None:
    """One line per ranking."""
    print(f"\n{title}")
    print(f"{'':32}" + "".join(f"{column:>12}" for column in COLUMNS))
    for name, quality in qualities.items():
        values = "".join(
            f"{quality.mean(metric):12.1f}" if metric == "size" else f"{quality.mean(metric):12.3f}"
            for metric in COLUMNS.values()
        )
        print(f"{name:32}{values}")


def print_differences(title: str, qualities: dict[str, Quality], names: Sequence[str]) -> None:
    """Evidence against others, with 95 % intervals of the paired bootstrap over images."""
    print(f"\n{title}: evidence minus the other, 95 % interval of the paired bootstrap over images")
    for name in names:
        parts = []
        for column in ("mAP", "R@5", "missing R@5", "added mAP"):
            difference = compare(qualities[name], qualities["evidence"], COLUMNS[column])
            parts.append(f"{column} {difference.mean:+.3f} [{difference.low:+.3f}, {difference.high:+.3f}]")
        print(f"  {name:24}" + "   ".join(parts))


def study(
    labelled: Labelled, vocabulary: Vocabulary, judges: dict[str, Callable[[Prepared, Ranking], Quality]]
) -> dict[tuple[str, int], Quality]:
    """Print the tables of one dataset and vocabulary; returns the qualities by labels of the archives."""
    prepared = prepare(labelled, vocabulary)
    results: dict[tuple[str, int], Quality] = {}
    for judged_by, judge in judges.items():
        title = f"{labelled.name}, vocabulary {vocabulary.name} of {len(vocabulary)}, judged by {judged_by}"
        print_table(title, {name: judge(prepared, ranking) for name, ranking in baselines(prepared).items()})
    for neighbours in NEIGHBOURS:
        bench = Bench.of(prepared, neighbours)
        ranked = rankings(bench)
        print(f"\nL = {neighbours}: {bench.calibrated.calibration}")
        for judged_by, judge in judges.items():
            qualities = {name: judge(prepared, ranking) for name, ranking in ranked.items()}
            print_table(f"L = {neighbours}, judged by {judged_by}", qualities)
            print_differences(f"L = {neighbours}", qualities, ("official", "set", "summed similarity"))
            if judged_by == "labels":
                results |= {(name, neighbours): quality for name, quality in qualities.items()}
    return results


def report_scenes(results: dict[tuple[str, int], Quality], neighbours: int) -> None:
    """On the scenes, the score must beat the other scorings at the same number of neighbours, and not by
    chance."""
    for other in ("official", "set", "summed similarity"):
        for column in ("mAP", "added mAP"):
            gain = compare(results[other, neighbours], results["evidence", neighbours], COLUMNS[column])
            report(f"scoring: scenes, {column} over {other}", gain.mean, column, "interval > 0", gain.low > 0)


def main() -> None:
    """Print the tables, then one result per bound."""
    default = CurationParameters().neighbours
    drawn = scenes()
    if drawn is not None:
        report_scenes(study(drawn, Vocabulary.shipped(), {"labels": judge_by_labels}), default)
    photos = photographs()
    if photos is None:
        print("the photographs or their encoder are not beside this checkout: skipped")
        return
    judges = {"labels": judge_by_labels, "the other captions": judge_by_captions}
    study(photos, Vocabulary.shipped(), judges)
    concepts = (SHARED_ENCODER / "concepts.txt").read_text(encoding="utf-8")
    results = study(photos, Vocabulary.from_lines(concepts, name="concepts"), judges)
    ours, official = results["evidence", default], results["official", 8]
    shown = interval(ours.per_image["ap judged"])
    print(f"\nmAP at L = {default}: {shown.mean:.3f}, 95 % interval [{shown.low:.3f}, {shown.high:.3f}]")
    recall = results["evidence", 8].mean("recall")
    report("scoring: archive recall at L = 8", recall, "share", ">= 0.68", recall >= 0.68)
    precision, floor = ours.mean("precision@5 judged"), official.mean("precision@5 judged")
    report(
        "scoring: precision@5", precision, "share", f">= {floor:.4g} (official, L = 8)", precision >= floor
    )
    report("scoring", shown.mean, "mAP", ">= 0.64", shown.mean >= 0.64)


if __name__ == "__main__":
    main()
