"""Publication of encoder bundles in a Triton model repository.

    REPOSITORY/
        photo_image/
            config.pbtxt
            216172782113783809/      the version, computed from the bundle's hash
                model.onnx
                model.py             runs model.onnx with the python backend
        photo_text/ …

A version's folder is the same for both backends; only config.pbtxt selects the backend.
"""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from tritonclient.grpc import model_config_pb2

from cocu.encoders.bundle import DESCRIPTION, Bundle, hash_of_digests
from cocu.encoders.inprocess import InProcessEncoder
from cocu.encoders.triton.configuration import (
    MODEL_FILE,
    PYTHON_FILE,
    ModelOptions,
    TowerName,
    configuration_of,
    model_name,
    version_of,
)
from cocu.errors import ConflictError, InvalidBundleError

__all__ = ["PublishedBundle", "publish"]

CONFIGURATION = "config.pbtxt"
_LOCK = ".cocu-publish.lock"
_STAGING = ".cocu-publish-"
_COPY_CHUNK = 1 << 20
_PROGRAM = Path(__file__).parent / PYTHON_FILE


@dataclass(frozen=True, kw_only=True)
class PublishedBundle:
    """The result of `publish`: the two models, their version, and whether anything was written."""

    name: str
    hash: str
    models: tuple[str, str]
    version: str
    changed: bool


def publish(bundle: Bundle, repository: Path, *, options: ModelOptions) -> PublishedBundle:
    """Write a bundle's towers into a model repository as two models, or bring their configuration up to date.

    Each model appears atomically, and publishing again completes an interrupted call. The content of a
    version never changes: publishing the same bundle again is no error, another bundle under a name that is
    taken is a ConflictError. Raises InvalidBundleError when the bundle does not run, OSError when the
    repository cannot be written.
    """
    _require_to_run(bundle)
    repository.mkdir(parents=True, exist_ok=True)
    models = [model_name(bundle.name, tower, hash=bundle.hash) for tower in ("image", "text")]
    with _locked(repository), _staging(repository) as staging:
        for model in models:
            _refuse_another_bundle(repository / model, bundle)
        digests = _copy(bundle, staging)
        changed = [
            _publish_tower(bundle, tower, repository, staging, options=options, digests=digests)
            for tower in ("image", "text")
        ]
    return PublishedBundle(
        name=bundle.name,
        hash=bundle.hash,
        models=(models[0], models[1]),
        version=version_of(bundle.hash),
        changed=any(changed),
    )


def _require_to_run(bundle: Bundle) -> None:
    """Run the bundle once: a model that cannot be loaded would keep the whole server from starting."""
    encoder = InProcessEncoder(bundle)
    size = bundle.image.size
    encoder.embed_texts(["a photo"])
    encoder.embed_images(np.random.default_rng(0).integers(0, 256, (1, size, size, 3), np.uint8))


def _refuse_another_bundle(folder: Path, bundle: Bundle) -> None:
    if not folder.exists():
        return
    config = model_config_pb2.ModelConfig()
    try:
        text_format.Parse((folder / CONFIGURATION).read_text(encoding="utf-8"), config)
    except (OSError, UnicodeDecodeError, text_format.ParseError):
        published_hash = ""
    else:
        published_hash = config.parameters["cocu_hash"].string_value
    if published_hash != bundle.hash:
        holder = (
            f"bundle {published_hash[:12]}…"
            if published_hash
            else "a model that was not published by this command"
        )
        raise ConflictError(
            f"{folder} holds {holder}, not {bundle.name!r} {bundle.hash[:12]}…; what is published never "
            "changes: give the new bundle another name in encoder.json, or remove the old models first"
        )


def _copy(bundle: Bundle, staging: Path) -> dict[str, str]:
    """Copy the bundle's files and return their SHA-256 by name, after a check against the bundle's hash."""
    digests = {name: _copy_file(bundle.folder / name, staging / name) for name in bundle.files}
    if hash_of_digests(digests) != bundle.hash:
        raise ConflictError(f"{bundle.folder} has changed while it was published; try again")
    return digests


def _copy_file(source: Path, target: Path) -> str:
    digest = hashlib.sha256()
    with source.open("rb") as read, target.open("wb") as written:
        while part := read.read(_COPY_CHUNK):
            digest.update(part)
            written.write(part)
    return digest.hexdigest()


def _publish_tower(
    bundle: Bundle,
    tower: TowerName,
    repository: Path,
    staging: Path,
    *,
    options: ModelOptions,
    digests: dict[str, str],
) -> bool:
    file = bundle.image.file if tower == "image" else bundle.text.file
    # External weights keep their name: the ONNX file refers to them by it.
    placed = {MODEL_FILE: file} | {name: name for name in digests if name == f"{file}.data"}
    configuration = configuration_of(
        bundle,
        tower,
        options=options,
        encoder_json=_text(staging / DESCRIPTION),
        tokenizer_json=_text(staging / bundle.text.tokenizer),
        files={name: digests[source] for name, source in placed.items()},
    )
    model = model_name(bundle.name, tower, hash=bundle.hash)
    version = staging / model / version_of(bundle.hash)
    version.mkdir(parents=True)
    for name, source in placed.items():
        (staging / source).rename(version / name)
    shutil.copyfile(_PROGRAM, version / PYTHON_FILE)
    (staging / model / CONFIGURATION).write_text(configuration, encoding="utf-8")
    if not (repository / model).exists():
        (staging / model).rename(repository / model)
        return True
    return _bring_up_to_date(repository / model, staging / model)


def _bring_up_to_date(published: Path, staged: Path) -> bool:
    """Replace, file by file, what differs in a model of the same bundle: configuration, program, damage."""
    changed = False
    for file in sorted(staged.rglob("*")):
        target = published / file.relative_to(staged)
        if file.is_dir():
            target.mkdir(exist_ok=True)
        elif not target.is_file() or file.read_bytes() != target.read_bytes():
            file.replace(target)
            changed = True
    return changed


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise InvalidBundleError(f"{file.name} is not UTF-8: {error}", {file.name: str(error)}) from error


@contextmanager
def _locked(repository: Path) -> Iterator[None]:
    """Hold a lock that admits one publisher at a time on this machine."""
    with (repository / _LOCK).open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@contextmanager
def _staging(repository: Path) -> Iterator[Path]:
    """Yield a folder on the file system of the repository; remove the folders of killed publishers."""
    prefix = f"{_STAGING}{repository.name}-"
    for parent in (repository.parent, repository):
        for leftover in parent.glob(f"{prefix}*"):
            shutil.rmtree(leftover, ignore_errors=True)
    staging = Path(tempfile.mkdtemp(prefix=prefix, dir=_staging_parent(repository, prefix)))
    try:
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _staging_parent(repository: Path, prefix: str) -> Path:
    """Prefer the parent of the repository, if on the same file system: Triton takes folders inside as
    models."""
    try:
        probe = Path(tempfile.mkdtemp(prefix=prefix, dir=repository.parent))
    except OSError:
        return repository
    try:
        moved = probe.rename(repository / probe.name)
    except OSError:
        probe.rmdir()
        return repository
    moved.rmdir()
    return repository.parent
