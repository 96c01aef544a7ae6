"""Common names of columns in tables, by what the columns contain."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence

KEY = ("key", "__key__", "uid", "id")
IMAGE = ("image", "jpg", "jpeg", "png", "webp", "img", "image_bytes")
URL = ("url", "image_url", "img_url", "image_link")
CAPTION = (
    "caption", "text", "txt", "captions", "texts", "sentences", "sentences_raw", "alt_text", "title",
)  # fmt: skip
IN_TABLES_OF_IMAGES = (*CAPTION, "comment")
"""Names of the caption in a table that names images by their paths; `comment` is Flickr30k's."""
IN_ITEMS = ("raw", "caption", "text")
"""Names of the caption inside a list of objects, as in Karpathy's `sentences`."""
PATH = (
    "file_name", "filename", "filepath", "file_path", "image_path", "img_path", "image_file", "path", "file",
    "image", "img", "image_name",
)  # fmt: skip
"""Each tuple is in the order of preference; case does not matter. PATH: of an image beside the table."""

_NUMBERED = re.compile(r"#\d+$")
_NUMBER = re.compile(r"[-+]?[\d.]+")
IMAGE_ENDINGS = (".jpg", ".jpeg", ".png", ".webp")


def find_column(names: list[str], known: tuple[str, ...]) -> int | None:
    """The index of the column with the first of the known names that exactly one column has, else None."""
    lower = [name.strip().lower() for name in names]
    return next((lower.index(name) for name in known if lower.count(name) == 1), None)


def looks_like_url(cell: str) -> bool:
    """Whether a cell is a URL of the web."""
    return cell.strip()[:8].lower().startswith(("http://", "https://"))


def looks_like_path(cell: str) -> bool:
    """Whether a cell is the path of an image."""
    return image_path(cell).lower().endswith(IMAGE_ENDINGS) and not looks_like_url(cell)


def image_path(cell: str) -> str:
    """The path in a cell, without the number of its caption, as Flickr's `1.jpg#0` has it."""
    return _NUMBERED.sub("", cell.strip())


def columns_without_header(first: Sequence[str]) -> tuple[int, int] | None:
    """The columns of paths and of captions in a table whose first row is about an image already.

    None where the row does not tell: it has no path or several, or no other text or several.
    """
    paths = [at for at, cell in enumerate(first) if looks_like_path(cell)]
    texts = [
        at
        for at, cell in enumerate(first)
        if at not in paths and not looks_like_url(cell) and not _NUMBER.fullmatch(cell.strip())
    ]
    return (paths[0], texts[0]) if len(paths) == len(texts) == 1 else None


def is_header(first: list[str], second: list[str] | None, *options: str | None) -> bool:
    """Whether the first row of a table names its columns.

    It does where one of its cells is a common name or one that the options give. It also does where the
    second row has a URL or a path of an image, and the first has none.
    """
    if any(name in first for name in options if name is not None and not name.isdigit()):
        return True
    if any(looks_like_url(cell) or looks_like_path(cell) for cell in first):
        return False
    if find_column(first, URL) is not None or find_column(first, PATH) is not None:
        return True
    return second is not None and any(looks_like_url(cell) or looks_like_path(cell) for cell in second)


def find_duplicate(header: Sequence[str], names: Sequence[str]) -> str | None:
    """The first of these names that two columns have; case does not matter."""
    lower = [name.strip().lower() for name in header]
    return next((name for name in names if lower.count(name.lower()) > 1), None)


def unique_names(header: Sequence[str]) -> list[str]:
    """The names of columns without surrounding white space; a second `name` becomes `name.1`, and so on.

    >>> unique_names(["url", " text", "tag", "tag"])
    ['url', 'text', 'tag', 'tag.1']
    """
    seen: Counter[str] = Counter()
    names = []
    for cell in header:
        name = cell.strip()
        names.append(f"{name}.{seen[name]}" if seen[name] else name)
        seen[name] += 1
    return names
