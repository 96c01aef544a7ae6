"""Tables as a terminal shows them."""

from __future__ import annotations

import io

import pytest
from rich.console import Console

from cocu.cli.failures import missing_module
from cocu.cli.output import join_first, table
from cocu.cli.summary import metrics, outcome
from cocu.cli.workflow import Outcome
from cocu.schemas import Curation, Dataset, Evaluation, Report

ID = "01a228c40895f5469384aaf5d9f4d133"


def shown(columns: tuple[str, ...], *rows: tuple[object, ...], width: int = 80) -> list[str]:
    console = Console(file=io.StringIO(), width=width)
    console.print(table(None, columns, rows))
    return console.file.getvalue().splitlines()  # type: ignore[attr-defined, no-any-return]


@pytest.mark.parametrize("width", [80, 100])
def test_ids__are_whole_and_the_name_beside_them_is_folded(width: int) -> None:
    name = "photographs of a street, taken in the summer of a year, long ago"
    lines = shown(("id", "name", "samples", "created"), (ID, name, 24, "2026-11-29 19:24"), width=width)
    assert sum(ID in line for line in lines) == 1
    assert "2026-11-29 19:24" in lines[1]
    assert all(word in "\n".join(lines) for word in name.split())


def test_numbers__are_set_right_and_texts_left() -> None:
    rows = [("dog", "1,200", "-0.5", "a dog", "–"), ("elephant", "3", "12.25", "b", "4")]
    lines = shown(("concept", "archives", "score", "caption", "cluster"), *rows)
    assert lines[1].startswith("dog          1,200   -0.5  a dog")
    assert lines[2].startswith("elephant         3  12.25  b")
    assert lines[1].rstrip().endswith("–")


def test_labels__that_have_no_sample_are_counted() -> None:
    measured = {"metrics": {}, "labels": []}
    rows = [{"name": name, **measured} for name in ("caption", "archive")]
    fields = {"id": "e", "curation": "c", "images": 1, "images_missing": 0, "rows": rows}
    fields |= {"details": {"labels_without_sample": 127}, "created_at": "2026-01-01T00:00:00Z"}
    console = Console(file=io.StringIO(), width=120)
    console.print(metrics(Evaluation.model_validate(fields)))
    assert "127 of 128 labelled images have no sample in this curation" in console.file.getvalue()  # type: ignore[attr-defined]


def test_concepts__that_nothing_finds_in_captions_are_told() -> None:
    words = "2 concepts are in scripts without spaces, whose words nothing here finds in captions"
    created = {"created_at": "2026-01-01T00:00:00Z"}
    fields = {"id": ID, "dataset": "d", "snapshot": "s", "samples": 9, "vocabulary": "v", "encoder": "tiny"}
    fields |= {"encoder_hash": "h", "parameters": {}, "state": "completed", "stages": [], **created}
    counts = {"uploads": 1, "uploads_failed": 0, "accepted": 9, "skipped": 0, "failed": 0}
    report = {"dataset": "d", "complete": True, "reasons": {}, "failures": {}, **counts}
    for statistics in ({"not_matched": words}, {}):
        result = Outcome(
            dataset=Dataset.model_validate({"id": "d", "name": "d", **created}),
            report=Report.model_validate(report),
            vocabulary=None,
            curation=Curation.model_validate({**fields, "statistics": statistics}),
            examples=(),
            evaluation=None,
        )
        console = Console(file=io.StringIO(), width=120)
        console.print(outcome(result))
        assert (words in console.file.getvalue()) == bool(statistics)  # type: ignore[attr-defined]


def test_lists__that_are_cut_end_with_an_ellipsis() -> None:
    assert join_first(["a", "b"], 2) == "a, b"
    assert join_first([str(number) for number in range(11)]).endswith("9, …")


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("torch.nn", '".[export]"'),
        ("fastapi", '".[server]"'),
        ("pydantic_settings", '".[server]"'),
        ("transformers", "pip install transformers"),
    ],
)
def test_missing_packages__name_the_extra_that_brings_them(module: str, words: str) -> None:
    said = missing_module(module)
    assert words in said
    assert "cocu[" not in said
