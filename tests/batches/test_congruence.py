"""The stream against a naive implementation that makes it sample by sample."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.batches.conftest import Curated
from tests.batches.test_stream import read

from cocu.batches import epoch, prompts
from cocu.catalog import curations
from cocu.curation import archives
from cocu.curation.randomness import key_hashes
from cocu.curation.sample_order import rank_share, sample_order
from cocu.curation.sampling import NO_CONCEPT, draw_concepts
from cocu.storage import paths, tables

Row = dict[str, Any]


def plain_rows(curated: Curated, **parameters: Any) -> list[list[Row]]:
    """Return batches as rows, read from the tables and tars of the platform."""
    platform = curated.server.platform
    record = curations.of_task(platform.catalog, curation_id=curated.curation.id)
    names = platform.vocabularies.of_hash(record.vocabulary_hash).names
    assert record.content_hash is not None
    shards = curations.shards(platform.catalog, curation_id=record.id)
    samples: list[tuple[Row, archives.Archives]] = []
    for shard in shards:
        tar = platform.objects.get(paths.shard(record.dataset_id, shard.shard_id))
        described = tables.read_table(platform.objects, paths.samples(record.dataset_id, shard.shard_id))
        curated_table = tables.read_table(platform.objects, paths.archives(record.id, shard.shard_id))
        for number, row in enumerate(described.to_pylist()):
            image = tar[row["offset"] : row["offset"] + row["size"]]
            archive = tables.archives_of(curated_table.slice(number, 1), names)
            samples.append(({"key": row["key"], "caption": row["caption"], "image": image}, archive))
    pure = {"curation_hash": record.content_hash, "seed": parameters["seed"], "epoch": parameters["epoch"]}
    order = sample_order([shard.samples for shard in shards], **pure)
    batches = []
    for start in range(
        parameters["start"] * parameters["global_batch"], len(order), parameters["global_batch"]
    ):
        rows = order.rows(start, start + parameters["global_batch"])
        share = rank_share(rows, rank=parameters["rank"], world_size=parameters["world_size"])
        batches.append([plain_row(*samples[number], names, pure, parameters) for number in share.tolist()])
    return batches


def plain_row(
    sample: Row,
    archive: archives.Archives,
    names: tuple[str, ...],
    pure: dict[str, Any],
    parameters: dict[str, Any],
) -> Row:
    key, caption = sample["key"], sample["caption"]
    drawn = draw_concepts(
        archive, [key], count=parameters["concepts"], sampler=parameters["sampler"], **pure
    )[0]
    ids = [concept for concept in drawn.tolist() if concept != NO_CONCEPT]
    templates = prompts.imagenet_templates()
    drawn_templates = prompts.draw_templates(
        key_hashes([key]), concepts=parameters["concepts"], templates=len(templates), **pure
    )[0].tolist()
    texts = [
        templates[drawn_templates[position]].format(names[concept]) for position, concept in enumerate(ids)
    ]
    scores = dict(zip(archive.concepts_C.tolist(), archive.scores_C.tolist(), strict=True))
    return {
        **sample,
        "drawn": len(ids),
        "concepts": [names[concept] for concept in ids],
        "concept_ids": ids,
        "texts": texts + [caption] * (parameters["concepts"] - len(ids)),
        "scores": [scores[concept] for concept in ids],
    }


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"start": 2, "global_batch": 7},
        {"rank": 2, "world_size": 3, "sampler": "uniform", "concepts": 9},
        {"seed": 4, "epoch": 9, "sampler": "topk", "global_batch": 64},
        {"rank": 5, "world_size": 8, "global_batch": 6},
    ],
)
@pytest.mark.parametrize("together", [8192, 20, 1])
def test_stream__is_what_the_plain_way_gives(
    curated: Curated, changed: dict[str, Any], together: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(epoch, "ROWS_TOGETHER", together)
    parameters: dict[str, Any] = {
        **{"seed": 0, "epoch": 0, "start": 0, "global_batch": 8, "rank": 0, "world_size": 1},
        **{"concepts": 3, "sampler": "cluster"},
        **changed,
    }
    streamed = read(curated, **parameters, images="true", include_scores="true")
    for batch in streamed:
        for row in batch:
            assert row.pop("format") in {"jpg", "png", "webp"}
    expected = plain_rows(curated, **parameters)
    assert [[row["key"] for row in batch] for batch in streamed] == [
        [row["key"] for row in batch] for batch in expected
    ]
    assert streamed == expected


def test_texts__of_no_sample_and_of_names_beyond_ascii() -> None:
    import pyarrow as pa

    captions = pa.array(["ein Stück Käse", "", "übrig"]).slice(1)
    inputs = {"names": pa.array(["狗", "chat"]), "templates": ("{}", "„{}“, gemalt", "{}!")}
    concepts_BK = np.array([[1, 0], [0, NO_CONCEPT]], np.int32)
    texts = prompts.texts(
        captions=captions, concepts_BK=concepts_BK, templates_BK=np.array([[1, 2], [0, 0]]), **inputs
    )
    assert texts.to_pylist() == [["„chat“, gemalt", "狗!"], ["狗", "übrig"]]
    none = np.empty((0, 2), np.int32)
    texts = prompts.texts(
        captions=captions.slice(2), concepts_BK=none, templates_BK=none.astype(np.int64), **inputs
    )
    assert texts.to_pylist() == []
