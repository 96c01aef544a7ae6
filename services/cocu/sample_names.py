"""Names of files and samples: roles by ending, the normal form of paths, and which names are equal.

Folders, tars, zips, Parquet, caption tables and label files all use these rules, on the server and the
client.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum


class Role(Enum):
    """What a file is for its sample."""

    IMAGE = "image"
    CAPTION = "caption"
    METADATA = "metadata"
    TABLE = "a table, which may caption many images"
    EMBEDDINGS = "embeddings of many images"
    OTHER_IMAGE = "an image of a format that is not accepted"
    SECOND_IMAGE = "an image under a longer ending, such as a mask"
    ARCHIVE = "an archive"
    OTHER_TABLE = "a table that is not read here"
    HIDDEN = "a file whose name begins with a dot"
    IGNORED = "ignored"


ENDINGS: Mapping[Role, tuple[str, ...]] = {
    Role.IMAGE: ("jpg", "jpeg", "png", "webp", "jpe", "jfif", "pjpeg"),
    Role.CAPTION: ("txt", "caption", "captions", "cap", "text"),
    Role.METADATA: ("json",),
    Role.EMBEDDINGS: ("npy",),
    Role.OTHER_IMAGE: (
        *("gif", "bmp", "tif", "tiff", "avif", "heic", "heif", "jxl", "jp2", "svg", "ico", "ppm", "psd"),
    ),
    Role.ARCHIVE: ("tar", "tgz", "zip", "7z", "rar", "tbz2", "txz"),
    Role.TABLE: ("csv", "tsv", "jsonl", "token"),
    Role.OTHER_TABLE: ("ndjson", "parquet", "arrow", "feather", "xlsx"),
}
"""Endings by role, in lower case; for captions and images in the order of preference."""

_COMPRESSED_TARS = (".tar.gz", ".tar.bz2", ".tar.xz", ".tar.zst")
_ROLES = {ending: role for role, endings in ENDINGS.items() for ending in endings}
_NOISE = re.compile(
    r"(?:^|/)(?:__MACOSX|@eaDir)/|(?:^|/)(?:\._[^/]*|\.DS_Store|\.git[^/]*|\.keep|\.nfs[^/]*|\.directory)$"
)
"""Files that macOS, Windows, file servers and git leave in folders; they are skipped without a report."""
_IMAGE_ENDING = re.compile(
    rf"\.(?:{'|'.join(ENDINGS[Role.IMAGE] + ENDINGS[Role.OTHER_IMAGE])})$", re.IGNORECASE
)
_ODD = re.compile(r"\\|//|^/|/$|(?:^|/)\.(?:/|$)")
_MAX_PARTS = 8
"""So many last parts of a path are compared with the ends of other paths."""


@dataclass(frozen=True)
class FileName:
    """The parts of a file's name.

    key: the path of its sample. stem: the path up to its last dot, by which it finds its siblings. Both are
    the same unless the archive is a WebDataset and the name has several dots. ending: what follows that dot,
    in lower case.
    """

    key: str
    stem: str
    role: Role
    ending: str = ""


def file_name(name: str, *, first_dot: bool) -> FileName:
    """Key, stem and role of a path in the form of `normal_path`.

    first_dot: by WebDataset's rule a sample's path ends at the first dot of the last part, so that
    `a.mask.png` belongs to `a`. Otherwise (folders, zips) it ends at the last dot. Dots and spaces at the end
    of the name are of no ending: Windows drops them.
    """
    folder, slash, base = (name.rstrip(" .") or name).rpartition("/")
    stem, _, ending = base.rpartition(".")
    key = base.partition(".")[0] if first_dot else stem
    role = _role(name, base, stem, ending.lower())
    if role is Role.IMAGE and key != stem:
        role = Role.SECOND_IMAGE
    if role is Role.OTHER_IMAGE and key != stem:
        role = Role.IGNORED
    return FileName(folder + slash + key, folder + slash + stem, role, ending.lower())


def _role(name: str, base: str, stem: str, ending: str) -> Role:
    hidden = base.startswith(".")
    if (hidden or "__MACOSX/" in name or "@eaDir/" in name) and _NOISE.search(name):
        return Role.IGNORED
    if hidden:
        return Role.HIDDEN
    if base.lower().endswith(_COMPRESSED_TARS):
        return Role.ARCHIVE
    return _ROLES.get(ending, Role.IGNORED) if stem else Role.IGNORED


def sample_key(stem: str) -> str:
    """The key of a sample: its path, with `_` for dots in the last part, because shards are WebDatasets."""
    folder, slash, base = stem.rpartition("/")
    return folder + slash + base.replace(".", "_")


def normal_path(raw: str) -> str:
    """A path with single forward slashes and without `.`; letters are unchanged. Idempotent.

    >>> normal_path("./photos\\\\2024//a.jpg")
    'photos/2024/a.jpg'
    """
    if not _ODD.search(raw):
        return raw
    parts = raw.replace("\\", "/").split("/")
    return "/".join(part for part in parts if part not in ("", "."))


def without_image_ending(path: str) -> str:
    """A path without the ending of an image, whatever its case."""
    return _IMAGE_ENDING.sub("", path)


def last_part(name: str) -> str:
    """The last part of a name in the loosest form of `match_names`: names that match have the same one."""
    return _loose(name).rpartition("/")[2]


@dataclass(frozen=True)
class NameMatches:
    """The key of each name, one to one. missing: names without a key. ambiguous: names with several."""

    keys: dict[str, str] = field(default_factory=dict)
    missing: tuple[str, ...] = ()
    ambiguous: tuple[str, ...] = ()


def match_names(names: Iterable[str], keys: Iterable[str]) -> NameMatches:
    """Find the key of each name; nothing is guessed.

    Rules, in this order: equal text; equal paths in any spelling (Unicode forms, slashes, case of the
    ending); one path is the end of the other; equal last parts that are unique on both sides. Each rule is
    tried again without endings and with `_` for dots, as in keys.
    """
    names, keys = list(dict.fromkeys(names)), list(dict.fromkeys(keys))
    matcher = _Matcher(names, keys)
    for step in (matcher.match_paths, matcher.match_ends, matcher.match_last_parts):
        for form in (_strict, _loose):
            if len(matcher.matched) < len(names):
                step(form)
    rest = [name for name in names if name not in matcher.matched]
    return NameMatches(
        matcher.matched,
        missing=tuple(name for name in rest if name not in matcher.ambiguous),
        ambiguous=tuple(name for name in rest if name in matcher.ambiguous),
    )


_Form = Callable[[str], str]


def _strict(name: str) -> str:
    path = normal_path(name)
    if not path.isascii():
        path = unicodedata.normalize("NFC", path)
    stem, dot, ending = path.rpartition(".")
    return f"{stem}.{ending.lower()}" if dot else path


def _loose(name: str) -> str:
    return without_image_ending(_strict(name)).replace(".", "_")


def _last(path: str) -> str:
    return path.rpartition("/")[2]


def _ends(path: str) -> list[str]:
    """The ends of a path after each of its last slashes, the longest first."""
    ends: list[str] = []
    slash = len(path)
    while len(ends) < _MAX_PARTS and (slash := path.rfind("/", 0, slash)) >= 0:
        ends.append(path[slash + 1 :])
    return ends[::-1]


def _owners(pairs: Iterable[tuple[str, str]]) -> dict[str, str | None]:
    """The only member of each group, None where it has several. pairs: (group, member)."""
    owners: dict[str, str | None] = {}
    for group, member in pairs:
        owners[group] = member if owners.setdefault(group, member) == member else None
    return owners


class _Matcher:
    """Matches names step by step; a step never changes the matches of an earlier step."""

    def __init__(self, names: Sequence[str], keys: Sequence[str]) -> None:
        known = set(keys)
        self._keys = keys
        self._names = names
        self._forms: dict[_Form, tuple[list[str], list[str]]] = {}
        self.matched = {name: name for name in names if name in known}
        self.ambiguous: set[str] = set()

    def match_paths(self, form: _Form) -> None:
        """Match names and keys that are equal in a form."""
        self._match_groups(*self._in_form(form))

    def match_last_parts(self, form: _Form) -> None:
        """Match names and keys with equal last parts in a form, where no others have the same one."""
        names, keys = self._in_form(form)
        self._match_groups([_last(path) for path in names], [_last(path) for path in keys])

    def match_ends(self, form: _Form) -> None:
        """Match names and keys where one path is the end of the other."""
        names, keys = self._in_form(form)
        whole = _owners(zip(keys, self._keys, strict=True))
        longer = _owners(
            (end, key) for path, key in zip(keys, self._keys, strict=True) for end in _ends(path)
        )
        candidates: dict[str, str | None] = {}
        for name, path in zip(self._names, names, strict=True):
            if name not in self.matched:
                lookups = (longer, path), *((whole, end) for end in _ends(path))
                owners, end = next(((owners, end) for owners, end in lookups if end in owners), (whole, path))
                if end in owners:
                    candidates[name] = owners[end]
        self._accept(candidates)

    def _in_form(self, form: _Form) -> tuple[list[str], list[str]]:
        if form not in self._forms:
            self._forms[form] = list(map(form, self._names)), list(map(form, self._keys))
        return self._forms[form]

    def _match_groups(self, groups_of_names: Sequence[str], groups_of_keys: Sequence[str]) -> None:
        names = _owners(zip(groups_of_names, self._names, strict=True))
        keys = _owners(zip(groups_of_keys, self._keys, strict=True))
        candidates = {
            name: keys[group] if names[group] is not None else None
            for group, name in zip(groups_of_names, self._names, strict=True)
            if group in keys and name not in self.matched
        }
        self._accept(candidates)

    def _accept(self, candidates: Mapping[str, str | None]) -> None:
        """Match each name with its only key (None: several keys) if no other name has or claims this key."""
        taken = set(self.matched.values())
        claims = _owners((key, name) for name, key in candidates.items() if key is not None)
        for name, key in candidates.items():
            if key is None or claims[key] is None:
                self.ambiguous.add(name)
            elif key not in taken:
                self.matched[name] = key
