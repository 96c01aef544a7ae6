"""The sweeper: it sends tasks again that no worker has leased and for which no message is in a queue.

It also deletes what has expired: resumable uploads, uploads whose receiver died, temporary files of processes
that died, answers stored by idempotency key, and once a day the files that no row of the catalog names. And
it plans `index` again for samples that a folder of vectors has lost.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable

from sqlalchemy.exc import DBAPIError

from cocu.catalog import idempotency, resumables, tasks, uploads
from cocu.errors import CocuError, NoRoomError
from cocu.pipeline import garbage_collection
from cocu.pipeline.metrics import metrics
from cocu.pipeline.queue import TaskQueue
from cocu.pipeline.vector_repair import VectorRepair
from cocu.platform import Platform

logger = logging.getLogger(__name__)

FIRST_ORPHAN_SECONDS = 600.0
"""How long after its start a sweeper first looks for orphans, so that a short run does not."""
ORPHAN_SECONDS = 24 * 3600.0
"""The time between two searches for orphans."""


class Sweeper:
    """Sweeps every `sweep_seconds`; any number of sweepers may run at the same time, in any process.

    on_sweep: called after every sweep with the error that ended it, or None.
    """

    def __init__(
        self,
        platform: Platform,
        queue: TaskQueue,
        *,
        on_sweep: Callable[[Exception | None], None] = lambda error: None,
    ) -> None:
        self._platform = platform
        self._queue = queue
        self._on_sweep = on_sweep
        self._orphans_due = time.monotonic() + FIRST_ORPHAN_SECONDS
        self._datasets: list[str] = []
        self._last_error = ""
        self._vectors = VectorRepair(platform)
        self._last_vector_error = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self.run, name="sweeper", daemon=True)

    def start(self) -> None:
        """Start to sweep in a thread."""
        self._thread.start()

    def stop(self) -> None:
        """Stop after the sweep that is running."""
        self.request_stop()
        self._thread.join()

    def request_stop(self) -> None:
        """Make `run` return after the sweep that is running."""
        self._stopping.set()

    def run(self) -> None:
        """Sweep until it is stopped."""
        while True:
            error = self._sweep()
            metrics().swept(failed=error is not None)
            self._on_sweep(error)
            if self._stopping.wait(self._platform.settings.sweep_seconds):
                return

    def _delete_orphans(self) -> None:
        """Delete the orphans of one dataset for each sweep, so that no sweep takes long."""
        if time.monotonic() >= self._orphans_due:
            self._orphans_due = time.monotonic() + ORPHAN_SECONDS
            self._datasets = garbage_collection.active_datasets(self._platform.catalog)
            garbage_collection.delete_partial_uploads(self._platform)
        if self._datasets:
            deleted = garbage_collection.delete_orphans(self._platform, dataset_id=self._datasets.pop())
            if deleted:
                logger.info("deleted %d files that nothing names, such as %s", len(deleted), deleted[0])

    def _repair_vectors(self) -> None:
        """Nothing of a sweep depends on it, so that a store that is away does not count against one."""
        try:
            self._queue.publish(self._vectors.look())
            self._last_vector_error = ""
        except NoRoomError:
            raise
        except CocuError as error:
            if str(error) != self._last_vector_error:
                logger.warning("could not compare the vectors with the catalog: %s", error)
            self._last_vector_error = str(error)

    def _sweep(self) -> Exception | None:
        catalog = self._platform.catalog
        try:
            # The broker first: tasks that are swept while it is down would be marked as sent.
            queued = self._queue.queued()
            resend_seconds = self._platform.settings.resend_seconds
            task_refs = tasks.sweep(catalog, queued=queued, resend_seconds=resend_seconds)
            self._queue.publish(task_refs)
            for _, stage in task_refs:
                metrics().sent_again(stage)
            for token in resumables.expire(catalog):
                self._platform.partial_uploads.discard(token)
            abandoned = uploads.fail_abandoned(catalog)
            if abandoned:
                logger.warning(
                    "%d uploads ended before they had arrived, and count as failed", len(abandoned)
                )
            self._platform.delete_abandoned()
            idempotency.forget_expired(catalog)
            catalog.tidy()
            self._delete_orphans()
            self._repair_vectors()
        except NoRoomError as full:
            self._platform.disk_space.report_full(full)
            return full
        except (DBAPIError, CocuError, OSError) as error:
            # The database or the broker is down; it may be back at the next sweep.
            if str(error) != self._last_error:
                logger.warning("could not sweep: %s", error)
            self._last_error = str(error)
            return error
        self._last_error = ""
        return None
