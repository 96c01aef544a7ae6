"""The check of everything that is stored: which objects are damaged, missing or orphans, and what to do.

The check changes nothing and may run while the platform works. `repair` does what needs no person.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path, PurePosixPath

from sqlalchemy import select, text, update

from cocu.catalog import models, tasks
from cocu.catalog.states import COMPLETED_CURATIONS, CurationState, DatasetState, Stage, TaskState
from cocu.errors import CocuError, IntegrityError, NotFoundError
from cocu.platform import Platform, read_vocabulary
from cocu.storage import arrays, checksums, paths, shard_hashes, tables

DAMAGED, MISSING, ORPHAN = "damaged", "missing", "orphan"

SEND_AGAIN = "send the file again, under the same name"
RESTORE = "restore it from a backup; else delete the dataset and put its files in again"
EMBED_AGAIN = "`cocu catalog verify --repair` has the shard embedded again"
RUN_AGAIN = "`cocu catalog verify --repair`, then ask for the curation as before: it runs again"
PROJECT_AGAIN = "`cocu catalog verify --repair` has the projection made again"
CACHED = "it is made anew when it is needed; `cocu catalog verify --repair` deletes it"
KEEP_AGAIN = "send the labels again, under their name"
ADD_AGAIN = "add the vocabulary again, as it was; the shipped one comes back when the platform is started"
REBUILD = "stop the platform and delete the folder of vectors: the next start makes it again"
RESTORE_CATALOG = "restore the catalog from a backup"
LEFT_OVER = "nothing to do: it belongs to work in progress, or is deleted a day after that work broke off"


@dataclass(frozen=True)
class Finding:
    """A problem with an object or another part of the platform: its owner, the detail, and what to do."""

    problem: str
    path: str
    owner: str
    detail: str
    remedy: str


@dataclass(frozen=True)
class _Expected:
    """An object that should or may exist: how it is checked, and what to do when the check fails.

    required: whether it is a problem that the object is missing.
    """

    path: str
    owner: str
    remedy: str
    check: Callable[[], object]
    required: bool = True


@dataclass
class IntegrityCheck:
    """One check of a platform: call `list_objects`, then iterate over `findings` once.

    `checked` and `unsealed` count the objects that were read, and those among them without a checksum.
    """

    platform: Platform
    checked: int = 0
    unsealed: int = 0
    _listed: set[str] = field(default_factory=set)

    def list_objects(self) -> int:
        """List the stored objects and return their number."""
        self._listed = set(self.platform.objects.list())
        return len(self._listed)

    def findings(self, advance: Callable[[int], None] = lambda count: None) -> Iterator[Finding]:
        """Yield every problem; call `advance` for each object that was checked. Raises UnavailableError."""
        yield from _of_catalog(self.platform)
        yield from _of_vectors(self.platform)
        remaining = set(self._listed)
        for expected in self._expected():
            is_stored = expected.path in remaining
            remaining.discard(expected.path)
            if not is_stored and not expected.required:
                continue
            yield from self._check(expected)
            advance(1)
        for path in sorted(remaining):
            advance(1)
            # It may have been deleted since the objects were listed, together with the row that named it.
            if self.platform.objects.exists(path):
                yield Finding(ORPHAN, path, "nobody", "nothing names it", LEFT_OVER)

    def _check(self, expected: _Expected) -> Iterator[Finding]:
        try:
            expected.check()
            self.checked += 1
        except NotFoundError:
            if expected.required:
                yield Finding(MISSING, expected.path, expected.owner, "it is not there", expected.remedy)
        except (IntegrityError, ValueError, KeyError) as error:
            yield Finding(DAMAGED, expected.path, expected.owner, _first_sentence(error), expected.remedy)

    def _expected(self) -> Iterator[_Expected]:
        for dataset_id, name in _datasets(self.platform):
            yield from self._of_dataset(dataset_id, f"dataset {name} ({dataset_id})")
        for curation_id, state in _curations(self.platform):
            yield from self._of_curation(curation_id, state in COMPLETED_CURATIONS)
        yield from self._of_vocabularies()

    def _of_dataset(self, dataset_id: str, owner: str) -> Iterator[_Expected]:
        catalog, objects = self.platform.catalog, self.platform.objects
        with catalog.read() as connection:
            upload = models.Upload
            uploads = connection.execute(
                select(upload.object_path, upload.sha256).where(
                    upload.dataset_id == dataset_id, upload.object_path.is_not(None)
                )
            ).all()
            shard = models.Shard
            shards = connection.execute(
                select(shard.id, shard.sha256, shard.samples).where(shard.dataset_id == dataset_id)
            ).all()
            task = models.Task
            embedded = connection.execute(
                select(task.owner_key, task.target).where(
                    task.dataset_id == dataset_id,
                    task.stage == Stage.EMBED,
                    task.state == TaskState.DONE,
                )
            ).all()
            projected = frozenset(
                connection.execute(
                    select(task.target).where(
                        task.dataset_id == dataset_id,
                        task.stage == Stage.PROJECT,
                        task.state == TaskState.DONE,
                    )
                ).scalars()
            )
            label_set = models.LabelSet
            documents = connection.execute(
                select(label_set.document, label_set.sha256).where(label_set.dataset_id == dataset_id)
            ).all()
        for document, sha256 in documents:
            yield _Expected(document, owner, KEEP_AGAIN, partial(self._hashed, document, sha256))
        for path, digest in uploads:
            assert path is not None
            yield _Expected(path, owner, SEND_AGAIN, partial(self._hashed, path, digest))
        counts = {row.id: row.samples for row in shards}
        for row in shards:
            tar, table = paths.shard(dataset_id, row.id), paths.samples(dataset_id, row.id)
            yield _Expected(tar, owner, RESTORE, partial(shard_hashes.require, objects, tar, row.sha256))
            yield _Expected(table, owner, RESTORE, partial(self._table, table, rows=row.samples))
        for owner_key, target in embedded:
            if target not in counts:
                continue
            matrix = paths.embeddings(dataset_id, owner_key, target)
            phashes_path = paths.phashes(dataset_id, owner_key, target)
            check = partial(self._embeddings, matrix, rows=counts[target])
            yield _Expected(matrix, owner, EMBED_AGAIN, check)
            yield _Expected(phashes_path, owner, EMBED_AGAIN, partial(self._arrays, phashes_path))
        for target in sorted(projected):
            path = paths.projection_points(dataset_id, target)
            yield _Expected(path, owner, PROJECT_AGAIN, partial(self._arrays, path))
        # Embeddings without such a task: they were uploaded, or their task was deleted or is tried again.
        for path in self._under(paths.dataset(dataset_id)):
            kind, *inside = PurePosixPath(path).relative_to(paths.dataset(dataset_id)).parts
            target = PurePosixPath(path).stem
            if kind in ("embeddings", "fingerprints") and target in counts:
                if any(
                    target == embedded_target and owner_key.startswith(inside[0])
                    for owner_key, embedded_target in embedded
                ):
                    continue
                yield _Expected(path, owner, EMBED_AGAIN, partial(self._any, path))
            if kind == "thumbnails":
                yield _Expected(path, owner, CACHED, partial(self._any, path), required=False)
            if kind == "projections" and target not in projected:
                yield _Expected(path, owner, PROJECT_AGAIN, partial(self._arrays, path), required=False)
            if kind == "gaps":
                yield _Expected(path, owner, CACHED, partial(self._arrays, path), required=False)

    def _of_curation(self, curation_id: str, completed: bool) -> Iterator[_Expected]:
        owner, archives = f"curation {curation_id}", {}
        with self.platform.catalog.read() as connection:
            row = models.CurationShard
            for shard_id, content, samples in connection.execute(
                select(row.shard_id, row.content_hash, row.samples).where(
                    row.curation_id == curation_id, row.content_hash.is_not(None)
                )
            ):
                archives[paths.archives(curation_id, shard_id)] = content, samples
        for path, (content, samples) in archives.items():
            check = partial(self._table, path, rows=samples, content_hash=content)
            yield _Expected(path, owner, RUN_AGAIN, check)
        if completed:
            concepts = paths.concepts(curation_id)
            yield _Expected(concepts, owner, RUN_AGAIN, partial(self._arrays, concepts))
        for path in self._under(paths.curation(curation_id)):
            if path in archives or (completed and path == paths.concepts(curation_id)):
                continue
            folder = PurePosixPath(path).relative_to(paths.curation(curation_id)).parts[0]
            remedy = (
                CACHED if folder in ("indexes", "columns", "comparisons", "labels", "audit") else RUN_AGAIN
            )
            yield _Expected(path, owner, remedy, partial(self._any, path), required=False)

    def _of_vocabularies(self) -> Iterator[_Expected]:
        objects = self.platform.objects
        with self.platform.catalog.read() as connection:
            vocabularies = connection.execute(
                select(models.Vocabulary.hash, models.Vocabulary.name).distinct()
            ).all()
        for digest, name in vocabularies:
            path, read = paths.vocabulary(digest), partial(read_vocabulary, objects, digest)
            yield _Expected(path, f"vocabulary {name}", ADD_AGAIN, read)
        digests = {digest for digest, _ in vocabularies}
        for path in self._under("vocabularies/embeddings"):
            if PurePosixPath(path).stem in digests:
                check = partial(self._arrays, path)
                yield _Expected(path, "vocabularies", CACHED, check, required=False)

    def _under(self, folder: str) -> list[str]:
        return sorted(path for path in self._listed if path.startswith(folder + "/"))

    def _hashed(self, path: str, expected: str | None) -> None:
        digest = hashlib.sha256()
        for chunk in self.platform.objects.chunks(path):
            digest.update(chunk)
        if expected not in (None, digest.hexdigest()):
            raise checksums.damaged(
                path, f"it has SHA-256 {digest.hexdigest()[:16]}…, not {str(expected)[:16]}…"
            )

    def _table(self, path: str, *, rows: int | None = None, content_hash: str | None = None) -> None:
        self._count_unsealed(path)
        table = tables.read_table(self.platform.objects, path)
        if rows not in (None, table.num_rows):
            raise checksums.damaged(path, f"it has {table.num_rows} rows, not {rows}")
        if content_hash is not None:
            tables.require_content(table, path, content_hash)

    def _embeddings(self, path: str, *, rows: int | None = None) -> None:
        self._count_unsealed(path)
        stored_rows = len(arrays.read_embeddings(self.platform.objects, path))
        if rows not in (None, stored_rows):
            raise checksums.damaged(path, f"it has {stored_rows} rows, not {rows}")

    def _arrays(self, path: str) -> None:
        self._count_unsealed(path)
        arrays.read_arrays(self.platform.objects, path)

    def _any(self, path: str) -> None:
        match PurePosixPath(path).suffix:
            case ".parquet":
                self._table(path)
            case ".arrow":
                self._arrays(path)
            case ".jpg":
                checksums.unseal(path, self.platform.objects.get(path))
            case _:
                self._embeddings(path)

    def _count_unsealed(self, path: str) -> None:
        _, sealed = checksums.verify(self.platform.objects, path, checksums.kind_of(path))
        self.unsealed += not sealed


def repair(platform: Platform, findings: Iterable[Finding]) -> int:
    """Repair what needs no person; return how many findings were repaired.

    Cached objects are deleted, shards are embedded again, projections made again. Curations to run again are
    marked as failed; the next request for the same curation starts them.
    """
    repaired = 0
    for finding in findings:
        parts = PurePosixPath(finding.path).parts
        if finding.remedy == CACHED:
            platform.objects.delete(finding.path)
        elif finding.remedy == EMBED_AGAIN:
            _embed_again(
                platform, dataset_id=parts[1], encoder=parts[3], shard_id=PurePosixPath(finding.path).stem
            )
        elif finding.remedy == PROJECT_AGAIN:
            _project_again(platform, dataset_id=parts[1], projection=PurePosixPath(finding.path).stem)
        elif finding.remedy == RUN_AGAIN:
            _run_again(platform, curation_id=parts[1], detail=f"object {finding.path} is {finding.problem}")
        else:
            continue
        repaired += 1
    return repaired


def _embed_again(platform: Platform, *, dataset_id: str, encoder: str, shard_id: str) -> None:
    with platform.catalog.write() as connection:
        task = models.Task
        rows = connection.execute(
            select(task.id, task.owner_key).where(
                task.dataset_id == dataset_id,
                task.stage == Stage.EMBED,
                task.target == shard_id,
                task.owner_key.startswith(encoder, autoescape=True),
            )
        ).all()
        for row in rows:
            platform.objects.delete(paths.embeddings(dataset_id, row.owner_key, shard_id))
            platform.objects.delete(paths.phashes(dataset_id, row.owner_key, shard_id))
            tasks.restart(connection, task_id=row.id, requested=True)


def _project_again(platform: Platform, *, dataset_id: str, projection: str) -> None:
    task_id = tasks.identity(dataset_id=dataset_id, owner_key="", stage=Stage.PROJECT, target=projection)
    with platform.catalog.write() as connection:
        tasks.restart(connection, task_id=task_id)


def _run_again(platform: Platform, *, curation_id: str, detail: str) -> None:
    with platform.catalog.write() as connection:
        connection.execute(
            update(models.Curation)
            .where(models.Curation.id == curation_id, models.Curation.state.in_(COMPLETED_CURATIONS))
            .values(
                state=CurationState.FAILED, error=f"{detail}; ask for the curation again, and it is run again"
            )
        )


def _datasets(platform: Platform) -> list[tuple[str, str]]:
    statement = select(models.Dataset.id, models.Dataset.name).where(
        models.Dataset.state == DatasetState.ACTIVE
    )
    with platform.catalog.read() as connection:
        return [(row.id, row.name) for row in connection.execute(statement.order_by(models.Dataset.id))]


def _curations(platform: Platform) -> list[tuple[str, str]]:
    statement = select(models.Curation.id, models.Curation.state).order_by(models.Curation.id)
    with platform.catalog.read() as connection:
        return [(row.id, row.state) for row in connection.execute(statement)]


def _of_catalog(platform: Platform) -> Iterator[Finding]:
    """Check the pages of SQLite. A database server has its own tools for this."""
    if platform.catalog.dialect != "sqlite":
        return
    with platform.catalog.read() as connection:
        messages = [str(row[0]) for row in connection.execute(text("PRAGMA integrity_check(10)"))]
        dangling = [str(row[0]) for row in connection.execute(text("PRAGMA foreign_key_check"))]
    if messages != ["ok"]:
        yield Finding(DAMAGED, "catalog", "the platform", "; ".join(messages)[:500], RESTORE_CATALOG)
    if dangling:
        detail = f"{len(dangling)} rows of {', '.join(sorted(set(dangling)))} refer to rows that are gone"
        yield Finding(DAMAGED, "catalog", "the platform", detail, RESTORE_CATALOG)


def _of_vectors(platform: Platform) -> Iterator[Finding]:
    """Check a folder of vectors as far as that is possible without loading it; a server checks its own."""
    location = platform.settings.vectors_url
    folder = Path(location.removeprefix("file://"))
    if "://" in location.removeprefix("file://") or location == ":memory:" or not folder.is_dir():
        return
    # What the engine has written, it alone can read; where it cannot, the platform puts it in again.
    for file in sorted(folder.glob("*/meta.json")):
        try:
            json.loads(file.read_bytes())
        except (ValueError, OSError) as error:
            yield Finding(DAMAGED, f"vectors/{file.relative_to(folder)}", "the platform", str(error), REBUILD)


def _first_sentence(error: Exception) -> str:
    message = str(error).partition(" `cocu catalog verify`")[0]
    if isinstance(error, CocuError) and " is damaged: " in message:
        message = message.partition(" is damaged: ")[2]
    return message.rstrip(".")
