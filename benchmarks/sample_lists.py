"""Lists of 100,000 samples: whole columns from the cache against a row read per sample; words of captions.

Measured is what the API does for a page of 60 samples but HTTP, in processor time: the page by key from
whole columns, the page with a row of the sample table read per sample, as every list did before, and a page
of samples selected by words, when the captions have been looked through before and the first time.
"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path

from benchmarks.filled_platform import TENANT, ingest
from benchmarks.report import measure, report
from benchmarks.synthetic import make_dataset
from cocu.api.queries import SampleLists, Samples
from cocu.api.queries.caption_words import split
from cocu.catalog import samples as sample_rows
from cocu.platform import Platform
from cocu.settings import Settings
from cocu.storage import paths, tables

SAMPLES = 100_000
PAGE = 60
BOUND = 4.0


def main() -> None:
    """Print milliseconds of each way, and the ratio of the first two."""
    dataset = make_dataset(samples=SAMPLES, dim=64)
    with (
        tempfile.TemporaryDirectory() as folder,
        Platform.open(Settings(data_folder=Path(folder))) as platform,
    ):
        dataset_id = ingest(platform, dataset)
        lists = SampleLists(platform, Samples(platform))
        words = split(" ".join(random.Random(0).sample(dataset.names, 2)))

        def page() -> None:
            lists.by_key(tenant=TENANT, dataset=dataset_id, limit=PAGE, after=None)

        def page_by_rows() -> None:
            records = sample_rows.list_page(
                platform.catalog, tenant=TENANT, dataset_id=dataset_id, limit=PAGE
            )
            for record in records.items:
                tables.read_row(platform.objects, paths.samples(dataset_id, record.shard_id), record.row)

        def search() -> int:
            after, requests = None, 0
            while requests == 0 or after is not None:
                listed = lists.by_row(tenant=TENANT, dataset=dataset_id, limit=PAGE, words=words, after=after)
                after, requests = listed.next, requests + 1
            return requests

        started = time.process_time()
        requests = search()
        first = time.process_time() - started
        by_rows, by_columns, again = (measure(run).processor for run in (page_by_rows, page, search))
    print(f"{PAGE} samples: {1000 * by_rows:.1f} ms by rows, {1000 * by_columns:.1f} ms by columns")
    print(
        f"the captions of {SAMPLES:,} samples by {len(words)} words: {1000 * first:.0f} ms the first time, in"
    )
    print(f"{requests} requests, then {1000 * again:.0f} ms in one")
    report(
        "samples: by rows / by columns",
        by_rows / by_columns,
        "x",
        f">= {BOUND:g}",
        by_rows / by_columns >= BOUND,
    )


if __name__ == "__main__":
    main()
