"""Parquet: metadata as JSON, and captions inside of objects."""

from __future__ import annotations

import io
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from cocu.formats.options import CaptionChoice, ReadOptions
from cocu.formats.reading import RawSample, read_samples

from .archives import picture, read


def test_parquet__metadata_as_json_is_merged_or_where_it_is_marked_all_there_is(tmp_path: Path) -> None:
    texts = ['{"licence": "CC0", "score": 0.5, "tags": ["a"]}', "no JSON", None]
    columns = {"image": [picture(seed) for seed in range(3)], "caption": ["a dog"] * 3}
    table = pa.table({**columns, "score": [1, 2, 3], "metadata": texts})
    document = {"licence": "CC0", "score": 0.5, "tags": ["a"]}
    pq.write_table(table, tmp_path / "strange.parquet")
    metadata = [
        sample.metadata
        for sample in read_samples(tmp_path / "strange.parquet")
        if isinstance(sample, RawSample)
    ]
    assert metadata == [document, {"score": 2, "metadata": "no JSON"}, {"score": 3}]
    pq.write_table(table.replace_schema_metadata({"cocu.metadata": "metadata"}), tmp_path / "own.parquet")
    metadata = [
        sample.metadata for sample in read_samples(tmp_path / "own.parquet") if isinstance(sample, RawSample)
    ]
    assert metadata == [document, {}, {}]


@pytest.mark.parametrize("name", ["raw", "caption", "text"])
def test_captions_that_are_objects_in_a_list(name: str) -> None:
    sentences = [
        {name: "a dog", "tokens": ["a", "dog"]},
        None,
        {name: None, "tokens": []},
        {name: "a cat", "tokens": []},
    ]
    target = io.BytesIO()
    pq.write_table(pa.Table.from_pylist([{"image": picture(), "sentences": sentences}]), target)
    samples, rejections = read(target, options=ReadOptions(captions=CaptionChoice.ALL))
    assert ([sample.caption for sample in samples], rejections) == (["a dog", "a cat"], [])
