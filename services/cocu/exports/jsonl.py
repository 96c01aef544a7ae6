"""Shards as JSON Lines: one sample per line."""

from __future__ import annotations

import json
from collections.abc import Iterator

from cocu.exports.export import Export, ShardExport


def lines(export: Export, shard: ShardExport) -> Iterator[bytes]:
    """The columns of `rows.EXPORTED`, and the metadata uploaded with the sample."""
    metadata = shard.metadata()
    for row, _, _ in shard.samples():
        yield json.dumps(row | {"metadata": next(metadata)}, ensure_ascii=False).encode() + b"\n"
