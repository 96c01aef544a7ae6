"""The formats of uploads: their names on the wire, the endings of their files, and their readers.

The server and the client share this table. Readers need libraries that a client does not have, so the table
only names them; they are loaded where files are read (`cocu.formats.readers`). A new format is a line here
and the module of its reader.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, NamedTuple


class FormatSpec(NamedTuple):
    """A format of uploads.

    name: its name in requests and reports. reader: the module of `cocu.formats` whose `READERS` contains it;
    None if the option `encoder` selects the format. endings: in lower case; a client uploads each file of a
    folder with one of these endings.
    """

    name: str
    reader: str | None
    endings: tuple[str, ...] = ()


FORMATS = (
    FormatSpec("tar", reader="tars", endings=(".tar",)),
    FormatSpec("tar.gz", reader="tars", endings=(".tar.gz", ".tgz")),
    FormatSpec("tar.zst", reader="tars", endings=(".tar.zst",)),
    FormatSpec("zip", reader="zips", endings=(".zip",)),
    FormatSpec("parquet", reader="parquet", endings=(".parquet",)),
    # Without endings: a client reads tables before it sends them, see `cocu.client.sources`.
    FormatSpec("csv", reader="delimited"),
    FormatSpec("tsv", reader="delimited"),
    FormatSpec("clip-retrieval", reader=None),
)
"""Every format; a file has the first format whose reader recognises it."""

FORMAT_NAMES = tuple(format.name for format in FORMATS)
ENDINGS = tuple(ending for format in FORMATS for ending in format.endings)

if TYPE_CHECKING:
    UploadFormat = str
else:
    UploadFormat = Literal[FORMAT_NAMES]
