"""From what a caller sends to the configuration of a run: defaults, checks, and files by name."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

from cocu_training.configuration import TrainingConfiguration, preset
from cocu_training.errors import ConfigurationError
from cocu_training.service.errors import InvalidError

FIELD = "body.configuration"
FILES = ("tokenizer", "oracle")
"""Fields that name a file."""

LARGEST_NUMBER = 2**53
MOST: Mapping[str, int] = {
    "context_length": 1024,
    "global_batch": 1 << 20,
    "kept_checkpoints": 1000,
}
MOST_TEMPLATES = 1000
LONGEST_TEXT = 1000


def configuration_of(
    preset_name: str, changes: Mapping[str, Any], *, arm: str | None, files: Path, most_workers: int
) -> dict[str, Any]:
    """Every field of the configuration of a run. Raises InvalidError, naming the field."""
    values = {**changes, **({"arm": arm} if arm is not None else {})}
    for name, value in values.items():
        for text in _checked(name, value):
            if "\0" in text or len(text) > LONGEST_TEXT or not _is_unicode(text):
                raise _wrong(
                    name, f"texts have at most {LONGEST_TEXT:,} characters, all of Unicode, none NUL"
                )
    try:
        start = json.loads(preset(preset_name).to_json())
        made = TrainingConfiguration.from_mapping({**start, **values})
    except ConfigurationError as error:
        raise InvalidError("The configuration is wrong.", {FIELD: str(error)}) from error
    _check_limits(made, most_workers)
    complete: dict[str, Any] = json.loads(made.to_json())
    _with_paths(complete, files)
    return complete


def write_configuration(configuration: Mapping[str, Any], file: Path, *, files: Path) -> None:
    """Write what the trainer reads, files by their paths. Raises InvalidError where one is gone."""
    partial = file.with_suffix(".partial")
    partial.write_text(json.dumps(_with_paths(configuration, files), indent=2) + "\n", encoding="utf-8")
    partial.replace(file)


def _with_paths(configuration: Mapping[str, Any], files: Path) -> dict[str, Any]:
    named = {name: configuration[name] for name in FILES if configuration[name] is not None}
    return {**configuration, **{name: str(_file(name, value, files)) for name, value in named.items()}}


def _file(field: str, name: str, files: Path) -> Path:
    # Callers name files of the service's folder; no other path of its machine is theirs to try.
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts or path.suffix != ".json":
        raise _wrong(field, "name a .json file within the service's folder of files, without ..")
    found = files.absolute() / path
    try:
        there = found.is_file()
    except OSError:
        there = False
    if not there:
        raise _wrong(field, "the service has no such file; whoever runs it can put one there")
    return found


def _checked(name: str, value: Any) -> Iterator[str]:
    """The texts in a value. Raises InvalidError for numbers that cannot be meant."""
    match value:
        case str():
            yield value
        case bool() | None:
            pass
        case int() | float():
            if abs(value) > LARGEST_NUMBER or not math.isfinite(value):
                raise _wrong(name, f"numbers are finite and at most {LARGEST_NUMBER:,}")
        case list() if len(value) <= MOST_TEMPLATES:
            for each in value:
                if not isinstance(each, str):
                    raise _wrong(name, "lists hold texts")
                yield each
        case _:
            raise _wrong(name, f"is neither a text, a number nor a list of at most {MOST_TEMPLATES:,} texts")


def _check_limits(configuration: TrainingConfiguration, most_workers: int) -> None:
    if configuration.workers > most_workers:
        raise _wrong("workers", f"at most {most_workers} here")
    for name, most in MOST.items():
        if not 1 <= getattr(configuration, name) <= most:
            raise _wrong(name, f"must be between 1 and {most:,}")


def _is_unicode(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _wrong(field: str, problem: str) -> InvalidError:
    # A name that a caller made up may be anything, too.
    shown = field[:100].encode("utf-8", "replace").decode()
    return InvalidError("The configuration is wrong.", {f"{FIELD}.{shown}": problem})
