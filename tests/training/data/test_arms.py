"""The arms: what each asks for and what texts it makes, and the table of the oracle."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

pytest.importorskip("torch")

from cocu.client import Batch
from cocu_training.configuration import TrainingConfiguration
from cocu_training.data.arms import NO_CONCEPT, Arm, ConceptTable, DrawnTexts
from cocu_training.errors import ConfigurationError

TRUTH = {"a": ["dog", "sky", "fire hydrant", "dog"], "b": ["cat"], "c": []}
TEMPLATES = ("a photo of a {}", "the {}")


def batch(**columns: list[object]) -> Batch:
    return Batch(0, pa.RecordBatch.from_pydict(columns))


def oracle(tmp_path: Path, **changes: object) -> Arm:
    file = tmp_path / "labels.json"
    file.write_text(json.dumps({"labels": ["dog"], "samples": TRUTH}))
    return Arm.of(
        TrainingConfiguration.scenes().with_(arm="oracle", oracle=str(file), templates=TEMPLATES, **changes)
    )


@pytest.mark.parametrize(
    ("arm", "sampler", "texts"),
    [("caption_nouns", "caption", 3), ("topk", "topk", 3), ("cluster", "cluster", 3)],
)
def test_the_platform_draws_for_three_of_them(arm: str, sampler: str, texts: int) -> None:
    built = Arm.of(TrainingConfiguration.scenes().with_(arm=arm))
    assert (built.request.sampler, built.request.concepts, built.texts) == (sampler, texts, 3)
    assert built.request.drop_last
    drawn = built.draw(
        batch(
            key=["a", "b"],
            caption=["one", "two"],
            texts=[["a photo of a dog", "the sky", "one"], ["two", "two", "two"]],
            concept_ids=[[4, 7], []],
        ),
        epoch=0,
    )
    assert drawn == [
        DrawnTexts(["a photo of a dog", "the sky", "one"], [4, 7, NO_CONCEPT]),
        DrawnTexts(["two", "two", "two"], [NO_CONCEPT] * 3),
    ]


def test_the_caption_alone_has_no_other_texts() -> None:
    built = Arm.of(TrainingConfiguration.scenes().with_(arm="caption"))
    assert built.texts == 0
    assert built.request.concepts == 1
    assert built.draw(batch(key=["a", "b"]), epoch=0) == [DrawnTexts([], [])] * 2


def test_the_oracle_draws_what_is_true_and_pads_with_the_caption(tmp_path: Path) -> None:
    built = oracle(tmp_path, concepts=4)
    drawn = built.draw(
        batch(key=["a", "b", "c", "unknown"], caption=["one", "two", "three", "four"]), epoch=2
    )
    texts, ids = drawn[0]
    names = {template.replace("{}", name) for template in TEMPLATES for name in TRUTH["a"]}
    assert len(set(ids[:3])) == 3
    assert set(texts[:3]) < names
    assert texts[3:] == ["one"]
    assert ids[3:] == [NO_CONCEPT]
    assert drawn[1].texts[1:] == ["two"] * 3
    assert drawn[2] == DrawnTexts(["three"] * 4, [NO_CONCEPT] * 4)
    assert drawn[3] == DrawnTexts(["four"] * 4, [NO_CONCEPT] * 4)


def test_the_oracles_draw_is_a_function_of_seed_epoch_and_key(tmp_path: Path) -> None:
    table = ConceptTable({"a": list("abcdefgh"), "b": list("abcdefgh")})

    def draw(key: str = "a", seed: int = 0, epoch: int = 0) -> tuple[str, ...]:
        return tuple(table.draw(key, count=3, templates=TEMPLATES, seed=seed, epoch=epoch).texts)

    assert draw() == draw()
    assert len({draw(), draw(key="b"), draw(seed=1), draw(epoch=1), draw(seed=10, epoch=1)}) == 5
    counts = Counter(text[-1] for epoch in range(800) for text in draw(epoch=epoch))
    assert set(counts) == set("abcdefgh")
    assert all(240 < count < 360 for count in counts.values())


def test_a_table_may_be_parquet(tmp_path: Path) -> None:
    file = tmp_path / "labels.parquet"
    pq.write_table(pa.table({"key": list(TRUTH), "concepts": list(TRUTH.values())}), file)
    assert ConceptTable.read(file).concepts == TRUTH
    assert ConceptTable.read(file).numbers == {"cat": 0, "dog": 1, "fire hydrant": 2, "sky": 3}


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"a": "dog"}', '{"samples": 3}'])
def test_what_is_no_table_is_refused(tmp_path: Path, content: str) -> None:
    for name in ("labels.json", "labels.parquet"):
        (tmp_path / name).write_text(content)
        with pytest.raises(ConfigurationError):
            ConceptTable.read(tmp_path / name)
    with pytest.raises(ConfigurationError, match="cannot read"):
        ConceptTable.read(tmp_path / "absent.json")
