"""The report of a dataset as CSV, page by page, for spreadsheets."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator
from io import StringIO

from cocu.catalog import rejections
from cocu.catalog.uploads import UploadRecord
from cocu.platform import Platform

HEADER = ("upload", "outcome", "reason", "count", "key", "member", "detail")
PAGE = 1_000

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠")


def format_report(
    platform: Platform, *, tenant: str, dataset: str, uploads: Iterable[UploadRecord]
) -> Iterator[str]:
    """Yield a line per upload with its accepted samples, one per note, and one per skipped or failed sample.

    The sum of `count` by outcome and reason is the report. Texts that a spreadsheet would read as a formula
    get an apostrophe in front.
    """
    names = {}
    yield format_line(HEADER)
    for upload in uploads:
        names[upload.id] = upload.name
        yield format_line((upload.name, "accepted", "", upload.accepted, "", "", upload.error or ""))
        for code, count in (upload.reading or {}).get("notes", {}).items():
            yield format_line((upload.name, "note", code, count, "", "", ""))
    after = None
    while True:
        page = rejections.list_page(
            platform.catalog, tenant=tenant, dataset_id=dataset, limit=PAGE, after=after
        )
        for rejection in page.items:
            name = names.get(rejection.upload_id, "")
            cells = (
                name,
                rejection.outcome,
                rejection.reason,
                1,
                rejection.key or "",
                rejection.member or "",
                rejection.detail,
            )
            yield format_line(cells)
        if page.next is None:
            return
        after = page.next


def escape_formula(text: str) -> str:
    """Return text that no spreadsheet reads as a formula.

    >>> escape_formula("=HYPERLINK(...)"), escape_formula("a dog")
    ("'=HYPERLINK(...)", 'a dog')
    """
    return f"'{text}" if text.startswith(_FORMULA) else text


def format_line(cells: Iterable[str | float]) -> str:
    """Return a line of CSV, in which no text is a formula."""
    target = StringIO(newline="")
    csv.writer(target).writerow([escape_formula(cell) if isinstance(cell, str) else cell for cell in cells])
    return target.getvalue()
