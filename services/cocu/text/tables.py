"""Tables that caption the images beside them."""

from __future__ import annotations

import json
import re

from cocu.text.columns import IN_TABLES_OF_IMAGES, PATH, columns_without_header, find_column
from cocu.text.delimited import find_dialect, first_rows
from cocu.text.encodings import decode_text

HEAD_BYTES = 1 << 16
"""So much of the beginning of a table is enough for `names_images`."""


_IMAGE_ENDING = re.compile(rb"\.(?:jpe?g|png|webp)\W", re.IGNORECASE)


def text_names_images(name: str, head: bytes) -> bool:
    """Whether a text, which could as well be the caption of one image, is a table as `names_images` says.

    Cheap for captions: only of a text of several lines that names an image file more is asked.
    """
    text = head[:HEAD_BYTES].replace(b"\0", b"").strip()  # of UTF-16, what is ASCII
    if b"\n" not in text and b"\r" not in text:
        return False
    return _IMAGE_ENDING.search(text) is not None and names_images(name, head)


def names_images(name: str, head: bytes) -> bool:
    """Whether a .jsonl, or a delimited table, which begins so, has a column of paths and one of captions.

    A delimited table may do without a header, where its first row shows both.
    """
    head = head[:HEAD_BYTES]
    if name.lower().endswith(".jsonl"):
        try:
            first = json.loads(decode_text(head.partition(b"\n")[0]).text)
        except (ValueError, RecursionError):
            return False
        names = list(first) if isinstance(first, dict) else []
    else:
        whole = len(head) < HEAD_BYTES
        dialect = find_dialect(head, whole=whole)
        rows = [] if dialect is None else first_rows(head, dialect, whole=whole, count=1)
        names = rows[0].cells if rows else []
    if find_column(names, PATH) is not None and find_column(names, IN_TABLES_OF_IMAGES) is not None:
        return True
    return not name.lower().endswith(".jsonl") and columns_without_header(names) is not None
