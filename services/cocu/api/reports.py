"""The report of a dataset as CSV, page by page, for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from io import StringIO

from cocu.platform import Platform
from cocu.storage.catalog import rejections
from cocu.storage.catalog.uploads import UploadRecord

HEADER = ("upload", "outcome", "reason", "count", "key", "member", "detail")
PAGE = 1_000

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def report_lines(
    platform: Platform, *, tenant: str, dataset: str, uploads: Iterable[UploadRecord]
) -> Iterator[str]:
    """A line for what was accepted of each upload, and one for everything that was skipped or failed.

    The sum of `count` by outcome and reason is the report. Texts that a spreadsheet would take for a formula
    begin with an apostrophe.
    """
    names = {}
    yield _line(HEADER)
    for upload in uploads:
        names[upload.id] = upload.name
        yield _line((upload.name, "accepted", "", upload.accepted, "", "", upload.error or ""))
    after = None
    while True:
        page = rejections.list_page(
            platform.catalog, tenant=tenant, dataset_id=dataset, limit=PAGE, after=after
        )
        for each in page.items:
            name = names.get(each.upload_id, "")
            cells = (name, each.outcome, each.reason, 1, each.key or "", each.member or "", each.detail)
            yield _line(cells)
        if page.next is None:
            return
        after = page.next


def harmless(text: str) -> str:
    """Text that no spreadsheet takes for a formula.

    >>> harmless("=HYPERLINK(...)"), harmless("a dog")
    ("'=HYPERLINK(...)", 'a dog')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def _line(cells: Iterable[str | int]) -> str:
    target = StringIO(newline="")
    csv.writer(target).writerow([harmless(cell) if isinstance(cell, str) else cell for cell in cells])
    return target.getvalue()
