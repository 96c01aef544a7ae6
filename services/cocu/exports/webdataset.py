"""Shards as WebDataset tars: with the archive as JSON, or as the text that the released trainer reads."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from cocu.exports import tars
from cocu.exports.export import Export, ShardExport

Piece = bytes | memoryview


def samples(export: Export, shard: ShardExport) -> Iterator[Piece]:
    """For each sample key.jpg (.png, .webp), key.txt and key.json: its metadata, and the archive as "cocu".

    To upload it again gives the same samples with the same captions.
    """
    metadata = shard.metadata()
    for row, image, extension in shard.samples():
        document = next(metadata) | {"cocu": _archive(export, row)}
        yield from _image(row["key"], image, extension)
        yield from tars.member(f"{row['key']}.txt", row["caption"].encode())
        yield from tars.member(
            f"{row['key']}.json", json.dumps(document, ensure_ascii=False, sort_keys=True).encode()
        )


def released(export: Export, shard: ShardExport) -> Iterator[Piece]:
    """For each sample its image and, as key.txt, the three lines of `released_text`."""
    for row, image, extension in shard.samples():
        text = released_text(row["caption"], row["concepts"], clusters=export.parameters.clusters)
        yield from _image(row["key"], image, extension)
        yield from tars.member(f"{row['key']}.txt", text.encode())


def released_text(caption: str, concepts: list[dict[str, Any]], *, clusters: bool) -> str:
    """Caption, JSON object concept → score by descending score, JSON object cluster → its concepts.

    Line breaks inside the caption become spaces, because the trainer splits the text into lines; so this is
    the only format whose captions can differ. The trainer takes the first concepts and uses no clusters, so
    the third line is {} unless `clusters`.

    >>> print(released_text("a\\nb", [{"concept": "dog", "score": 1.5, "cluster": 0}], clusters=True))
    a b
    {"dog": 1.5}
    {"0": ["dog"]}
    """
    members: dict[str, list[str]] = {}
    if clusters:
        for concept in concepts:
            if concept["cluster"] is not None:
                members.setdefault(str(concept["cluster"]), []).append(concept["concept"])
    scores = {concept["concept"]: concept["score"] for concept in concepts}
    lines = (
        " ".join(caption.splitlines()),
        json.dumps(scores, ensure_ascii=False),
        json.dumps(dict(sorted(members.items(), key=lambda item: int(item[0]))), ensure_ascii=False),
    )
    return "\n".join(lines)


def _image(key: str, image: Piece | None, extension: str) -> Iterator[Piece]:
    if image is not None:
        yield from tars.member(f"{key}.{extension}", image)


def _archive(export: Export, row: dict[str, Any]) -> dict[str, Any]:
    return {
        "content_hash": export.content_hash,
        "concepts": row["concepts"],
        "neighbours": row["neighbours"],
    }
