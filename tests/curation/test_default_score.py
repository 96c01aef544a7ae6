"""The default score on real photographs, judged by human labels that nothing was fitted to."""

from __future__ import annotations

import pytest
from benchmarks import labelled, scoring

from cocu.curation.metrics import compare
from cocu.curation.parameters import CurationParameters
from cocu.curation.vocabulary import Vocabulary

pytestmark = [pytest.mark.photographs, pytest.mark.slow]


@pytest.fixture(scope="module")
def prepared(photo_encoder_folder):
    photographs = labelled.photographs()
    concepts = (photo_encoder_folder / "concepts.txt").read_text(encoding="utf-8")
    return labelled.prepare(photographs, Vocabulary.from_lines(concepts, name="concepts"))


def test_the_default_score_finds_what_is_promised(prepared):
    default = CurationParameters()
    assert default.scoring == "evidence"
    quality = scoring.judge_by_labels(
        prepared, scoring.Bench.of(prepared, default.neighbours).curated("evidence")
    )
    assert quality.images("ap judged") == 128
    assert quality.mean("ap judged") >= 0.64
    eight = scoring.Bench.of(prepared, 8)
    official = scoring.judge_by_labels(prepared, eight.curated("official"))
    assert scoring.judge_by_labels(prepared, eight.curated("evidence")).mean("recall") >= 0.68
    assert quality.mean("precision@5 judged") >= official.mean("precision@5 judged")
    assert quality.mean("added ap judged") > official.mean("added ap judged")


def test_people_saw_what_it_adds(prepared):
    """The other captions of 260 photographs without labels: better than any other way, not by chance."""
    bench = scoring.Bench.of(prepared, CurationParameters().neighbours)
    ours = scoring.judge_by_captions(prepared, bench.curated("evidence"))
    for other in (bench.curated("official"), bench.curated("set"), bench.summed()):
        theirs = scoring.judge_by_captions(prepared, other)
        assert compare(theirs, ours, "ap judged").low > 0
        assert compare(theirs, ours, "added ap judged").low > 0
