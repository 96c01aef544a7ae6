"""Makes the configuration of a run from what a caller sends: defaults, checks, and files by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cocu_training.configuration import TrainingConfiguration, preset
from cocu_training.errors import ConfigurationError
from cocu_training.service.errors import InvalidError
from cocu_training.tokenizer_files import SCENES_TOKENIZER

FIELD = "body.configuration"
FILES = ("tokenizer", "oracle")
"""Fields that name a file."""
SHIPPED: Mapping[str, Path] = {"examples/encoders/scenes/tokenizer.json": SCENES_TOKENIZER}
"""Files that presets name; they may be named although they are not in the service's folder."""

LARGEST_NUMBER = 2**53
LIMITS: Mapping[str, int] = {
    "context_length": 1024,
    "global_batch": 1 << 20,
    "kept_checkpoints": 1000,
}
MAX_TEMPLATES = 1000
MAX_TEXT = 1000


def configuration_of(
    preset_name: str, changes: Mapping[str, Any], *, arm: str | None, files: Path, max_workers: int
) -> dict[str, Any]:
    """Return every field of the configuration of a run. Raises InvalidError, which names the field."""
    values = {**changes, **({"arm": arm} if arm is not None else {})}
    for name, value in values.items():
        for text in _checked(name, value):
            if "\0" in text or len(text) > MAX_TEXT or not _is_unicode(text):
                raise _wrong(name, f"texts have at most {MAX_TEXT:,} characters, all of Unicode, none NUL")
    try:
        start = _by_name(json.loads(preset(preset_name).to_json()))
        configuration = TrainingConfiguration.from_mapping({**start, **values})
    except ConfigurationError as error:
        raise InvalidError("The configuration is wrong.", {FIELD: str(error)}) from error
    _check_limits(configuration, max_workers)
    complete: dict[str, Any] = json.loads(configuration.to_json())
    _with_paths(complete, files)
    return complete


def write_configuration(configuration: Mapping[str, Any], file: Path, *, files: Path) -> None:
    """Write the file that the trainer reads, with paths. Raises InvalidError where a file is missing."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(_with_paths(configuration, files), indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def _by_name(configuration: dict[str, Any]) -> dict[str, Any]:
    """Replace the paths in a preset by names."""
    names = {str(path): name for name, path in SHIPPED.items()}
    return {**configuration, "tokenizer": names.get(configuration["tokenizer"], configuration["tokenizer"])}


def _with_paths(configuration: Mapping[str, Any], files: Path) -> dict[str, Any]:
    named = {name: configuration[name] for name in FILES if configuration[name] is not None}
    return {**configuration, **{name: str(_file(name, value, files)) for name, value in named.items()}}


def _file(field: str, name: str, files: Path) -> Path:
    # Callers may name files in the service's folder only, and must not find out about other paths.
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".json":
        raise _wrong(field, "name a .json file within the service's folder of files, without ..")
    file = files.absolute() / path
    try:
        exists = file.is_file()
    except OSError:
        exists = False
    if not exists and name in SHIPPED:
        return SHIPPED[name]
    if not exists:
        raise _wrong(field, "the service has no such file; its operator can put one there")
    return file


def _checked(name: str, value: Any) -> Iterator[str]:
    """The texts in a value. Raises InvalidError for values that no field can have."""
    match value:
        case str():
            yield value
        case bool() | None:
            pass
        case int() | float():
            if abs(value) > LARGEST_NUMBER or not math.isfinite(value):
                raise _wrong(name, f"numbers are finite and at most {LARGEST_NUMBER:,}")
        case list() if len(value) <= MAX_TEMPLATES:
            for item in value:
                if not isinstance(item, str):
                    raise _wrong(name, "lists hold texts")
                yield item
        case _:
            raise _wrong(name, f"is neither a text, a number nor a list of at most {MAX_TEMPLATES:,} texts")


def _check_limits(configuration: TrainingConfiguration, max_workers: int) -> None:
    if configuration.workers > max_workers:
        raise _wrong("workers", f"at most {max_workers} here")
    for name, limit in LIMITS.items():
        if not 1 <= getattr(configuration, name) <= limit:
            raise _wrong(name, f"must be between 1 and {limit:,}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(field: str, problem: str) -> InvalidError:
    # The name comes from the caller and may be any text.
    shown = field[:100].encode("utf-8", "replace").decode()
    return InvalidError("The configuration is wrong.", {f"{FIELD}.{shown}": problem})
